"""Frozen models that a prompt stays near: plain CLIP, or CLIP with the prompt that
training starts from.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor
from yacs.config import CfgNode

from prompting.model import PromptedCLIP
from prompting.prompts import full_precision

from .engine import distributed
from .features.builders import build_images
from .features.extraction import encode_images
from .features.store import LazyFeatures


def imagenet_templates() -> tuple[str, ...]:
    """Return the first 60 of OpenAI's templates for ImageNet, "{}" for a name."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES[:60])


def anchor_weights(cfg: CfgNode) -> dict[str, float]:
    """Return the weights that TRAINER.ANCHOR.* gives to the terms of a loss, without
    zeros.
    """
    node = cfg.TRAINER.ANCHOR
    weights = {
        "text_cosine": node.TEXT_COSINE,
        "text_l1": node.TEXT_L1,
        "text_l2": node.TEXT_L2,
        "image_l1": node.IMAGE_L1,
        "kl": node.KL,
    }
    return {name: weight for name, weight in weights.items() if weight}


class Anchor:
    """A frozen model: features of classes are computed once; those of images once
    unless they have a random transform.

    templates: for classes without a text prompt; None means each task's own.
    unit_templates: see `encode_classes`.
    """

    def __init__(
        self,
        model: PromptedCLIP,
        tasks: Sequence,
        templates: Sequence[str] | None = None,
        unit_templates: bool = True,
        images: Tensor | LazyFeatures | None = None,
    ) -> None:
        self.model = model.eval()
        self.tasks = tasks
        self.templates = templates
        self.unit_templates = unit_templates
        self.kept_images = images  # features (N, d) of the training images
        self._classes: dict[int, Tensor] = {}

    @torch.no_grad()
    def classes(self, present: Sequence[int]) -> Tensor:
        """Return the features (C, d) of the classes of some tasks, one task after the
        other.
        """
        for k in present:
            if k not in self._classes:
                self._classes[k] = self._encode_task(self.tasks[k])
        return torch.cat([self._classes[k] for k in present])

    def _encode_task(self, task) -> Tensor:
        templates = self.templates or task.templates
        with full_precision(self.model.clip.logit_scale):
            return self.model.encode_classes(
                task.classnames,
                templates,
                unit_templates=self.unit_templates,
                task=task.name,
            )

    @torch.no_grad()
    def images(self, batch: dict[str, Tensor], pixels: Tensor) -> Tensor:
        """Return the features (B, d) of a batch's images."""
        if self.kept_images is None:
            return self.model.encode_images(pixels)
        return self.kept_images[batch["index"].tolist()].to(pixels.device)


def zero_shot_anchor(trainer) -> Anchor:
    """Return plain CLIP with the templates that TRAINER.ANCHOR.TEMPLATES names."""
    images = None
    if trainer.model.has_visual_prompt and trainer.sets["train"].transform is None:
        images = trainer.constant_features("train")
        if distributed.world() > 1:  # computed together, so all at once
            images.all()
    if trainer.cfg.TRAINER.ANCHOR.TEMPLATES == "imagenet":
        return Anchor(
            trainer.store.encoder, trainer.tasks, imagenet_templates(), False, images
        )
    return Anchor(trainer.store.encoder, trainer.tasks, images=images)


def source_anchor(trainer) -> Anchor:
    """Return CLIP with the prompt that the trainer starts from."""
    prompt = copy.deepcopy(trainer.model.prompt).requires_grad_(False)
    if hasattr(prompt, "weight"):
        prompt.weight.fill_(1.0)  # the prompted model alone
    model = (
        PromptedCLIP(trainer.backbone.clip, prompt, trainer.backbone.tokenizer)
        .to(trainer.device)
        .eval()
    )
    images = None
    if model.has_visual_prompt and trainer.sets["train"].transform is None:
        (images,) = encode_images(
            [model], trainer.sets["train"], trainer.store.settings
        )
    return Anchor(model, trainer.tasks, ["a photo of a {}."], images=images)


@torch.no_grad()
def zero_shot_odds(trainer) -> float:
    """Return the odds a / (1 - a) of plain CLIP's accuracy a on the training images,
    one hit and one miss added.

    An image counts as a hit if its most probable class is one of its labels.
    """
    dataset = trainer.sets["train"]
    images = build_images(
        trainer.cfg, trainer.train_tasks, "train", trainer.backbone.preprocessing
    )
    features = trainer.store.lazy(images).all()
    hits = 0
    for k, task in enumerate(trainer.tasks):
        rows = dataset.rows(k)
        classes = trainer.store.encoder.encode_classes(task.classnames, task.templates)
        predicted = (features[rows.start : rows.stop] @ classes.T).argmax(1).cpu()
        hits += (
            (dataset.labels[rows.start : rows.stop] == predicted[:, None])
            .any(1)
            .sum()
            .item()
        )
    return (hits + 1) / (len(dataset) - hits + 1)


def build_anchors(trainer) -> list[Anchor]:
    """Return the anchors that TRAINER.ANCHOR.TO names; a run that starts from no prompt
    has plain CLIP alone.
    """
    to = trainer.cfg.TRAINER.ANCHOR.TO
    has_source = bool(trainer.context.start)
    anchors = []
    if to != "source" or not has_source:
        anchors.append(zero_shot_anchor(trainer))
    if to != "zero_shot" and has_source:
        anchors.append(source_anchor(trainer))
    return anchors
