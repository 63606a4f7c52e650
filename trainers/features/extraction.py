"""From a task and a configuration to what is scored: prepared images, their features, probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from datasets import Task
from datasets.multitask import GIB, MultitaskDataset
from prompting.backbones.loading import Preprocessing
from prompting.model import PromptedCLIP
from prompting.shape import clip_shape
from trainers.engine import distributed

from .store import loader

ROWS = 4096  # images whose logits are computed at once


def preprocessing(cfg, own: Preprocessing) -> Preprocessing:
    """The backbone's own preprocessing, or that of INPUT.* when INPUT.FROM_BACKBONE is False."""
    if cfg.INPUT.FROM_BACKBONE:
        return own
    return Preprocessing(
        cfg.INPUT.SIZE[0], tuple(cfg.INPUT.PIXEL_MEAN), tuple(cfg.INPUT.PIXEL_STD), cfg.INPUT.INTERPOLATION
    )


def images_of(
    cfg, tasks: Sequence[Task], split: str, own: Preprocessing, transform=None, room: int = GIB
) -> MultitaskDataset:
    """The images of a split of `tasks`, prepared as the configuration says; decoded ones are kept where all take at most
    `room` bytes."""
    pre = preprocessing(cfg, own)
    crop = None if cfg.DATASET.CENTER_CROP else "squash"
    return MultitaskDataset(
        tasks, split, pre.size, pre.interpolation, pre.mean, pre.std, crop, transform=transform, cache_bytes=room
    )


def autocast_dtype(cfg, device: torch.device) -> torch.dtype | None:
    """What TRAINER.MVLPT.PREC computes in; None: float32, as always on a CPU unless bf16 is asked for."""
    precision = cfg.TRAINER.MVLPT.PREC
    if device.type == "cpu" and precision in ("fp16", "amp"):
        return None
    return {"fp32": None, "fp16": torch.float16, "amp": torch.float16, "bf16": torch.bfloat16}[precision]


@torch.no_grad()
def encode(models: Sequence[PromptedCLIP], dataset: Dataset, cfg, device: torch.device) -> list[Tensor]:
    """Each model's image features (N, d) of a dataset in its order. Images are read and decoded once for all models.

    Of several processes each encodes its share of the batches; all get all features.
    """
    total, size = len(dataset), cfg.DATALOADER.TEST.BATCH_SIZE
    dataset = _part(dataset, distributed.rows(total, size))
    dtype = autocast_dtype(cfg, device)
    parts = [[torch.empty(0, clip_shape(model.clip).embed_dim, device=device)] for model in models]
    with torch.autocast(device.type, dtype, enabled=dtype is not None):
        contexts = [model.contexts() for model in models]
        for batch in loader(dataset, cfg):
            images = batch["img"].to(device, non_blocking=True)
            for model, own, features in zip(models, contexts, parts, strict=True):
                features.append(model.encode_images(images, own))
    return [distributed.gather_rows(torch.cat(features), total, size) for features in parts]


def _part(dataset: Dataset, rows: range) -> Dataset:
    if len(rows) == len(dataset):
        return dataset
    if isinstance(dataset, Subset):
        return Subset(dataset.dataset, dataset.indices[rows.start : rows.stop])
    return Subset(dataset, rows)


@torch.no_grad()
def class_features(model: PromptedCLIP, task: Task) -> Tensor:
    """Features (C, d) of the task's classes; plain CLIP is asked with the task's templates."""
    return model.encode_classes(task.classnames, templates=task.templates if model.prompt is None else None)


@torch.no_grad()
def probabilities(model: PromptedCLIP, images: Tensor, classes: Tensor) -> Tensor:
    """Probabilities (N, C), float32 on the CPU, of image features (N, d) for class features (C, d)."""
    out = torch.empty(len(images), len(classes))
    for first in range(0, len(images), ROWS):
        rows = slice(first, first + ROWS)
        out[rows] = model.logits(images[rows], classes).float().softmax(1)
    return out
