"""A task: a registered Dassl dataset that says how it is labelled and scored."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase

from datasets.catalog.entries import Entry
from datasets.catalog.names import DEFAULT_TEMPLATES, templates

LABEL_KINDS = ("multiclass", "multilabel")
METRICS = ("accuracy", "mean-per-class", "11point_mAP", "roc_auc")


@dataclass(frozen=True)
class Sample:
    """One image of a task, with the attributes of Dassl's Datum; it may be in a zip."""

    impath: str  # "/data/a.png" or "/data/train.zip@a/b.png"
    labels: tuple[int, ...]  # local to the task; () is a negative image
    key: str  # the path as the index file has it: the same on every machine
    classname: str = ""
    domain: int = 0

    @property
    def label(self) -> int:
        """Return the first label, or -1 for a negative image."""
        return self.labels[0] if self.labels else -1


class Task(DatasetBase):
    """Images with labels, class names, a metric and prompt templates. Subclasses state
    the class attributes and call this constructor with the samples that they read;
    Dassl constructs a registered one with `cfg` alone. `train_x`, `val` (it may be
    empty) and `test` are lists of `Sample`, few-shot already applied.
    """

    name: str = ""
    label_kind: str = "multiclass"
    metric: str = "accuracy"
    templates: Sequence[str] = DEFAULT_TEMPLATES
    crop: str = "crop"
    subsampled: bool = False  # classes were left out
    # seed of the few-shot sample, if it is not the configuration's
    drawn_seed: int | None = None

    def __init__(
        self,
        classnames: Sequence[str],
        train: Sequence[Sample],
        val: Sequence[Sample],
        test: Sequence[Sample],
    ):
        self.name = self.name or type(self).__name__
        self.templates = list(self.templates)
        self._check()
        self._train_x = list(train)
        self._train_u = None
        self._val = list(val)
        self._test = list(test)
        self._set_classes(classnames)

    def _set_classes(self, classnames: Sequence[str]) -> None:
        self._classnames = list(classnames)
        self._num_classes = len(self._classnames)
        self._lab2cname = dict(enumerate(self._classnames))

    def _check(self) -> None:
        for attribute, known in (("label_kind", LABEL_KINDS), ("metric", METRICS)):
            value = getattr(self, attribute)
            if value not in known:
                raise ValueError(
                    f"{self.name}: {attribute} {value!r} is none of {', '.join(known)}"
                )
        for template in self.templates:
            if "{}" not in template:
                raise ValueError(
                    f"{self.name}: template {template!r} has no {{}} for the class name"
                )

    def set_split(
        self, train: Sequence[Sample], val: Sequence[Sample], seed: int | None
    ) -> None:
        """Train on these images, which were sampled with `seed`."""
        self._train_x = list(train)
        self._val = list(val)
        self.drawn_seed = seed

    def targets(self, samples: Sequence[Sample]) -> np.ndarray:
        """Return labels int64 (N,), -1: negative; of a multilabel task 0/1 (N, C)."""
        if self.label_kind == "multiclass":
            return np.array([sample.label for sample in samples], dtype=np.int64)
        targets = np.zeros((len(samples), self.num_classes), dtype=np.int64)
        for target, sample in zip(targets, samples, strict=True):
            target[list(sample.labels)] = 1
        return targets

    def subsample(self, cfg) -> None:
        """Keep the classes that DATASET.SUBSAMPLE_CLASSES names, labels counted from 0
        again, once: "base" is CoOp's first half in label order, rounded up, "new" the
        rest. Raises ValueError for another name, a multilabel task, or too few classes
        for the metric.
        """
        which = getattr(cfg.DATASET, "SUBSAMPLE_CLASSES", "all")
        kept = class_range(which, len(self._classnames))
        if which == "all" or self.subsampled:
            return
        if self.label_kind == "multilabel":
            raise ValueError(
                f"DATASET.SUBSAMPLE_CLASSES is {which!r}; {self.name} is multilabel, so its classes can't be parted"
            )
        if self.metric == "roc_auc" and len(kept) < 2:
            raise ValueError(
                f"DATASET.SUBSAMPLE_CLASSES is {which!r}; it leaves one class of {self.name}, whose metric, roc_auc, needs two"
            )
        self.subsampled = True
        self._train_x = _of_classes(self._train_x, kept)
        self._val = _of_classes(self._val, kept)
        self._test = _of_classes(self._test, kept)
        self._set_classes([self._classnames[label] for label in kept])

    def data_root(self, cfg) -> str:
        """Return the folder of all data sets, by default `cfg.DATASET.ROOT`."""
        root = os.path.abspath(os.path.expanduser(cfg.DATASET.ROOT))
        if not os.path.isdir(root):
            raise FileNotFoundError(f"no data root {root}; pass --root (DATASET.ROOT)")
        return root

    def data_folder(self, cfg, folder: str) -> str:
        """Return `folder` below the data root, or raise FileNotFoundError."""
        path = os.path.join(self.data_root(cfg), folder)
        if not os.path.isdir(path):
            hint = "" if cfg.DATASET.ROOT else " (DATASET.ROOT is empty; pass --root)"
            raise FileNotFoundError(
                f"{self.name or type(self).__name__}: no folder {path}{hint}"
            )
        return path


def class_range(which: str, count: int) -> range:
    """Return the labels of "all", "base" or "new" classes, or raise ValueError."""
    half = (count + 1) // 2
    ranges = {"all": range(count), "base": range(half), "new": range(half, count)}
    if which not in ranges:
        raise ValueError(
            f"DATASET.SUBSAMPLE_CLASSES is {which!r}; choose all, base or new"
        )
    return ranges[which]


def _of_classes(samples: Sequence[Sample], kept: range) -> list[Sample]:
    left = []
    for sample in samples:
        if sample.label in kept:
            left.append(replace(sample, labels=(sample.label - kept.start,)))
    return left


def register_task(cls: type[Task]) -> type[Task]:
    """Register a task class under its `name`, such as "cifar-10"."""
    if not cls.name:
        raise ValueError(f"{cls.__name__} has no name to be registered under")
    cls.__name__ = cls.name
    DATASET_REGISTRY.register(cls)
    return cls


def register_entry(
    entry: Entry, bases: tuple[type, ...], attributes: dict[str, Any]
) -> None:
    """Register a set of the catalog: a subclass of `bases` with `attributes`."""
    attributes |= {
        "name": entry.name,
        "metric": entry.metric,
        "label_kind": entry.label_kind,
        "templates": templates(entry.name),
        "crop": entry.crop,
        "__module__": bases[0].__module__,
    }
    register_task(type(entry.name, bases, attributes))


def require_train_images(
    samples: Sequence[Sample], classnames: Sequence[str], source: str
) -> None:
    """Raise ValueError naming the first class without an image in `samples`."""
    present = {label for sample in samples for label in sample.labels}
    for label, classname in enumerate(classnames):
        if label not in present:
            raise ValueError(
                f"class {label} ({classname!r}) has no training image in {source}"
            )


def sampling_seed(cfg) -> int:
    """Return the seed of few-shot samples: RANDOM_SEED_SAMPLING, or SEED."""
    return int(getattr(cfg.DATASET, "RANDOM_SEED_SAMPLING", cfg.SEED))


class _Wrapped(Task):
    """A plain Dassl dataset seen as a task."""

    def __init__(self, dataset: DatasetBase, name: str):
        self.name = name
        for attribute in ("label_kind", "metric", "templates", "crop"):
            if hasattr(dataset, attribute):
                setattr(self, attribute, getattr(dataset, attribute))
        splits = [dataset.train_x or [], dataset.val or [], dataset.test or []]
        base = _base_folder(
            dataset, [item.impath for items in splits for item in items]
        )
        train, val, test = [[_sample(item, base) for item in items] for items in splits]
        super().__init__(dataset.classnames, train, val, test)


def _sample(item, base: str) -> Sample:
    if isinstance(item, Sample):
        return item
    key = os.path.relpath(os.path.abspath(item.impath), base).replace(os.sep, "/")
    return Sample(item.impath, (item.label,), key, item.classname, item.domain)


def _base_folder(dataset: DatasetBase, paths: Sequence[str]):
    """Return the folder of keys: `dataset_dir`, or the deepest one common to all."""
    folders = {os.path.dirname(os.path.abspath(path)) for path in paths}
    stated = getattr(dataset, "dataset_dir", None)
    if stated:
        stated = os.path.abspath(os.path.expanduser(stated))
        if all(os.path.commonpath([folder, stated]) == stated for folder in folders):
            return stated
    return os.path.commonpath(folders or {os.sep})


def as_task(dataset: DatasetBase, name: str) -> Task:
    """Return a Dassl dataset (with Datum items) as a task called `name`; a `Task` is
    returned as it is. Its attributes `label_kind`, `metric`, `templates` and `crop`
    hold, if it has them.
    """
    return dataset if isinstance(dataset, Task) else _Wrapped(dataset, name)
