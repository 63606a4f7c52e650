"""Reading a user's own images: a folder of class folders, or a CSV. Both give rows; messages name the file and line."""

from __future__ import annotations

import csv
import difflib
import functools
import hashlib
import logging
import math
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.common.archives import require_files

log = logging.getLogger(__name__)

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
TEST_SHARE = 0.2  # of each class, where a folder has no test/ of its own
DELIMITERS = ",;\t"
_LABEL_MARKS = re.compile(r"[|;,]")


@dataclass(frozen=True)
class Row:
    """One image: split "train", "val" or "test"; labels as the data have them; where it was found, for messages."""

    split: str
    impath: str
    key: str
    labels: tuple[str, ...]
    where: str


def read_folder(root: Path) -> list[Row]:
    """The images below `root`: `<train, val or test>/<class>/...`, or `<class>/...`, which is then split.

    Of a folder without train/ and test/, a fifth of each class, at least one image, are test images: those whose
    paths have the smallest SHA-256, so that the choice depends on nothing but the files' names.

    Raises:
        FileNotFoundError: `root`, or its train/ or test/ where it has the other one, is not there.
        ValueError: there are no class folders, or a class has too few images; the message names the folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}")
    parts = {folder.name: SPLITS[folder.name] for folder in _folders(root) if folder.name in SPLITS}
    parts = {part: split for part, split in parts.items() if _folders(root / part)}  # else a class of that name
    if not parts:
        rows = [row for folder in _class_folders(root) for row in _fifth_is_test(root, folder)]
        log.debug("%s: %g %% of each class are test images", root, 100 * TEST_SHARE)
        return rows
    if len(set(parts.values())) < len(parts):
        raise ValueError(f"{root} has several folders for one split: {', '.join(parts)}")
    for split in ("train", "test"):
        if split not in parts.values():
            if (root / split).is_dir():
                raise ValueError(f"{root / split} has no sub-folders; each class is a sub-folder with its images")
            raise FileNotFoundError(f"no folder {root / split}, though there is {root / next(iter(parts))}")
    rows = []
    for part, split in parts.items():
        for folder in _class_folders(root / part):
            rows += [_row(root, path, split, folder) for path in _images(folder)]
    classes = {row.labels[0] for row in rows if row.split == "train"}
    for row in rows:
        if row.labels[0] not in classes:
            raise ValueError(
                f"{row.where}: {row.labels[0]!r} is no class of {root / 'train'}{_nearest(row.labels[0], classes)}"
            )
    return rows


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _class_folders(root: Path) -> list[Path]:
    folders = _folders(root)
    if not folders:
        raise ValueError(f"{root} has no sub-folders; each class is a sub-folder with its images")
    return folders


def _row(root: Path, path: Path, split: str, folder: Path) -> Row:
    return Row(split, str(path), path.relative_to(root).as_posix(), (folder.name,), str(folder))


def _fifth_is_test(root: Path, folder: Path) -> Iterator[Row]:
    """The images of one class in order, each with its split."""
    paths = _images(folder)
    if len(paths) < 2:
        raise ValueError(
            f"{folder} has {len(paths)} image{'' if len(paths) == 1 else 's'}; a class needs two, to train and to test"
        )
    by_hash = sorted(paths, key=lambda path: hashlib.sha256(path.relative_to(root).as_posix().encode()).digest())
    test = set(by_hash[: math.ceil(len(paths) * TEST_SHARE)])
    return (_row(root, path, "test" if path in test else "train", folder) for path in paths)


def _images(folder: Path) -> list[Path]:
    """All images below a folder, sorted by path."""
    found, others = [], []
    for base, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        for name in files:
            if not name.startswith("."):
                (found if name.lower().endswith(SUFFIXES) else others).append(Path(base, name))
    if others:
        _warn(
            f"{folder}: {len(others)} of {len(found) + len(others)} files are passed over, such as {min(others).name}"
        )
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


@functools.cache
def _warn(message: str) -> None:
    """Warn, once: tasks are built several times in a run."""
    log.warning(message)


def read_csv(file: Path, multilabel: bool | None = None) -> tuple[list[Row], bool]:
    """The rows of a table with a header and the columns path, split, and label or labels; others are passed over.

    Paths are relative to the file's folder and may point into a zip (`a.zip@b.png`). Several labels of a row are
    separated by "|", ";" or ","; an empty field in `labels` is an image that shows none of the classes.

    Args:
        multilabel: whether a row may have several labels; None: where the column is called `labels`.

    Returns:
        (rows in file order, whether they are multilabel)

    Raises:
        FileNotFoundError: the file, or an image that it names, is not there.
        ValueError: a column is missing, or a line is malformed, names an unknown split or an image twice.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}")
    with open(file, encoding="utf-8-sig", newline="") as stream:
        try:
            header = stream.readline()
            delimiter = max(DELIMITERS, key=header.count)
            stream.seek(0)
            lines = csv.reader(stream, delimiter=delimiter, strict=True)
            columns = _columns(next(lines, []), file)
            column = columns["label"]
            if multilabel is None:
                multilabel = column[1] == "labels"
            rows = [
                _table_row(file, line, columns, multilabel, f"{file}:{lines.line_num}") for line in lines if any(line)
            ]
        except csv.Error as error:
            raise ValueError(f"{file}:{lines.line_num}: not a valid CSV line: {error}") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{file} is not UTF-8 text: {error}") from None
    if not rows:
        raise ValueError(f"{file} has a header, but no images")
    _check_images(rows)
    return rows, multilabel


def _columns(header: list[str], file: Path) -> dict[str, tuple[int, str]]:
    """path, split and label -> (position, name), and "" -> (number of columns, "")."""
    names = [name.strip().lower() for name in header]
    missing = [name for name in ("path", "split") if name not in names]
    missing += [] if {"label", "labels"} & set(names) else ["label (or labels)"]
    if missing:
        found = ", ".join(names) or "nothing"
        raise ValueError(
            f"{file}:1: no column {', '.join(missing)}: the header must name path, label (or labels) and split, "
            f"and it has {found}"
        )
    if {"label", "labels"} <= set(names):
        raise ValueError(f"{file}:1: there are both columns label and labels; one of them is needed")
    for name in ("path", "split", "label", "labels"):
        if names.count(name) > 1:
            raise ValueError(f"{file}:1: there are two columns {name}")
    label = "labels" if "labels" in names else "label"
    return {"": (len(names), ""), "label": (names.index(label), label)} | {
        name: (names.index(name), name) for name in ("path", "split")
    }


def _table_row(file: Path, line: list[str], columns: dict[str, tuple[int, str]], multilabel: bool, where: str) -> Row:
    width = columns[""][0]
    if len(line) != width:
        raise ValueError(f"{where}: {len(line)} fields, but the header has {width}")
    path, split, label = (line[columns[name][0]].strip() for name in ("path", "split", "label"))
    if not path:
        raise ValueError(f"{where}: the path is empty")
    if split.lower() not in SPLITS:
        raise ValueError(f"{where}: unknown split {split!r}; it is train, val or test")
    labels = [label]
    if multilabel:
        labels = [part for part in map(str.strip, _LABEL_MARKS.split(label)) if part]
    elif not label:
        raise ValueError(f"{where}: the label is empty")
    folder = os.path.abspath(file.parent)
    impath = os.path.join(folder, path)
    key = os.path.relpath(path, folder) if os.path.isabs(path) else path  # the same on every machine
    return Row(SPLITS[split.lower()], impath, key.replace(os.sep, "/"), tuple(dict.fromkeys(labels)), where)


def _check_images(rows: list[Row]) -> None:
    """Every image is there, and in one row only."""
    first: dict[str, Row] = {}
    for row in rows:
        other = first.setdefault(os.path.normpath(row.impath), row)
        if other is not row:
            line = other.where.rpartition(":")[2]
            raise ValueError(
                f"{row.where}: {row.key} is also in line {line} ({other.split}); "
                "an image has one row, with all its labels"
            )
        try:
            require_files([row.impath])
        except (FileNotFoundError, ValueError) as error:
            raise type(error)(f"{row.where}: {error}") from None


def _nearest(name: str, known: set[str]) -> str:
    match = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)
    return f"; the nearest is {match[0]!r}" if match else ""
