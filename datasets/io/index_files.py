"""ELEVATER's two index formats: IRIS text and COCO json. `read_*` stop at the first
fault, `parse_*` report every one. Both give images in the order in which ELEVATER wants
predictions: IRIS by line, COCO by ascending image id.
"""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from datasets.task import Sample
from toolkit.common.archives import read_bytes, split_archive
from toolkit.common.structured import parse_json
from toolkit.common.text import nonblank_lines

# takes the kind of a fault, its position, and a message
Issue = Callable[[str, str, str], None]
MOST_CLASSES = 1_000_000  # of an index without class names
_LABELS = re.compile(r"\d{1,18}(,\d{1,18})*")
_IMAGE = re.compile(r"\.[A-Za-z]\w*$")


@dataclass(frozen=True, slots=True)
class Row:
    """One image of an index."""

    where: str  # its position in the index, for messages
    key: str  # its path as the index has it
    labels: tuple[int, ...]
    path: str  # on disk
    classname: str = ""  # of a split file, which names the class of each image


def raise_issue(kind: str, where: str, message: str) -> NoReturn:
    """Raise ValueError, as a reader of tasks does for any fault."""
    raise ValueError(f"{where}: {message}")


def read_iris(
    root: str, index: str, labelmap: str | None = None
) -> tuple[list[Sample], list[str]]:
    """Return the samples of an IRIS index in line order, and its class names. A line
    holds a path relative to `root`, also with spaces or into a zip, and, after its last
    space, comma-separated labels from 0 (none: a negative image). labelmap: the file
    with one class name a line; without one classes are called "0", "1", ... Raises
    FileNotFoundError, or ValueError naming a malformed line or a label without a name.
    """
    path = os.path.join(root, index)
    rows = parse_iris(read_text(path), path, root, raise_issue)
    if labelmap:
        file = os.path.join(root, labelmap)
        names = nonblank_lines(read_text(file))
        if not names:
            raise ValueError(f"{file} names no class")
    else:
        labels = (label for row in rows for label in row.labels)
        largest = max(labels, default=-1)
        if largest >= MOST_CLASSES:
            raise ValueError(
                f"{path}: label {largest} is out of range: at most {MOST_CLASSES:,} classes are numbered"
            )
        names = list(map(str, range(largest + 1)))
    for row in rows:
        for label in row.labels:
            if label >= len(names):
                raise ValueError(
                    f"{row.where}: label {label} is out of range: {labelmap} has {len(names)} classes"
                )
    return _samples(rows, names, path), names


def read_coco(root: str, index: str) -> tuple[list[Sample], list[str]]:
    """Return the samples of a COCO index by ascending image id, and class names.
    Categories sorted by id become labels 0..C-1. Raises FileNotFoundError, or
    ValueError if it is no json, lacks a key, or an annotation's image or category.
    """
    path = os.path.join(root, index)
    content = parse_json(read_text(path), path)
    rows, names = parse_coco(content, path, root, raise_issue)
    return _samples(rows, names, path), names


def parse_iris(text: str, source: str, folder: str, issue: Issue) -> list[Row]:
    """Return the images of the IRIS index `source`, with paths below `folder`."""
    rows = []
    lines = text.split("\n")
    for number, line in enumerate(lines, start=1):
        line = line.strip()
        if not line:
            continue
        where = f"{source}:{number}"
        key, _, field = line.rpartition(" ")
        if key and _LABELS.fullmatch(field):
            labels = tuple(map(int, field.split(",")))
            key = key.rstrip()
        elif key and not _IMAGE.search(field):
            message = f"{field!r} is not a list of labels such as 3 or 0,4,17"
            issue("index-line", where, message)
            continue
        else:
            key, labels = line, ()
        path = os.path.join(folder, key)
        rows.append(Row(where, key, labels, path))
    return rows


def parse_coco(
    content: Any, source: str, folder: str, issue: Issue
) -> tuple[list[Row], list[str]]:
    """Return the images and class names of a COCO index, each by ascending id."""
    categories = _entries(content, "categories", "category", source, issue)
    images = _entries(content, "images", "image", source, issue)
    label_of = {category["id"]: label for label, category in enumerate(categories)}
    labels: dict[Any, list[int]] = {image["id"]: [] for image in images}
    keys = ("image_id", "category_id")
    for where, annotation in _checked(content, "annotations", keys, source, issue):
        image, category = annotation["image_id"], annotation["category_id"]
        if category not in label_of:
            known = list(label_of)[:100]
            message = f"no category has the id {category}; known: {known}"
            issue("label-range", where, message)
        elif image not in labels:
            issue("unknown-image", where, f"no image has the id {image}")
        else:
            labels[image].append(label_of[category])
    rows = []
    for image in images:
        key = image["file_name"]
        if image.get("zip_file"):
            key = f"{image['zip_file']}@{key}"
        where = f"{source}: image {image['id']}"
        path = os.path.join(folder, key)
        of_image = tuple(labels[image["id"]])
        rows.append(Row(where, key, of_image, path))
    return rows, [str(category["name"]) for category in categories]


def read_text(path: str) -> str:
    """Return the content of a UTF-8 file, which may lie in a zip."""
    try:
        return read_bytes(path).decode("utf-8-sig")
    except FileNotFoundError:
        raise FileNotFoundError(f"no file {path}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error


def require_inside(cfg, samples: Iterable[Sample], folder: str, source: str) -> None:
    """Raise ValueError naming `source` if an image or its zip is not in `folder`,
    unless `cfg.DATASET.ALLOW_OUTSIDE` is set.
    """
    if getattr(cfg.DATASET, "ALLOW_OUTSIDE", False):
        return
    zips: set[str] = set()
    for sample in samples:
        path, member = split_archive(sample.impath)
        place, above = Path(path), Path(folder)
        if leads_outside(sample.key):
            place = Path(os.path.abspath(path))
            above = Path(os.path.abspath(folder))
        elif member is not None and path not in zips:  # may be a link
            zips.add(path)
            place, above = place.resolve(), above.resolve()
        else:
            continue
        if not place.is_relative_to(above):
            advice = "--allow-outside (DATASET.ALLOW_OUTSIDE) reads it anyway"
            raise ValueError(
                f"{source}: {sample.key!r} leads out of the folder of the data set; {advice}"
            )


def leads_outside(key: str) -> bool:
    """Return whether a path of an index is absolute or has a part that leads upwards."""
    path, _ = split_archive(key)
    parts = path.replace("\\", "/").split("/")
    return os.path.isabs(path) or ".." in parts


def repeated(values: Sequence) -> list:
    """Return the values that occur again, in the order of their second occurrence."""
    seen: set = set()
    twice: dict = {}
    for value in values:
        if value in seen:
            twice[value] = None
        seen.add(value)
    return list(twice)


def _samples(rows: Sequence[Row], names: Sequence[str], path: str) -> list[Sample]:
    if not rows:
        raise ValueError(f"{path} names no image")
    samples = []
    for row in rows:
        classname = names[row.labels[0]] if row.labels else ""
        sample = Sample(row.path, row.labels, row.key, classname)
        samples.append(sample)
    return samples


def _entries(content: Any, name: str, kind: str, source: str, issue: Issue):
    """Return the images or categories of a COCO index by ascending id."""
    keys = ("id", "file_name") if kind == "image" else ("id", "name")
    checked = _checked(content, name, keys, source, issue)
    entries = [entry for _, entry in checked]
    for value in repeated([entry["id"] for entry in entries]):
        issue("id-twice", source, f"the {kind} id {value} occurs more than once")
    # numbers by value, then texts
    return sorted(
        entries, key=lambda entry: (isinstance(entry["id"], str), entry["id"])
    )


def _checked(content: Any, name: str, keys: tuple[str, ...], source: str, issue: Issue):
    """Return the usable entries of a list of a COCO index, each with its position."""
    entries = content.get(name) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        issue("index-key", source, f"no list {name!r}")
        return []
    usable = []
    for position, entry in enumerate(entries):
        where = f"{source}: {name}[{position}]"
        fault = _fault_of(entry, keys)
        if fault:
            issue("index-key", where, fault)
        else:
            usable.append((where, entry))
    return usable


def _fault_of(entry: Any, keys: tuple[str, ...]):
    """Return the fault of an entry of a COCO index, or ""."""
    for key in keys:
        if not isinstance(entry, dict) or key not in entry:
            return f"it has no {key!r}"
        value = entry[key]
        if key.endswith("id") and (
            isinstance(value, bool) or not isinstance(value, int | float | str)
        ):
            return f"its {key} is neither a number nor a text"
        if key == "file_name" and not isinstance(value, str):
            return f"its file_name {value!r} is no text"
    if "file_name" in keys and not isinstance(entry.get("zip_file") or "", str):
        return f"its zip_file {entry['zip_file']!r} is no text"
    return ""
