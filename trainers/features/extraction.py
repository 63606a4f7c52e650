"""From images to features, and from features to probabilities."""

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
    """How images are encoded; precision: of autocast, None for float32."""

    device: str = "cpu"
    precision: torch.dtype | None = None
    batch_size: int = 100
    workers: int = 0


@torch.no_grad()
def encode_images(
    models: Sequence[PromptedCLIP], dataset: Dataset, settings: EncoderSettings
) -> list[Tensor]:
    """Return each model's image features (N, d) of a dataset, in its order; every image
    is decoded once. Of several processes each encodes a share, and gets all features.
    """
    if not models:
        return []
    device = torch.device(settings.device)
    total, batch_size = len(dataset), settings.batch_size
    rows, share = distributed.rows(total, batch_size), dataset
    if isinstance(dataset, Subset):
        share = Subset(dataset.dataset, dataset.indices[rows.start : rows.stop])
    elif len(rows) < total:
        share = Subset(dataset, rows)
    loader = build_loader(share, batch_size, settings.workers, settings.device)
    precise = settings.precision is None
    with torch.autocast(device.type, settings.precision, enabled=not precise):
        jobs = []
        for model in models:
            contexts = model.contexts()
            none = torch.empty(0, model.feature_dim(contexts), device=device)
            jobs.append((model, contexts, [none]))
        for batch in loader:
            images = batch["img"].to(device, non_blocking=True)
            for model, contexts, parts in jobs:
                parts.append(model.encode_images(images, contexts))
    shares = [torch.cat(parts) for _, _, parts in jobs]
    return [distributed.gather_rows(share, total, batch_size) for share in shares]


@torch.no_grad()
def class_features(
    model: PromptedCLIP, task: Task, one_template: bool = False
) -> Tensor:
    """Return features (C, d) of the task's classes; those of plain CLIP, and of prompts
    that say so, are over the task's templates, or with `one_template` the one sentence.
    """
    templates = None
    if not one_template and (model.prompt is None or model.prompt.task_templates):
        templates = task.templates
    return model.encode_classes(task.classnames, templates=templates, task=task.name)


def probabilities(model: PromptedCLIP, images: Tensor, classes: Tensor) -> Tensor:
    """Return probabilities (N, C), float32 on the CPU, of image features (N, d)."""
    out = torch.empty(len(images), len(classes))
    parts = probabilities_in_parts(model, images, classes)
    chunks = out.split(rows_at_once(len(classes)))
    for rows, part in zip(chunks, parts, strict=True):
        rows.copy_(part)
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
