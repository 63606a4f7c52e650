"""A case of official numbers: the prompted model, its losses and its steps."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from yacs.config import CfgNode

from prompting.model import PromptedCLIP
from prompting.prompts import Contexts
from trainers import losses
from trainers.anchors import Anchor
from trainers.engine.config import trainer_class

from . import METHODS

LEARNING_RATE = 0.01
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One case: its arrays, its settings, the prompted model and the frozen one."""

    method: str
    arrays: Arrays
    settings: dict
    cfg: CfgNode
    model: PromptedCLIP
    anchor: Anchor
    images: Tensor

    @property
    def classes(self) -> list[str]:
        return [str(name) for name in self.arrays["classnames"]]

    @property
    def sizes(self) -> Tensor:
        """Return the number of classes of each task (T,)."""
        sizes = self.settings.get("split", [len(self.classes)])
        return torch.tensor(sizes)

    def class_features(self, contexts: Contexts) -> Tensor:
        """Return features (C, d) of all classes, by their tasks' names if any."""
        if "tasks" not in self.settings:
            templates = self.anchor.templates
            return self.model.encode_classes(self.classes, templates, contexts)
        features = []
        indices = torch.arange(len(self.classes))
        rows = indices.split(self.sizes.tolist())
        tasks = self.settings["tasks"]
        for task, present in zip(tasks, rows, strict=True):
            names = [self.classes[row] for row in present]
            part = self.model.encode_classes(names, None, contexts, present, task=task)
            features.append(part)
        return torch.cat(features)

    def outputs(self, rows: np.ndarray, labels: np.ndarray) -> losses.Outputs:
        """Return features and logits of a batch, as the trainers do."""
        pixels = self.images[torch.from_numpy(rows)]
        labels = torch.from_numpy(labels)
        contexts = self.model.contexts()
        images, *others = self.model.encode_image_parts(pixels, contexts)
        classes = self.class_features(contexts)
        ends = self.sizes.cumsum(0)
        groups = torch.searchsorted(ends, labels, right=True)
        frozen_images = self.anchor.images({}, pixels)
        frozen = [(frozen_images, self.anchor.classes([0]))]
        second, weight = None, 1.0
        if others:
            second, weight = others[0], contexts.insertion.weight
        tasks = labels[:, None], groups, self.sizes
        return losses.build_outputs(
            self.model, images, classes, *tasks, frozen, second, weight
        )

    def losses(self, outputs: losses.Outputs) -> tuple[Tensor, Tensor | None]:
        """Return the loss, and ProGrad's distillation."""
        trainer = trainer_class(METHODS[self.method][0])
        weights = trainer.loss_weights(self.cfg)
        loss = losses.total(outputs, weights)
        if self.method != "prograd":
            return loss, None
        temperature = self.cfg.TRAINER.PROGRAD.T
        return loss, losses.distillation(outputs, temperature)

    def gradients(self, loss: Tensor, general: Tensor | None) -> dict[str, Tensor]:
        """Return the gradients that the optimiser gets, by parameter."""
        named = self.model.prompt.named_parameters()
        names, parameters = zip(*named, strict=True)
        if general is None:
            values = torch.autograd.grad(loss, parameters)
        else:
            strength = self.cfg.TRAINER.PROGRAD.LAMBDA
            values = losses.projected_gradients(
                loss, general, parameters, strength, lambda gradient: gradient
            )
        return dict(zip(names, values, strict=True))

    def step(self, rows: np.ndarray, labels: np.ndarray) -> Tensor:
        """Take a step of SGD; return the loss before it, with any distillation."""
        outputs = self.outputs(rows, labels)
        loss, general = self.losses(outputs)
        gradients = self.gradients(loss, general)
        rate = LEARNING_RATE
        if self.method == "softcpt":  # its optimiser takes a step for each module
            rate *= 4 if self.settings["csc"] else 3
        parameters = self.model.prompt.parameters()
        optimizer = torch.optim.SGD(parameters, rate)
        for name, parameter in self.model.prompt.named_parameters():
            parameter.grad = gradients[name]
        optimizer.step()
        if general is None:
            return loss.detach()
        return torch.stack([loss, general]).detach()
