"""From images to features, and from features to probabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from datasets import Task
from prompting.model import PromptedCLIP
from trainers.engine import distributed

from .loaders import build_loader

# images, and logits of all of them, that are computed at once at most
LOGIT_ROWS, LOGITS = 4096, 1 << 22


@dataclass(frozen=True)
class EncoderSettings:
    """How images are encoded.

    precision: of autocast; None computes in float32. workers: processes that read the
    images.
    """

    device: str = "cpu"
    precision: torch.dtype | None = None
    batch_size: int = 100
    workers: int = 0


@torch.no_grad()
def encode_images(
    models: Sequence[PromptedCLIP], dataset: Dataset, settings: EncoderSettings
) -> list[Tensor]:
    """Return each model's image features (N, d) of a dataset, in its order; every image
    is decoded once for all models.

    Of several processes each encodes its share of the batches; all get all features.
    """
    if not models:
        return []
    device = torch.device(settings.device)
    total, batch_size = len(dataset), settings.batch_size
    share = _part(dataset, distributed.rows(total, batch_size))
    loader = build_loader(share, batch_size, settings.workers, settings.device)
    precise = settings.precision is None
    with torch.autocast(device.type, settings.precision, enabled=not precise):
        contexts = [model.contexts() for model in models]
        parts = []
        for k, model in enumerate(models):
            parts.append(
                [torch.empty(0, model.feature_dim(contexts[k]), device=device)]
            )
        for batch in loader:
            images = batch["img"].to(device, non_blocking=True)
            for k, model in enumerate(models):
                features = model.encode_images(images, contexts[k])
                parts[k].append(features)
    shares = [torch.cat(part) for part in parts]
    return [distributed.gather_rows(share, total, batch_size) for share in shares]


def _part(dataset: Dataset, rows: range) -> Dataset:
    if len(rows) == len(dataset):
        return dataset
    if isinstance(dataset, Subset):
        return Subset(dataset.dataset, dataset.indices[rows.start : rows.stop])
    return Subset(dataset, rows)


@torch.no_grad()
def class_features(
    model: PromptedCLIP, task: Task, one_template: bool = False
) -> Tensor:
    """Return features (C, d) of the task's classes; those of plain CLIP are over the
    task's templates.

    So are those of prompts that say so (`Prompt.task_templates`). one_template: take
    the model's one sentence instead.
    """
    templates = None
    if not one_template and (model.prompt is None or model.prompt.task_templates):
        templates = task.templates
    return model.encode_classes(task.classnames, templates=templates, task=task.name)


def probabilities(model: PromptedCLIP, images: Tensor, classes: Tensor) -> Tensor:
    """Return probabilities (N, C), float32 on the CPU, of image features (N, d) for
    class features (C, d).
    """
    out = torch.empty(len(images), len(classes))
    first = 0
    for part in probabilities_in_parts(model, images, classes):
        out[first : first + len(part)] = part
        first += len(part)
    return out


@torch.no_grad()
def probabilities_in_parts(
    model: PromptedCLIP, images: Tensor, classes: Tensor
) -> Iterator[Tensor]:
    """Yield the rows of `probabilities`, some images at a time."""
    for part in images.split(rows_at_once(len(classes))):
        logits = model.logits(part, classes)
        yield logits.float().softmax(1).cpu()


def rows_at_once(classes: int) -> int:
    """Return the number of images whose probabilities are computed at once."""
    return max(1, min(LOGIT_ROWS, LOGITS // classes))
