"""CoOp's split files: json lists train, val and test of [path, label, class name]."""

import os
from collections.abc import Sequence
from typing import Any

from datasets.catalog.entries import SPLITS
from datasets.task import Sample
from toolkit.common.structured import parse_json

from .index_files import Issue, Row, raise_issue, read_text

Splits = tuple[list[Sample], list[Sample], list[Sample]]


def read_split(path: str, images: str) -> Splits:
    """Return (train, val, test) of a split file whose paths are relative to `images`.
    Raises FileNotFoundError, or ValueError if it is not of this form or a label is
    negative.
    """
    content = parse_json(read_text(path), path)
    if not isinstance(content, dict) or not all(
        isinstance(content.get(split), list) for split in SPLITS
    ):
        raise ValueError(f"{path}: expected the lists {', '.join(SPLITS)}")
    splits = parse_split(content, path, images, raise_issue)
    if not splits["test"]:
        raise ValueError(f"{path}: the list test is empty")
    return tuple(_samples(splits[split]) for split in SPLITS)


def parse_split(
    content: Any, source: str, folder: str, issue: Issue
) -> dict[str, list[Row]]:
    """Return split -> images of the content of the split file `source`."""
    splits: dict[str, list[Row]] = {}
    for split in SPLITS:
        entries = content.get(split) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            issue("missing-split", source, f"there is no list {split!r}")
            continue
        splits[split] = []
        for position, entry in enumerate(entries):
            where = f"{source}: {split}[{position}]"
            row = _row(entry, where, folder)
            if row is not None:
                splits[split].append(row)
            else:
                message = f"expected [path, label, class name], found {entry!r}"
                issue("index-line", where, message)
    return splits


def class_names(splits: Sequence[Sequence[Sample]], source: str) -> list[str]:
    """Return the class names in label order, gathered from the samples of all splits.
    Raises ValueError naming `source` if a label has two names, or they are not 0..C-1.
    """
    names: dict[int, str] = {}
    for split in splits:
        for sample in split:
            first = names.setdefault(sample.label, sample.classname)
            if first != sample.classname:
                both = f"both {first!r} and {sample.classname!r} ({sample.key})"
                raise ValueError(f"{source}: label {sample.label} is called {both}")
    for label in range(len(names)):
        if label not in names:
            raise ValueError(
                f"{source}: no image has the label {label}, though labels go up to {max(names)}"
            )
    return [names[label] for label in sorted(names)]


def _row(entry: Any, where: str, folder: str) -> Row | None:
    """Return one image, None if `entry` is not [path, label or digits, class name]."""
    if not isinstance(entry, list) or len(entry) != 3:
        return None
    key, label, classname = entry
    is_text = isinstance(key, str) and isinstance(classname, str)
    if not is_text or isinstance(label, bool | float):
        return None
    try:
        label = int(label)
    except (TypeError, ValueError):
        return None
    path = os.path.join(folder, key)
    return Row(where, key, (label,), path, classname)


def _samples(rows: Sequence[Row]) -> list[Sample]:
    samples = []
    for row in rows:
        if row.labels[0] < 0:
            raise ValueError(f"{row.where}: label {row.labels[0]} is negative")
        sample = Sample(row.path, row.labels, row.key, row.classname)
        samples.append(sample)
    return samples
