"""CoOp's split files: one json with the lists train, val and test of [path, label, class name]."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from datasets.task import Sample

from .index_files import read_json

SPLITS = ("train", "val", "test")


def read_split(root: str, image_dir: str, split_json: str) -> tuple[list[Sample], list[Sample], list[Sample]]:
    """Read `<root>/<split_json>`; its paths are relative to `<root>/<image_dir>`.

    Returns:
        (train, val, test), each in file order

    Raises:
        FileNotFoundError: the json is missing.
        ValueError: it is not of this form, or a label is negative.
    """
    path = os.path.join(root, split_json)
    content = read_json(path)
    if not isinstance(content, dict) or any(not isinstance(content.get(split), list) for split in SPLITS):
        raise ValueError(f"{path}: expected the lists {', '.join(SPLITS)}")
    if not content["test"]:
        raise ValueError(f"{path}: the list test is empty")
    folder = os.path.join(root, image_dir)
    return tuple(
        [_sample(folder, row, f"{path}: {split}[{position}]") for position, row in enumerate(content[split])]
        for split in SPLITS
    )


def class_names(splits: Sequence[Sequence[Sample]], source: str) -> list[str]:
    """The class names in label order, gathered from the samples of all splits.

    Raises:
        ValueError: a label has two names, or the labels are not 0..C-1; the message names the file `source`.
    """
    names: dict[int, str] = {}
    for sample in (sample for split in splits for sample in split):
        if names.setdefault(sample.label, sample.classname) != sample.classname:
            first, second = names[sample.label], sample.classname
            raise ValueError(f"{source}: label {sample.label} is called both {first!r} and {second!r} ({sample.key})")
    for label in range(len(names)):
        if label not in names:
            raise ValueError(f"{source}: no image has the label {label}, though labels go up to {max(names)}")
    return [names[label] for label in range(len(names))]


def subsample_classes(
    splits: Sequence[Sequence[Sample]], classnames: Sequence[str], which: str
) -> tuple[list[list[Sample]], list[str]]:
    """CoOp's base-to-new split: the first half of the classes ("base", rounded up), the rest ("new") or "all".

    Returns:
        (the splits without the other classes, labels counted from 0 again; the class names that are left)
    """
    half = (len(classnames) + 1) // 2
    kept = {"all": range(len(classnames)), "base": range(half), "new": range(half, len(classnames))}.get(which)
    if kept is None:
        raise ValueError(f"DATASET.SUBSAMPLE_CLASSES is {which!r}; choose all, base or new")
    splits = [[replace(s, labels=(s.label - kept.start,)) for s in split if s.label in kept] for split in splits]
    return splits, [classnames[label] for label in kept]


def _sample(folder: str, row: object, where: str) -> Sample:
    try:
        key, label, classname = row
        label = int(label)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: expected [path, label, class name], found {row!r}") from None
    if label < 0:
        raise ValueError(f"{where}: label {label} is negative")
    return Sample(os.path.join(folder, key), (label,), key, classname)
