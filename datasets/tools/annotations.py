"""Splits of CoOp's sets from their raw annotations, for where the published split file is absent.

They follow CoOp's two rules: of a set with an official test set, a fifth of each class's training images is for validation; of a set
without one, each class is cut 50/20/30 into train, val and test. The shuffle before the cut is seeded by the set's name, so that every
machine gets the same split; it cannot be the published one, whose seed nobody knows.
"""

from __future__ import annotations

import json
import os
import random
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from datasets.catalog import names
from datasets.catalog.entries import entry
from datasets.task import Sample


class Row(NamedTuple):
    """An image: its path below the image folder, its label and its class name."""

    path: str
    label: int
    name: str


Splits = tuple[list[Sample], list[Sample], list[Sample]]


def available(name: str, folder: str) -> bool:
    """Can the set be split from what is in `folder`?"""
    known = entry(name)
    return all(os.path.exists(os.path.join(folder, path)) for path in (*known.annotations, known.image_dir))


def split(name: str, folder: str) -> Splits:
    """(train, val, test) of CoOp's set `name`, whose data are in `folder`.

    Raises:
        FileNotFoundError: an annotation file is missing.
        ValueError: one cannot be read, or a class has too few images to be split.
    """
    rows, test = _READERS.get(name, _folders)(name, folder)
    generator = random.Random(name)
    groups = list(_by_label(rows))
    if test is None:
        parts = [_cut(name, group, (0.5, 0.2), generator) for group in groups]
    else:
        parts = [_cut(name, group, (0.8,), generator) for group in groups]
        parts = [(train, val, []) for train, val in parts]
    train, val, rest = ([row for part in parts for row in part[k]] for k in range(3))
    return tuple(_samples(name, folder, part) for part in (train, val, rest if test is None else test))


def official_lists(name: str, folder: str, lists: Sequence[str], classes: str) -> Splits:
    """A split that the data bring along: files of lines "<image> <class>", with `classes` naming a class a line in label order."""
    label_of = {line: label for label, line in enumerate(_lines(os.path.join(folder, classes)))}
    splits = []
    for file in lists:
        rows = []
        for number, (image, _, variant) in enumerate(
            (line.partition(" ") for line in _lines(os.path.join(folder, file))), start=1
        ):
            if variant not in label_of:
                raise ValueError(f"{os.path.join(folder, file)}:{number}: {variant!r} is no class of {classes}")
            rows.append(Row(f"{image}.jpg", label_of[variant], variant))
        splits.append(_samples(name, folder, rows))
    return tuple(splits)


Annotated = tuple[list[Row], list[Row] | None]  # (training images, test images), or (all images, None)


def _folders(name: str, folder: str) -> Annotated:
    """A folder a class, in the order of their names; some are left out or renamed."""
    root = os.path.join(folder, entry(name).image_dir)
    listed = sorted(found.name for found in os.scandir(root) if found.is_dir() and not found.name.startswith("."))
    folders = (
        [found for found in listed if found not in ("BACKGROUND_Google", "Faces_easy")]
        if name == "Caltech101"
        else listed
    )
    classes, _ = names.adopt(name, folders)
    rows = []
    for label, (inner, classname) in enumerate(zip(folders, classes, strict=True)):
        files = sorted(file for file in os.listdir(os.path.join(root, inner)) if not file.startswith("."))
        rows += [Row(f"{inner}/{file}", label, classname) for file in files]
    return rows, None


def _pets(name: str, folder: str) -> Annotated:
    """Lines "<image> <class id> <species> <breed id>"; the class name is the image's without its number, in lower case."""

    def read(file: str) -> list[Row]:
        path, rows = os.path.join(folder, file), []
        for number, line in enumerate(_lines(path), start=1):
            try:
                image, label, *_ = line.split()
                rows.append(Row(f"{image}.jpg", int(label) - 1, image.rpartition("_")[0].lower()))
            except ValueError:
                raise ValueError(f"{path}:{number}: expected <image> <class id> <species> <breed id>") from None
        return rows

    trainval, test = entry(name).annotations
    return read(trainval), read(test)


def _cars(name: str, folder: str) -> Annotated:
    """MATLAB files; the year at the end of a name goes to its front."""
    meta, train, test = entry(name).annotations
    classes = [str(text).split() for text in _mat(folder, meta, "class_names")]
    classes = [" ".join(words[-1:] + words[:-1]) for words in classes]

    def read(file: str, images: str) -> list[Row]:
        records = _mat(folder, file, "annotations")
        return [
            Row(f"{images}/{record['fname']}", int(record["class"]) - 1, classes[int(record["class"]) - 1])
            for record in records
        ]

    return read(train, "cars_train"), read(test, "cars_test")


def _flowers(name: str, folder: str) -> Annotated:
    """Image i + 1 has the i-th label, counted from 1; cat_to_name.json names the labels."""
    labels, called = entry(name).annotations
    path = os.path.join(folder, called)
    try:
        with open(path, encoding="utf-8") as file:
            classes = {int(label): classname for label, classname in json.load(file).items()}
    except (AttributeError, ValueError) as error:
        raise ValueError(f"{path} is no json of label -> class name: {error}") from error
    rows = []
    for number, label in enumerate(_mat(folder, labels, "labels"), start=1):
        if int(label) not in classes:
            raise ValueError(f"{path} has no name for the label {int(label)}")
        rows.append(Row(f"image_{number:05d}.jpg", int(label) - 1, classes[int(label)]))
    return rows, None


def _scenes(name: str, folder: str) -> Annotated:
    """SUN397: the folder is the class, /a/apartment_building/outdoor is called "outdoor apartment_building"."""
    classes, train, test = entry(name).annotations
    label_of = {line: label for label, line in enumerate(_lines(os.path.join(folder, classes)))}

    def read(file: str) -> list[Row]:
        path, rows = os.path.join(folder, file), []
        for number, line in enumerate(_lines(path), start=1):
            inner = os.path.dirname(line)
            if inner not in label_of:
                raise ValueError(f"{path}:{number}: {inner!r} is no class of {classes}")
            rows.append(Row(line.lstrip("/"), label_of[inner], " ".join(reversed(inner.split("/")[2:]))))
        return rows

    return read(train), read(test)


def _actions(name: str, folder: str) -> Annotated:
    """UCF101: "<Action>/<video>.avi"; folders and classes are called as the action with its words apart, Apply_Eye_Makeup."""
    classes, train, test = entry(name).annotations
    numbered = (line.split() for line in _lines(os.path.join(folder, classes)))
    label_of = {action: int(number) - 1 for number, action in numbered}

    def read(file: str) -> list[Row]:
        path, rows = os.path.join(folder, file), []
        for number, line in enumerate(_lines(path), start=1):
            action, _, video = line.split()[0].partition("/")
            if action not in label_of:
                raise ValueError(f"{path}:{number}: {action!r} is no class of {classes}")
            classname = "_".join(re.findall("[A-Z][^A-Z]*", action))
            rows.append(Row(f"{classname}/{video.removesuffix('.avi')}.jpg", label_of[action], classname))
        return rows

    return read(train), read(test)


_READERS: dict[str, Callable[[str, str], Annotated]] = {
    "OxfordPets": _pets,
    "StanfordCars": _cars,
    "OxfordFlowers": _flowers,
    "SUN397": _scenes,
    "UCF101": _actions,
}


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return [line.strip() for line in file if line.strip() and not line.startswith("#")]
    except FileNotFoundError:
        raise FileNotFoundError(f"no file {path}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error}") from error


def _mat(folder: str, file: str, variable: str) -> list:
    """The entries of a variable of a MATLAB file."""
    import numpy as np
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    path = os.path.join(folder, file)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {path}")
    try:
        return list(np.atleast_1d(loadmat(path, squeeze_me=True)[variable]))
    except (MatReadError, KeyError, TypeError, ValueError, EOFError, zlib.error, NotImplementedError) as error:
        raise ValueError(f"{path} is no readable MATLAB file with the variable {variable!r}: {error}") from error


def _by_label(rows: Sequence[Row]) -> Iterator[list[Row]]:
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.label, []).append(row)
    return (groups[label] for label in sorted(groups))


def _cut(name: str, rows: list[Row], shares: tuple[float, ...], generator: random.Random) -> tuple[list[Row], ...]:
    """Shuffle one class and cut it: `shares` (0.5, 0.2) gives train, val and the rest, (0.8,) gives train and val."""
    rows = list(rows)
    generator.shuffle(rows)
    if len(shares) == 1:  # CoOp rounds the fifth that goes to val
        sizes = [len(rows) - round(len(rows) * 0.2), round(len(rows) * 0.2)]
    else:
        sizes = [round(len(rows) * share) for share in shares]
        sizes.append(len(rows) - sum(sizes))
    if min(sizes) < 1:
        raise ValueError(f"{name}: class {rows[0].name!r} has {len(rows)} images, too few to be split")
    ends = [sum(sizes[: k + 1]) for k in range(len(sizes))]
    return tuple(rows[end - size : end] for size, end in zip(sizes, ends, strict=True))


def _samples(name: str, folder: str, rows: Sequence[Row]) -> list[Sample]:
    root = os.path.join(folder, entry(name).image_dir)
    return [Sample(os.path.join(root, row.path), (row.label,), row.path, row.name) for row in rows]
