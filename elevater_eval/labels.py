"""Labels of a test set, read from its index file in the order in which predictions are submitted."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elevater_eval.tasks import TaskInfo

LABELS = re.compile(r"\d+(,\d+)*")


@dataclass(frozen=True, eq=False)
class Labels:
    """``targets``: int64 (N,) for a multiclass task, 0/1 (N, C) for a multilabel one."""

    targets: np.ndarray
    classes: int


def read_labels(root: str | Path, task: TaskInfo) -> Labels:
    """Test labels of ``task`` under the data root: IRIS in the order of lines, COCO by ascending image id.

    Raises ``FileNotFoundError`` where a file is absent and ``ValueError`` naming the file and place where one is wrong.
    """
    index = Path(root) / task.test_index
    if task.format == "iris":
        rows = _read_iris(index)
        seen = 1 + max((label for row in rows for label in row), default=0)
        classes = _count_names(Path(root) / task.labelmap) if task.labelmap else seen
    elif task.format == "coco":
        rows, classes = _read_coco(index)
    else:
        raise ValueError(f"task {task.name!r}: unknown format {task.format!r}; known: iris, coco")
    if not rows:
        raise ValueError(f"{index}: no images")
    for i, row in enumerate(rows):
        if row and max(row) >= classes:
            raise ValueError(f"{index}: image {i} has label {max(row)}, but there are {classes} classes")
        if not row and task.label_kind == "multiclass":
            raise ValueError(f"{index}: image {i} has no label")
    if task.label_kind == "multiclass":
        return Labels(np.array([row[0] for row in rows], dtype=np.int64), classes)
    targets = np.zeros((len(rows), classes), dtype=np.int64)
    for i, row in enumerate(rows):
        targets[i, row] = 1
    return Labels(targets, classes)


def _read_iris(path: Path) -> list[list[int]]:
    """``<path> <label>[,<label>...]`` a line; a line without labels is a negative image. Paths may hold spaces."""
    rows = []
    for line in _read(path).split("\n"):
        if line.strip():
            image, _, field = line.strip().rpartition(" ")
            labelled = image and LABELS.fullmatch(field)
            rows.append([int(label) for label in field.split(",")] if labelled else [])
    return rows


def _count_names(path: Path) -> int:
    return sum(1 for line in _read(path).split("\n") if line.strip())


def _read_coco(path: Path) -> tuple[list[list[int]], int]:
    """Labels are positions of the categories, sorted by id; images are sorted by id."""
    text = _read(path)
    try:
        content = json.loads(text)
        position = {c: i for i, c in enumerate(sorted(category["id"] for category in content["categories"]))}
        rows: dict[int, list[int]] = {image: [] for image in sorted(image["id"] for image in content["images"])}
        for annotation in content["annotations"]:
            rows[annotation["image_id"]].append(position[annotation["category_id"]])
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise ValueError(f"{path}: not JSON: {error}") from None
    except KeyError as error:
        raise ValueError(f"{path}: a key is missing, or an annotation's image or category unknown: {error}") from None
    except TypeError as error:
        raise ValueError(f"{path}: not a COCO index: {error}") from None
    if len(rows) != len(content["images"]) or len(position) != len(content["categories"]):
        raise ValueError(f"{path}: an image or category id occurs more than once")
    return list(rows.values()), len(position)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; is the data root right?") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error}") from None
