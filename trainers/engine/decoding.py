"""Test images are decoded before a run begins: one that can't be read is named at once,
not after the training.

Decoded images are kept for the run's evaluation, so that none is decoded twice.
"""

from __future__ import annotations

from collections.abc import Sequence

from yacs.config import CfgNode

from datasets import Task, pocket
from datasets.multitask import MultitaskDataset
from trainers.features.builders import build_images, build_store

MOST = 5000  # images of a task; larger test sets are decoded when they are scored


def decode_test_images(
    cfg: CfgNode, tasks: Sequence[Task], cache_budget: int
) -> MultitaskDataset | None:
    """Decode the test images of `tasks`; return their dataset, which keeps them, or
    None if it would not.

    Left out are tasks with more than `MOST` test images, pocket tasks, and images whose
    features are known: they have been decoded before. cache_budget: bytes for decoded
    images.

    Raises ValueError or FileNotFoundError naming an image that can't be decoded.
    """
    store = build_store(cfg)
    images = build_images(
        cfg, tasks, "test", store.backbone.preprocessing, cache_budget=cache_budget
    )
    rows: list[int] = []
    for position, task in enumerate(tasks):
        if task.name in pocket.SPECS or len(task.test) > MOST:
            continue
        if task.test and not store.has_features(images, position):
            rows += images.rows(position)
    if not rows:
        return None
    images.decode(rows)
    return images if images.image_bytes else None
