"""Reading custom images: a folder of class folders, or a CSV. Both give rows; messages name the file and line."""

from __future__ import annotations

import csv
import functools
import hashlib
import logging
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.common.archives import require_files
from toolkit.common.suggest import nearest

log = logging.getLogger(__name__)

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
TEST_SHARE = 0.2  # of each class, if a folder has no test/
DELIMITERS = ",;\t"
_LABEL_MARKS = re.compile(r"[|;,]")


@dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
        split: "train", "val" or "test".
        key: its path in the folder or table, the same on every machine.
        labels: as the data have them.
        where: the folder or line that it is from, for messages.
    """

    split: str
    impath: str
    key: str
    labels: tuple[str, ...]
    where: str


def read_folder(root: Path) -> list[Row]:
    """Return the images below `root`: `<train, val or test>/<class>/...`, or `<class>/...`, which is then split.

    Of a folder without train/ and test/, a fifth of each class, at least one image, are test images: those whose
    paths have the smallest SHA-256, so that the choice depends on nothing but the files' names.

    Raises:
        FileNotFoundError: `root`, or its train/ or test/ if it has the other one, is not there.
        ValueError: there are no class folders, or a class has too few images; the message names the folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}")
    split_folders = _split_folders(root)
    rows = []
    if not split_folders:
        for folder in _class_folders(root):
            rows += _fifth_is_test(root, folder)
        log.debug("%s: %g %% of each class are test images", root, 100 * TEST_SHARE)
        return rows
    for split, split_folder in split_folders.items():
        for folder in _class_folders(split_folder):
            rows += [_row(root, path, split, folder) for path in _images(folder)]
    classes = {row.labels[0] for row in rows if row.split == "train"}
    for row in rows:
        if row.labels[0] not in classes:
            hint = _nearest(row.labels[0], classes)
            raise ValueError(f"{row.where}: {row.labels[0]!r} is no class of {root / 'train'}{hint}")
    return rows


def _split_folders(root: Path) -> dict[str, Path]:
    """Return split -> its folder, or {} if `root` holds class folders."""
    found = {}
    names = []
    for folder in _folders(root):
        if folder.name in SPLITS and _folders(folder):  # else a class of that name
            found[SPLITS[folder.name]] = folder
            names.append(folder.name)
    if len(found) < len(names):
        raise ValueError(f"{root} has several folders for one split: {', '.join(names)}")
    if not found:
        return {}
    for split in ("train", "test"):
        if split not in found:
            if (root / split).is_dir():
                raise ValueError(f"{root / split} has no sub-folders; each class is a sub-folder with its images")
            raise FileNotFoundError(f"no folder {root / split}, though there is {root / names[0]}")
    return found


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
    """Yield the images of one class in order, each with its split."""
    paths = _images(folder)
    if len(paths) < 2:
        count = "1 image" if len(paths) == 1 else f"{len(paths)} images"
        raise ValueError(f"{folder} has {count}; a class needs two, to train and to test")

    def digest(path: Path) -> bytes:
        return hashlib.sha256(path.relative_to(root).as_posix().encode()).digest()

    by_hash = sorted(paths, key=digest)
    test = set(by_hash[: math.ceil(len(paths) * TEST_SHARE)])
    for path in paths:
        yield _row(root, path, "test" if path in test else "train", folder)


def _images(folder: Path) -> list[Path]:
    """Return all images below a folder, sorted by path."""
    found = []
    others = []
    for base, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        for name in files:
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                found.append(Path(base, name))
            elif not name.startswith("."):
                others.append(Path(base, name))
    if others:
        total = len(found) + len(others)
        _warn(f"{folder}: {len(others)} of {total} files are passed over, such as {min(others).name}")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


@functools.cache
def _warn(message: str) -> None:
    """Warn, once: tasks are built several times in a run."""
    log.warning(message)


@dataclass(frozen=True)
class _Columns:
    """The positions of a table's columns."""

    count: int
    path: int
    split: int
    label: int
    multilabel: bool  # the column is called "labels"


def read_csv(file: Path, multilabel: bool | None = None) -> tuple[list[Row], bool]:
    """Return the rows of a table with a header and the columns path, split, and label or labels; others are ignored.

    Paths are relative to the file's folder and may point into a zip (`a.zip@b.png`). Several labels of a row are
    separated by "|", ";" or ","; an empty field in `labels` is an image that shows none of the classes.

    Args:
        multilabel: a row may have several labels; None: if the column is called `labels`.

    Returns:
        (rows in file order, whether they are multilabel)

    Raises:
        FileNotFoundError: the file, or an image that it names, is not there.
        ValueError: a column is missing, or a line is malformed, names an unknown split or an image twice.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}")
    rows = []
    with open(file, encoding="utf-8-sig", newline="") as stream:
        try:
            header = stream.readline()
            delimiter = max(DELIMITERS, key=header.count)
            stream.seek(0)
            lines = csv.reader(stream, delimiter=delimiter, strict=True)
            columns = _columns(next(lines, []), file)
            if multilabel is None:
                multilabel = columns.multilabel
            for line in lines:
                if any(line):
                    rows.append(_table_row(file, line, columns, multilabel, f"{file}:{lines.line_num}"))
        except csv.Error as error:
            raise ValueError(f"{file}:{lines.line_num}: not a valid CSV line: {error}") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{file} is not UTF-8 text: {error}") from None
    if not rows:
        raise ValueError(f"{file} has a header, but no images")
    _check_images(rows)
    return rows, multilabel


def _columns(header: list[str], file: Path) -> _Columns:
    names = [name.strip().lower() for name in header]
    missing = [name for name in ("path", "split") if name not in names]
    if "label" not in names and "labels" not in names:
        missing.append("label (or labels)")
    if missing:
        found = ", ".join(names) or "nothing"
        raise ValueError(
            f"{file}:1: no column {', '.join(missing)}: the header must name path, label (or labels) and split, "
            f"and it has {found}"
        )
    if "label" in names and "labels" in names:
        raise ValueError(f"{file}:1: there are both columns label and labels; one of them is needed")
    for name in ("path", "split", "label", "labels"):
        if names.count(name) > 1:
            raise ValueError(f"{file}:1: there are two columns {name}")
    multilabel = "labels" in names
    label = names.index("labels" if multilabel else "label")
    return _Columns(len(names), names.index("path"), names.index("split"), label, multilabel)


def _table_row(file: Path, line: list[str], columns: _Columns, multilabel: bool, where: str) -> Row:
    if len(line) != columns.count:
        raise ValueError(f"{where}: {len(line)} fields, but the header has {columns.count}")
    path = line[columns.path].strip()
    split = line[columns.split].strip()
    label = line[columns.label].strip()
    if not path:
        raise ValueError(f"{where}: the path is empty")
    if split.lower() not in SPLITS:
        raise ValueError(f"{where}: unknown split {split!r}; it is train, val or test")
    if multilabel:
        parts = [part.strip() for part in _LABEL_MARKS.split(label)]
        labels = [part for part in parts if part]
    elif label:
        labels = [label]
    else:
        raise ValueError(f"{where}: the label is empty")
    folder = os.path.abspath(file.parent)
    key = os.path.relpath(path, folder) if os.path.isabs(path) else path  # the same on every machine
    return Row(
        split=SPLITS[split.lower()],
        impath=os.path.join(folder, path),
        key=key.replace(os.sep, "/"),
        labels=tuple(dict.fromkeys(labels)),
        where=where,
    )


def _check_images(rows: list[Row]) -> None:
    """Raise an error if an image is not there, or is in several rows."""
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


def _nearest(name: str, known: Iterable[str]) -> str:
    found = nearest(name, sorted(known))
    return f"; the nearest is {found[0]!r}" if found else ""
