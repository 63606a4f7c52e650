"""Several tasks as one dataset over all their classes, for trainers that know one."""

from collections.abc import Sequence
from dataclasses import replace

from dassl.data.datasets import DATASET_REGISTRY

from . import build_task
from .task import Sample, Task


def register_union(names: Sequence[str]) -> str:
    """Register the union of `names` as one dataset; return them joined by commas.
    Labels count on from task to task; an image's `domain` is its task. Dassl's loaders
    see the first of several labels; images without labels are left out.
    """

    class Union(Task):
        name = ",".join(names)

        def __init__(self, cfg):
            self.parts = [build_task(cfg, name) for name in names]
            classnames: list[str] = []
            splits: dict[str, list[Sample]] = {"train_x": [], "val": [], "test": []}
            for domain, task in enumerate(self.parts):
                for split, samples in splits.items():
                    for sample in getattr(task, split):
                        if sample.labels:
                            labels = [
                                label + len(classnames) for label in sample.labels
                            ]
                            changed = {"labels": tuple(labels), "domain": domain}
                            samples.append(replace(sample, **changed))
                classnames += task.classnames
            super().__init__(classnames, *splits.values())

    Union.__name__ = Union.name
    DATASET_REGISTRY.register(Union, force=True)
    return Union.name
