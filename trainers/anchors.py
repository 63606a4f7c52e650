"""Frozen models that a prompt stays near: plain CLIP, or with the source prompt."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from yacs.config import CfgNode

from prompting.model import PromptedCLIP
from prompting.prompts import full_precision

from .features.builders import build_images
from .features.extraction import encode_images
from .features.store import LazyFeatures


def imagenet_templates() -> tuple[str, ...]:
    """Return the first 60 of OpenAI's templates for ImageNet, "{}" for a name."""
    from open_clip import OPENAI_IMAGENET_TEMPLATES

    return tuple(template("{}") for template in OPENAI_IMAGENET_TEMPLATES[:60])


def anchor_weights(cfg: CfgNode) -> dict[str, float]:
    """Return the weights that TRAINER.ANCHOR.* gives to loss terms, without zeros."""
    terms = ("text_cosine", "text_l1", "text_l2", "image_l1", "kl")
    weights = {name: cfg.TRAINER.ANCHOR[name.upper()] for name in terms}
    return {name: weight for name, weight in weights.items() if weight}


@dataclass(eq=False)
class Anchor:
    """A frozen model: features of classes are computed once; those of images once
    unless they have a random transform. templates: for classes without a text prompt;
    None means each task's own. unit_templates: see `encode_classes`. kept_images:
    features (N, d) of the training images.
    """

    model: PromptedCLIP
    tasks: Sequence
    templates: Sequence[str] | None = None
    unit_templates: bool = True
    kept_images: Tensor | LazyFeatures | None = None
    _classes: dict[int, Tensor] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.model.eval()

    @torch.no_grad()
    def classes(self, present: Sequence[int]) -> Tensor:
        """Return the features (C, d) of the classes of some tasks, in order."""
        for k in present:
            if k in self._classes:
                continue
            task = self.tasks[k]
            with full_precision(self.model.clip.logit_scale):
                self._classes[k] = self.model.encode_classes(
                    task.classnames,
                    self.templates or task.templates,
                    unit_templates=self.unit_templates,
                    task=task.name,
                )
        return torch.cat([self._classes[k] for k in present])

    @torch.no_grad()
    def images(self, batch: dict[str, Tensor], pixels: Tensor) -> Tensor:
        """Return the features (B, d) of a batch's images."""
        if self.kept_images is None:
            return self.model.encode_images(pixels)
        rows = batch["index"].tolist()
        return self.kept_images[rows].to(pixels.device)


def zero_shot_anchor(trainer) -> Anchor:
    """Return plain CLIP with the templates that TRAINER.ANCHOR.TEMPLATES names."""
    images = None
    if trainer.model.has_visual_prompt and trainer.sets["train"].transform is None:
        images = trainer.constant_features("train")
    templates, unit_templates = None, True
    if trainer.cfg.TRAINER.ANCHOR.TEMPLATES == "imagenet":
        templates, unit_templates = imagenet_templates(), False
    encoder = trainer.store.encoder
    return Anchor(encoder, trainer.tasks, templates, unit_templates, images)


def source_anchor(trainer) -> Anchor:
    """Return CLIP with the prompt that the trainer starts from."""
    prompt = copy.deepcopy(trainer.model.prompt).requires_grad_(False)
    if hasattr(prompt, "weight"):
        prompt.weight.fill_(1.0)  # the prompted model alone
    backbone, dataset = trainer.backbone, trainer.sets["train"]
    images = None
    model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer)
    model.to(trainer.device).eval()
    if model.has_visual_prompt and dataset.transform is None:
        (images,) = encode_images([model], dataset, trainer.store.settings)
    return Anchor(model, trainer.tasks, ["a photo of a {}."], kept_images=images)


@torch.no_grad()
def zero_shot_odds(trainer) -> float:
    """Return the odds a / (1 - a) of plain CLIP's accuracy a on the training images (the
    most probable class is one of the labels), one hit and one miss added.
    """
    dataset = trainer.sets["train"]
    images = build_images(
        trainer.cfg, trainer.train_tasks, "train", trainer.backbone.preprocessing
    )
    features = trainer.store.features(images)
    hits = 0
    for k, task in enumerate(trainer.tasks):
        rows = dataset.rows(k)
        classes = trainer.store.encoder.encode_classes(task.classnames, task.templates)
        scores = features[rows.start : rows.stop] @ classes.T
        predicted = scores.argmax(1).cpu()
        labels = dataset.labels[rows.start : rows.stop]
        hits += (labels == predicted[:, None]).any(1).sum().item()
    return (hits + 1) / (len(dataset) - hits + 1)


def build_anchors(trainer) -> list[Anchor]:
    """Return the anchors of TRAINER.ANCHOR.TO; without a source prompt plain CLIP."""
    to = trainer.cfg.TRAINER.ANCHOR.TO
    has_source = bool(trainer.context.start)
    anchors = []
    if to != "source" or not has_source:
        anchors.append(zero_shot_anchor(trainer))
    if to != "zero_shot" and has_source:
        anchors.append(source_anchor(trainer))
    return anchors
