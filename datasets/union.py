"""Several tasks as one dataset over the union of their classes, for trainers that know a single dataset only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dassl.data.datasets import DATASET_REGISTRY

from . import build_task
from .task import Sample, Task


def register_union(names: Sequence[str]) -> str:
    """Register the union of `names` as one dataset and return its name, which joins theirs by commas.

    Labels count on from task to task, in order; an image's `domain` is its task. An image with several labels keeps
    them all, but Dassl's loaders see the first; images without labels are left out.
    """

    class Union(Task):
        name = ",".join(names)

        def __init__(self, cfg):
            tasks = [build_task(cfg, name) for name in names]
            splits: dict[str, list[Sample]] = {"train_x": [], "val": [], "test": []}
            first = 0
            for position, task in enumerate(tasks):
                for split, items in splits.items():
                    items += [
                        replace(item, labels=tuple(label + first for label in item.labels), domain=position)
                        for item in getattr(task, split)
                        if item.labels
                    ]
                first += task.num_classes
            super().__init__([name for task in tasks for name in task.classnames], *splits.values())

    Union.__name__ = Union.name
    DATASET_REGISTRY.register(Union, force=True)
    return Union.name
