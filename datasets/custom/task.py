"""A user's own images as a task, without a line of code: `folder:PATH` or `csv:FILE` wherever a data set is named.

    folder:photos      photos/<train, val or test>/<class>/..., or photos/<class>/..., of which a fifth are test images
    csv:birds.csv      columns path, label or labels, and split

A YAML of the same name beside the folder or file (photos.yaml, birds.yaml) may say more: see `own_settings`. The task
is called after the folder or file, so that what a run writes names no path of the machine.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY

from datasets import few_shot as fewshot
from datasets.elevater import sampling_seed
from datasets.io.split_files import subsample_classes
from datasets.task import Sample, Task, require_train_images

from .reading import Row, read_csv, read_folder
from .settings import Settings, read_settings

KINDS = ("folder", "csv")
RANKED = ("11point_mAP", "roc_auc")  # metrics that take several labels an image


def is_own(name: str) -> bool:
    """Whether a name given for a data set is of this form."""
    return name.partition(":")[0] in KINDS and ":" in name


def task_name(name: str) -> str:
    """What the task is called: the folder's or file's name, or what its YAML says; a registered name is itself."""
    return _describe(name)[2].name if is_own(name) else name


def shareable(name: str) -> str:
    """The name without what belongs to one machine: of an absolute path, the last part is left."""
    kind, _, path = name.partition(":")
    if not is_own(name) or not os.path.isabs(path):
        return name
    return f"{kind}:{os.path.basename(os.path.normpath(path))}"


def task_class(name: str) -> type[Task]:
    """The class of a task of one's own: like a registered one, it is constructed with a configuration."""
    return type(name, (OwnTask,), {"spec": name, "__module__": __name__})


def register(name: str) -> None:
    """Let Dassl's registry know `name`, for trainers that ask the registry themselves. Other names are left alone."""
    if is_own(name) and name not in DATASET_REGISTRY.registered_names():
        DATASET_REGISTRY.register(task_class(name))


class OwnTask(Task):
    """The task that `spec` names.

    Few-shot: without validation images, ELEVATER's rule (`fewshot.draw_elevater`); with them, the same sampling of
    `cfg.DATASET.NUM_SHOTS` training and at most 4 validation images per class. -1 takes all, 0 no training images.

    Raises:
        FileNotFoundError, ValueError: the message names the file, and the line of a CSV.
    """

    spec: str = ""

    def __init__(self, cfg):
        kind, path, settings = _describe(self.spec)
        self.name = settings.name
        if self.name in DATASET_REGISTRY.registered_names():
            raise ValueError(
                f"{self.spec}: {self.name!r} is the name of a registered data set; "
                f"give another one with 'name: ...' in {_stem(kind, path)}.yaml"
            )
        multilabel = {"multilabel": True, "multiclass": False}.get(settings.label_kind)
        if kind == "csv":
            rows, multilabel = read_csv(path, multilabel)
        else:
            rows = read_folder(path)
        self.label_kind = "multilabel" if multilabel else "multiclass"
        self.metric = settings.metric or ("11point_mAP" if multilabel else "accuracy")
        self.templates, self.crop = settings.templates, settings.crop
        labels = _labels(rows, settings, path)
        if multilabel and self.metric not in RANKED:
            raise ValueError(
                f"{settings.file}: metric {self.metric!r} takes one label an image; use {RANKED[0]} for several"
            )
        if self.metric == "roc_auc" and not multilabel and len(labels) != 2:
            raise ValueError(f"{settings.file}: metric 'roc_auc' takes two classes, {path} has {len(labels)}")
        train, val, test = (_samples(rows, split, labels) for split in ("train", "val", "test"))
        if not test:
            raise ValueError(f"{path} has no test images")
        names, shots = list(labels.values()), cfg.DATASET.NUM_SHOTS
        if shots != 0:
            require_train_images(train, names, str(path))
        train, val = _draw(train, val, len(names), self.label_kind, shots, sampling_seed(cfg))
        which = getattr(cfg.DATASET, "SUBSAMPLE_CLASSES", "all")
        if which != "all" and multilabel:
            raise ValueError(
                f"DATASET.SUBSAMPLE_CLASSES is {which!r}; {self.name} is multilabel, so its classes can't be parted"
            )
        (train, val, test), names = (
            ([train, val, test], names) if multilabel else subsample_classes([train, val, test], names, which)
        )
        super().__init__(names, train, val, test)


def _describe(name: str) -> tuple[str, Path, Settings]:
    """(kind, absolute path, settings with the task's name)."""
    kind, _, text = name.partition(":")
    if not text.strip():
        raise ValueError(f"{name!r}: expected {kind}:{'FILE' if kind == 'csv' else 'PATH'}")
    path = Path(os.path.abspath(os.path.expanduser(text.strip())))
    stem = _stem(kind, path)
    settings = read_settings(stem)
    own = settings.name or stem.name
    if not own.strip() or not own.isprintable() or set(own) & set("/\\,:"):
        where = f"{settings.file}: name" if settings.name else name
        raise ValueError(f"{where}: {own!r} can't be the name of a task, as files are called after it")
    return kind, path, replace(settings, name=own)


def _stem(kind: str, path: Path) -> Path:
    """The path that a YAML's is made from: photos/ -> photos, birds.csv -> birds."""
    return path.with_suffix("") if kind == "csv" else path


def _labels(rows: Sequence[Row], settings: Settings, path: Path) -> dict[str, str]:
    """label -> name in prompts, in label order: that of the YAML, or sorted, whole numbers by value."""
    found = {label: row for row in reversed(rows) for label in reversed(row.labels)}  # with its first row
    labels = dict(settings.names) if settings.names else {label: label for label in _sorted(found)}
    for label, row in reversed(found.items()):
        if label not in labels:
            nearest = difflib.get_close_matches(label, labels, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"{row.where}: {label!r} is none of the names in {settings.file}; the nearest is {nearest!r}"
            )
    if len(labels) < 2:
        what = f"one class, {next(iter(labels))!r}" if labels else "no labels"
        raise ValueError(f"{path} has {what}; at least two classes are needed")
    return labels


def _sorted(labels: dict[str, Row]) -> list[str]:
    whole = all(label.isdecimal() for label in labels)
    return sorted(labels, key=lambda label: (int(label), label) if whole else label)


def _samples(rows: Sequence[Row], split: str, labels: dict[str, str]) -> list[Sample]:
    number = {label: position for position, label in enumerate(labels)}
    return [
        Sample(
            row.impath,
            tuple(number[label] for label in row.labels),
            row.key,
            labels[row.labels[0]] if row.labels else "",
        )
        for row in rows
        if row.split == split
    ]


def _draw(
    train: list[Sample], val: list[Sample], num_classes: int, label_kind: str, shots: int, seed: int
) -> tuple[list[Sample], list[Sample]]:
    if not val or shots == 0:
        return fewshot.draw_elevater(train, num_classes, label_kind, shots, seed)
    if shots == -1:
        return train, val
    few = min(shots, fewshot.VAL_SHOTS)
    return fewshot.sample(train, num_classes, shots, seed), fewshot.sample(val, num_classes, few, seed)
