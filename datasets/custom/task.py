"""Custom images as a task, without a line of code: `folder:PATH` or `csv:FILE` as the
name of a data set.

    folder:photos      photos/<train, val or test>/<class>/..., or photos/<class>/..., about a fifth of them test images
    folder:photos      the same folders with metadata.csv or metadata.jsonl: columns file_name and label
    csv:birds.csv      columns path, label or labels, and split
    wds:wds_cars       webdataset shards: classnames.txt, train/0.tar, test/0.tar, ...
    parquet:data       parquet files with a column of images and one of labels

A YAML of the same name beside the folder or file (photos.yaml, birds.yaml) may say
more: see `settings`. The task has the name of the folder or file, so that the files of
a run name no path of the machine.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dassl.data.datasets import DATASET_REGISTRY

from datasets.few_shot import VAL_SHOTS, sample, sample_elevater
from datasets.task import (
    DEFAULT_TEMPLATES,
    Sample,
    Task,
    require_train_images,
    sampling_seed,
)
from toolkit.common.class_names import require_distinct
from toolkit.common.suggest import nearest
from toolkit.common.text import require_printable, require_text

from . import packed
from .reading import read_csv, read_folder
from .rows import Row
from .settings import Settings, read_settings

KINDS = ("folder", "csv", *packed.KINDS)
LONGEST_NAME = 200  # bytes of a task's name, of the 255 that a file's name may have
RANKED = ("11point_mAP", "roc_auc")  # metrics that take several labels an image


def is_custom(name: str) -> bool:
    """Return whether the name of a data set is of this form."""
    return name.partition(":")[0] in KINDS and ":" in name


def task_name(name: str) -> str:
    """Return the name of the task: the folder's, file's or YAML's; else `name`."""
    if not is_custom(name):
        return name
    return _describe(name)[2].name


def without_local_path(name: str) -> str:
    """Return the name, with the last part alone of an absolute path."""
    kind, _, path = name.partition(":")
    if not is_custom(name) or not os.path.isabs(path):
        return name
    return f"{kind}:{os.path.basename(os.path.normpath(path))}"


def task_class(name: str) -> type[Task]:
    """Return the class of a custom task, which takes a configuration."""
    return type(name, (CustomTask,), {"spec": name, "__module__": __name__})


def register(name: str) -> None:
    """Let Dassl's registry know a custom `name`, for trainers that ask it."""
    if is_custom(name) and name not in DATASET_REGISTRY.registered_names():
        DATASET_REGISTRY.register(task_class(name))


def _restore(name: str, attributes: dict) -> Task:
    """Return a custom task: pickle finds its class, made for it, under no name."""
    cls = task_class(name)
    task = cls.__new__(cls)
    vars(task).update(attributes)
    return task


class CustomTask(Task):
    """The task that `spec` names. Few-shot: ELEVATER's rule (`sample_elevater`) without
    validation images, else the same sampling of `cfg.DATASET.NUM_SHOTS` training (-1:
    all) and at most 4 validation images per class. Errors name file and line.
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
        rows, multilabel, settings = _read_rows(kind, path, settings)
        labels = _labels(rows, settings, path)
        self._set_attributes(settings, multilabel, len(labels), path)
        splits = _split_samples(rows, labels)
        if not splits["test"]:
            raise ValueError(f"{path} has no test images")
        classnames = list(labels.values())
        shots, seed = cfg.DATASET.NUM_SHOTS, sampling_seed(cfg)
        train, val = splits["train"], splits["val"]
        if shots != 0:
            require_train_images(train, classnames, str(path))
        count = len(classnames)
        if not val or shots == 0:
            few, val = sample_elevater(train, count, self.label_kind, shots, seed)
            train = _with_all_classes(few, val)
        elif shots != -1:
            train = sample(train, count, shots, seed)
            val = sample(val, count, min(shots, VAL_SHOTS), seed)
        super().__init__(classnames, train, val, splits["test"])
        self.subsample(cfg)

    def __reduce__(self):
        return _restore, (self.spec, vars(self))

    def _set_attributes(
        self, settings: Settings, multilabel: bool, classes: int, path: Path
    ) -> None:
        self.label_kind = "multilabel" if multilabel else "multiclass"
        self.templates = settings.templates
        self.crop = settings.crop
        self.metric = settings.metric or ("11point_mAP" if multilabel else "accuracy")
        if multilabel and self.metric not in RANKED:
            raise ValueError(
                f"{settings.file}: metric {self.metric!r} takes one label an image; use {RANKED[0]} for several"
            )
        if self.metric == "roc_auc" and not multilabel and classes != 2:
            raise ValueError(
                f"{settings.file}: metric 'roc_auc' takes two classes, {path} has {classes}"
            )


def _describe(name: str):
    """Return kind, absolute path, and settings with the task's name."""
    kind, _, text = name.partition(":")
    text = text.strip()
    if not text:
        place = "FILE" if kind == "csv" else "PATH"
        raise ValueError(f"{name!r}: expected {kind}:{place}")
    path = Path(os.path.abspath(os.path.expanduser(text)))
    require_text(str(path), f"--dataset {kind}")
    stem = _stem(kind, path)
    settings = read_settings(stem)
    task = settings.name or stem.name
    is_name = task.isprintable() and task.strip() not in ("", ".", "..")
    if not is_name or set(task) & set("/\\,:") or len(task.encode()) > LONGEST_NAME:
        where = f"{settings.file}: name" if settings.name else name
        raise ValueError(
            f"{where}: {task!r} can't be the name of a task, as files are called after it"
        )
    return kind, path, replace(settings, name=task)


def _stem(kind: str, path: Path) -> Path:
    """Return the path that a YAML's is made from: photos/ -> photos, a.csv -> a."""
    is_file = kind == "csv" or path.suffix == ".parquet"
    return path.with_suffix("") if is_file else path


def _read_rows(kind: str, path: Path, settings: Settings):
    """Return the images, if they are multilabel, and settings with the source's."""
    multilabel = None
    if settings.label_kind:
        multilabel = settings.label_kind == "multilabel"
    if kind == "csv":
        rows, multilabel = read_csv(path, multilabel)
        return rows, multilabel, settings
    if kind == "folder":
        rows = read_folder(path, settings.names or ())
        several = [row for row in rows if len(row.labels) != 1]
    else:
        rows, several, names, templates = packed.read_packed(kind, path)
        if not settings.names:
            labels = dict(zip(names, names, strict=True))
            settings = replace(settings, names=labels, file=settings.file or str(path))
        if settings.templates == DEFAULT_TEMPLATES:
            settings = replace(settings, templates=templates or DEFAULT_TEMPLATES)
    if several and multilabel is False:
        raise ValueError(
            f"{several[0].where} may have several labels, but label_kind in {settings.file} is multiclass"
        )
    return rows, bool(multilabel or several), settings


def _labels(rows: Sequence[Row], settings: Settings, path: Path) -> dict[str, str]:
    """Return label -> name in prompts: the YAML's, or sorted, numbers by value."""
    first: dict[str, Row] = {}
    for row in rows:
        for label in row.labels:
            first.setdefault(label, row)
    labels = dict(settings.names or {})
    if labels:
        for label, row in first.items():
            if label not in labels:
                raise ValueError(
                    f"{row.where}: {label!r} is none of the names in {settings.file}; the nearest is "
                    f"{nearest(label, labels)[0]!r}"
                )
    else:
        ordered = sorted(first)
        if all(label.isdecimal() for label in ordered):
            ordered.sort(key=int)
        labels = dict(zip(ordered, ordered, strict=True))
    if not labels:
        raise ValueError(f"{path} has no labels; at least two classes are needed")
    if len(labels) < 2:
        raise ValueError(
            f"{path} has one class, {next(iter(labels))!r}; at least two classes are needed"
        )
    source = settings.file or str(path)
    for name in labels.values():
        require_printable(name, source)
    require_distinct(labels.values(), source)
    return labels


def _split_samples(rows: Sequence[Row], labels: dict[str, str]):
    position_of = {label: position for position, label in enumerate(labels)}
    splits: dict[str, list[Sample]] = {"train": [], "val": [], "test": []}
    for row in rows:
        positions = tuple(position_of[label] for label in row.labels)
        classname = labels[row.labels[0]] if row.labels else ""
        splits[row.split].append(Sample(row.impath, positions, row.key, classname))
    return splits


def _with_all_classes(train: list[Sample], val: list[Sample]) -> list[Sample]:
    """Return the training images, with those of classes that val alone has."""
    train = list(train)
    shown = {label for item in train for label in item.labels}
    for item in val:
        if not shown.issuperset(item.labels):
            train.append(item)
            shown.update(item.labels)
    return train
