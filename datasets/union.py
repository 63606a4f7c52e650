"""Several tasks as one dataset over all their classes, for trainers that know one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dassl.data.datasets import DATASET_REGISTRY

from . import build_task
from .task import Sample, Task


def register_union(names: Sequence[str]) -> str:
    """Register the union of `names` as one dataset; return them joined by commas.
    Labels count on from task to task, in order; an image's `domain` is its task. An
    image with several labels keeps them all, but Dassl's loaders see the first; images
    without labels are left out.
    """

    class Union(Task):
        name = ",".join(names)

        def __init__(self, cfg):
            self.parts = [build_task(cfg, name) for name in names]
            classnames: list[str] = []
            splits: dict[str, list[Sample]] = {"train_x": [], "val": [], "test": []}
            for domain, task in enumerate(self.parts):
                for split, samples in splits.items():
                    found = getattr(task, split)
                    samples += _shifted(found, len(classnames), domain)
                classnames += task.classnames
            super().__init__(classnames, *splits.values())

    Union.__name__ = Union.name
    DATASET_REGISTRY.register(Union, force=True)
    return Union.name


def _shifted(samples: Sequence[Sample], first: int, domain: int) -> list[Sample]:
    """Return the samples that have labels, with labels counted from `first`."""
    shifted = []
    for sample in samples:
        if sample.labels:
            labels = tuple(label + first for label in sample.labels)
            shifted.append(replace(sample, labels=labels, domain=domain))
    return shifted
