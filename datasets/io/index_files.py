"""ELEVATER's two index formats: IRIS text and COCO json.

Both give samples in the order in which ELEVATER wants predictions: IRIS by line, COCO by ascending image id.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

from datasets.task import Sample
from toolkit.common.archives import read_bytes

_LABELS = re.compile(r"\d+(,\d+)*")
_IMAGE = re.compile(r"\.[A-Za-z]\w*$")


def read_iris(root: str, index: str, labelmap: str | None = None) -> tuple[list[Sample], list[str]]:
    """Read an IRIS index: a line holds a path and, after its last space, comma-separated labels counted from 0.

    A line without labels is a negative image. Paths are relative to `root`, may hold spaces and may point into a zip.

    Args:
        root: the dataset's folder.
        index: the index file in it.
        labelmap: the file with one class name a line (blank lines do not count); without one, classes are called
            "0", "1", ... up to the largest label.

    Returns:
        (samples in line order, class names in label order)

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a line is malformed, or names a label that the labelmap does not have.
    """
    path = os.path.join(root, index)
    lines = enumerate(_read_lines(path), start=1)
    rows = [(number, *split_line(line, f"{path}:{number}")) for number, line in lines if line]
    if labelmap:
        names = read_labelmap(root, labelmap)
    else:
        names = [str(label) for label in range(1 + max((label for row in rows for label in row[2]), default=-1))]
    if not rows:
        raise ValueError(f"{path} names no image")
    for number, _, labels in rows:
        for label in labels:
            if label >= len(names):
                raise ValueError(f"{path}:{number}: label {label} is out of range: {labelmap} has {len(names)} classes")
    return [_sample(root, key, labels, names) for _, key, labels in rows], names


def read_labelmap(root: str, labelmap: str) -> list[str]:
    """The class names of a labelmap file, in label order."""
    path = os.path.join(root, labelmap)
    names = [line for line in _read_lines(path) if line]
    if not names:
        raise ValueError(f"{path} names no class")
    return names


def read_coco(root: str, index: str) -> tuple[list[Sample], list[str]]:
    """Read a COCO index: categories sorted by id become labels 0..C-1, images are sorted by id.

    Returns:
        (samples by ascending image id, class names in label order)

    Raises:
        FileNotFoundError: the index is missing.
        ValueError: it is no json, lacks a key, or an annotation names an image or a category that it does not have.
    """
    path = os.path.join(root, index)
    content = read_json(path)
    categories = sorted(_entries(content, "categories", ("id", "name"), path), key=lambda category: category["id"])
    label_of = {category["id"]: label for label, category in enumerate(categories)}
    names = [str(category["name"]) for category in categories]
    images = sorted(_entries(content, "images", ("id", "file_name"), path), key=lambda image: image["id"])
    labels: dict[Any, list[int]] = {image["id"]: [] for image in images}
    for kind, ids, entries in (("category", label_of, categories), ("image", labels, images)):
        if len(ids) < len(entries):
            raise ValueError(f"{path}: two entries have the same {kind} id")
    for position, annotation in enumerate(_entries(content, "annotations", ("image_id", "category_id"), path)):
        where = f"{path}: annotations[{position}]"
        if annotation["image_id"] not in labels:
            raise ValueError(f"{where}: no image has the id {annotation['image_id']}")
        if annotation["category_id"] not in label_of:
            raise ValueError(f"{where}: no category has the id {annotation['category_id']}; known: {sorted(label_of)}")
        labels[annotation["image_id"]].append(label_of[annotation["category_id"]])
    if not images:
        raise ValueError(f"{path} names no image")
    return [_sample(root, _coco_key(image), tuple(labels[image["id"]]), names) for image in images], names


def split_line(line: str, where: str) -> tuple[str, tuple[int, ...]]:
    """(path, labels) of a line of an IRIS index without surrounding space. Raises ValueError beginning with `where`."""
    key, _, field = line.rpartition(" ")
    if key and _LABELS.fullmatch(field):
        return key.rstrip(), tuple(int(label) for label in field.split(","))
    if key and not _IMAGE.search(field):
        raise ValueError(f"{where}: {field!r} is not a list of labels such as 3 or 0,4,17")
    return line, ()


def _coco_key(image: dict) -> str:
    return f"{image['zip_file']}@{image['file_name']}" if image.get("zip_file") else image["file_name"]


def _sample(root: str, key: str, labels: tuple[int, ...], names: list[str]) -> Sample:
    return Sample(os.path.join(root, key), labels, key, names[labels[0]] if labels else "")


def _entries(content: Any, name: str, keys: tuple[str, ...], path: str) -> list[dict]:
    if not isinstance(content, dict) or not isinstance(content.get(name), list):
        raise ValueError(f"{path}: no list {name!r}")
    for position, entry in enumerate(content[name]):
        for key in keys:
            if not isinstance(entry, dict) or key not in entry:
                raise ValueError(f"{path}: {name}[{position}] has no {key!r}")
    return content[name]


def read_json(path: str) -> Any:
    """The content of a json file; errors name the file and the line."""
    try:
        return json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}:{error.lineno}: not valid json: {error.msg}") from error
    except RecursionError:
        raise ValueError(f"{path}: not valid json: nested too deeply") from None


def _read_lines(path: str) -> list[str]:
    return [line.strip() for line in _read_text(path).split("\n")]


def _read_text(path: str) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"no file {path}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error
