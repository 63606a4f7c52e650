"""The published few-shot lists: a line of JSON for each training image."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from datasets.task import Sample
from toolkit.common.files import write_text

FIELDS = ("_impath", "_label", "_domain", "_classname")


def write_list(path: str | os.PathLike, samples: Sequence[Sample]) -> None:
    """Write the first label and the path in the index of each image."""
    lines = []
    for sample in samples:
        values = (sample.key, sample.label, sample.domain, sample.classname)
        item = dict(zip(FIELDS, values, strict=True))
        lines.append(json.dumps(item, ensure_ascii=False))
    write_text(path, "\n".join(lines) + "\n")


def is_list(path: Path) -> bool:
    """Return True if the first line of a file is an image of such a list."""
    with open(path, encoding="utf-8", errors="replace") as file:
        first = file.readline()
    return first.lstrip().startswith("{") and '"_impath"' in first


def read_list(path: Path) -> dict:
    """Return a list as a few-shot record of whatever task, with labels beside the paths.

    Raises ValueError naming the line that is no image.
    """
    paths, labels = [], []
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            listed = str(item["_impath"])
            paths.append(listed.replace("\\", "/"))
            labels.append(int(item["_label"]))
        except (ValueError, TypeError, KeyError):
            raise ValueError(
                f"{path}:{number}: expected a JSON object with {', '.join(FIELDS)}"
            ) from None
    shots = max(Counter(labels).values())
    record = {"task": None, "shots": shots, "train": paths, "val": []}
    return record | {"labels": labels, "file": str(path)}


def find_listed(record: Mapping, pool: Sequence[Sample]) -> list[Sample]:
    """Return the images of a list among `pool`: those whose path in the index ends a
    listed path, which may be another machine's.

    Raises ValueError naming an image that is not there or has another label.
    """
    by_key = {sample.key: sample for sample in reversed(pool)}
    found = []
    for path, label in zip(record["train"], record["labels"], strict=True):
        parts = path.split("/")
        ends = ["/".join(parts[start:]) for start in range(len(parts))]
        sample = next((by_key[end] for end in ends if end in by_key), None)
        if sample is None:
            raise ValueError(f"{record['file']} names {path}, which is not there")
        if sample.label != label:
            raise ValueError(
                f"{record['file']}: {path} has the label {label}, but {sample.label} in this data set"
            )
        found.append(sample)
    return found
