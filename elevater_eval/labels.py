"""Labels of a test set, read from its index file in the order in which predictions are
submitted.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elevater_eval.tasks import Root, TaskInfo
from toolkit.common.structured import read_json

LABELS = re.compile(r"\d+(,\d+)*")
# marks test sets whose images are not in ELEVATER's order; `datasets prepare` writes it
ORDER_FILE = "order.json"
OTHER_SPLIT = "another split"  # its verdict on test sets with other images


@dataclass(frozen=True, eq=False)
class Labels:
    """`targets`: int64 (N,) for a multiclass task, 0/1 (N, C) for a multilabel one."""

    targets: np.ndarray
    classes: int


def read_labels(root: Root, task: TaskInfo) -> Labels:
    """Return the test labels of a task under the data root: IRIS in the order of lines,
    COCO by ascending image id.

    Raises:
        FileNotFoundError: a file does not exist. ValueError: a file is wrong; the
        message names it and the line.
    """
    index = Path(root) / task.test_index
    if task.format == "iris":
        rows = _read_iris(index)
        if task.labelmap:
            classes = _count_names(Path(root) / task.labelmap)
        else:
            labels = [label for row in rows for label in row]
            classes = 1 + max(labels, default=0)
    elif task.format == "coco":
        rows, classes = _read_coco(index)
    else:
        raise ValueError(
            f"task {task.name!r}: unknown format {task.format!r}; known: iris, coco"
        )
    multiclass = task.label_kind == "multiclass"
    _check_rows(index, rows, classes, multiclass)
    if multiclass:
        first = [row[0] for row in rows]
        return Labels(np.array(first, dtype=np.int64), classes)
    targets = np.zeros((len(rows), classes), dtype=np.int64)
    for i, row in enumerate(rows):
        targets[i, row] = 1
    return Labels(targets, classes)


def order_note(root: Root, task: TaskInfo) -> tuple[str, bool]:
    """Return why predictions on a task's test set below the data root cannot be
    submitted, "" if they can.

    Returns:
        (message, True if the test images are others than ELEVATER's, False if they are
        in another order alone)
    """
    marker = (Path(root) / task.test_index).parent / ORDER_FILE
    if not marker.is_file():
        return "", False
    try:
        content = dict(read_json(marker))
    except (OSError, ValueError, TypeError):
        content = {}
    if content.get("order") == "official":
        return "", False
    source = str(content.get("source") or "elsewhere")
    if content.get("verdict") == OTHER_SPLIT:
        note = f" ({content['note']})" if content.get("note") else ""
        return (
            f"made on a copy from {source}, whose test images are another split{note}: not to be submitted ({marker})",
            True,
        )
    message = f"made on a copy from {source}, whose test images are not in ELEVATER's order: do not submit it ({marker})"
    return message, False


def _check_rows(
    index: Path, rows: list[list[int]], classes: int, multiclass: bool
) -> None:
    if not rows:
        raise ValueError(f"{index}: no images")
    for i, row in enumerate(rows):
        if row and max(row) >= classes:
            raise ValueError(
                f"{index}: image {i} has label {max(row)}, but there are {classes} classes"
            )
        if multiclass and not row:
            raise ValueError(f"{index}: image {i} has no label")


def _read_iris(path: Path) -> list[list[int]]:
    """Read `<path> <label>[,<label>...]` lines; one without labels is a negative image.

    Paths may hold spaces.
    """
    rows = []
    for line in _read(path).split("\n"):
        line = line.strip()
        if not line:
            continue
        image, _, field = line.rpartition(" ")
        if image and LABELS.fullmatch(field):
            rows.append([int(label) for label in field.split(",")])
        else:
            rows.append([])
    return rows


def _count_names(path: Path) -> int:
    return sum(1 for line in _read(path).split("\n") if line.strip())


def _read_coco(path: Path) -> tuple[list[list[int]], int]:
    """Return labels for each image, by id, as positions of the categories, sorted by
    id.
    """
    try:
        content: Any = json.loads(_read(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    try:
        categories = sorted(category["id"] for category in content["categories"])
        images = sorted(image["id"] for image in content["images"])
        position = {category: i for i, category in enumerate(categories)}
        rows: dict[int, list[int]] = {image: [] for image in images}
        for annotation in content["annotations"]:
            rows[annotation["image_id"]].append(position[annotation["category_id"]])
    except KeyError as error:
        raise ValueError(
            f"{path}: a key is missing, or an annotation's image or category unknown: {error}"
        ) from None
    except TypeError as error:
        raise ValueError(f"{path}: not a COCO index: {error}") from None
    if len(rows) != len(images) or len(position) != len(categories):
        raise ValueError(f"{path}: an image or category id occurs more than once")
    return list(rows.values()), len(position)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} does not exist; is the data root right?"
        ) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error}") from None
