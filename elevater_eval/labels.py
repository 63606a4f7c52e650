"""Labels of a test set, read from its index file in the order of submissions."""

import json
import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from elevater_eval.tasks import Root, TaskInfo
from toolkit.common.structured import read_json
from toolkit.common.text import nonblank_lines

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
    COCO by ascending image id. Raises FileNotFoundError, or ValueError that names the
    file and the line.
    """
    index = Path(root) / task.test_index
    if task.format == "iris":
        rows = _read_iris(index)
        if task.labelmap:
            classes = len(nonblank_lines(_read(Path(root) / task.labelmap)))
        else:
            classes = 1 + max(chain.from_iterable(rows), default=0)
    elif task.format == "coco":
        rows, classes = _read_coco(index)
    else:
        unknown = f"unknown format {task.format!r}; known: iris, coco"
        raise ValueError(f"task {task.name!r}: {unknown}")
    multiclass = task.label_kind == "multiclass"
    _check_rows(index, rows, classes, multiclass)
    if multiclass:
        return Labels(np.array([row[0] for row in rows], dtype=np.int64), classes)
    targets = np.zeros((len(rows), classes), dtype=np.int64)
    for i, row in enumerate(rows):
        targets[i, row] = 1
    return Labels(targets, classes)


def order_note(root: Root, task: TaskInfo) -> tuple[str, bool]:
    """Return why predictions on a task's test set below the data root cannot be
    submitted, "" if they can; and if the test images are others than ELEVATER's, not
    only in another order.
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
    copy = f"made on a copy from {source}, whose test images are"
    if content.get("verdict") == OTHER_SPLIT:
        note = f" ({content['note']})" if content.get("note") else ""
        return f"{copy} another split{note}: not to be submitted ({marker})", True
    return f"{copy} not in ELEVATER's order: do not submit it ({marker})", False


def _check_rows(index: Path, rows: list[list[int]], classes: int, multiclass: bool):
    if not rows:
        raise ValueError(f"{index}: no images")
    for i, row in enumerate(rows):
        if row and max(row) >= classes:
            label = f"label {max(row)}, but there are {classes} classes"
            raise ValueError(f"{index}: image {i} has {label}")
        if multiclass and not row:
            raise ValueError(f"{index}: image {i} has no label")


def _read_iris(path: Path) -> list[list[int]]:
    """Return the labels of lines `<path> <label>[,<label>...]`, which may lack."""
    rows = []
    for line in nonblank_lines(_read(path)):
        image, _, field = line.rpartition(" ")
        labels = field.split(",") if image and LABELS.fullmatch(field) else []
        rows.append([int(label) for label in labels])
    return rows


def _read_coco(path: Path) -> tuple[list[list[int]], int]:
    """Return each image's labels, by id, as positions of the categories by id."""
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
        reason = "a key is missing, or an annotation's image or category unknown"
        raise ValueError(f"{path}: {reason}: {error}") from None
    except TypeError as error:
        raise ValueError(f"{path}: not a COCO index: {error}") from None
    if len(rows) != len(images) or len(position) != len(categories):
        raise ValueError(f"{path}: an image or category id occurs more than once")
    return list(rows.values()), len(position)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        message = f"{path} does not exist; is the data root right?"
        raise FileNotFoundError(message) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error}") from None
