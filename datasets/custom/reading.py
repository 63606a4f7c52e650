"""Reading custom images: a folder of class folders, or a CSV. Both give rows; messages
name the file and line.
"""

import functools
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from datasets.io.split_names import SPLITS, split_of
from toolkit.common.image_files import find_image_files, has_image_suffix, is_hidden
from toolkit.common.suggest import nearest
from toolkit.common.text import printable, require_printable, require_text

from .metadata_files import FILES, find_tables, read_tables
from .rows import Row, require_image, split_labels, split_paths, table_lines

log = logging.getLogger(__name__)

_NO_CLASSES = "has no sub-folders; each class is a sub-folder with its images"


def read_folder(
    root: Path, known: Iterable[str] = (), splits_needed: bool = False
) -> list[Row]:
    """Return the images below `root`: `<split>/<class>/...`, or `<class>/...`, which is
    then split; or those of a table metadata.csv or .jsonl with labels.

    A split's folder is called train, val, test or a usual variant of it, such as
    seg_test. Without splits, a fifth of the images, those whose paths have a small
    SHA-256, are test images, so that an image keeps its part when others are added; at
    least one of each class is for testing, and one for training. known: folders that
    are classes even if they hold folders only. splits_needed: raise ValueError without
    splits. Raises FileNotFoundError or ValueError naming the folder.
    """
    if not root.is_dir():
        raise FileNotFoundError(f"no folder {root}")
    split_folders = _split_folders(root)
    tables = find_tables(root, split_folders)
    if tables:
        rows = read_tables(root, tables)
        return _with_known_labels(rows, "the training images")
    if splits_needed and not split_folders:
        raise ValueError(f"{root} has no folders train and test")
    rows = []
    for split, split_folder in (split_folders or {"": root}).items():
        for folder, images in _class_images(split_folder, known):
            keys = [path.relative_to(root).as_posix() for path in images]
            splits = dict.fromkeys(keys, split)
            if not split:
                splits = split_paths(keys, str(folder))
            for key, path in zip(keys, images, strict=True):
                labels, where = (folder.name,), str(folder)
                rows.append(Row(splits[key], str(path), key, labels, where))
    return _with_known_labels(rows, split_folders.get("train"))


def _with_known_labels(rows: list[Row], source: object) -> list[Row]:
    """Return the rows, or raise ValueError for a label that no training image has."""
    classes = {label for row in rows if row.split == "train" for label in row.labels}
    for row in rows:
        for label in row.labels:
            if label not in classes:
                message = f"{row.where}: {label!r} is no class of {source}"
                for near in nearest(label, sorted(classes)):
                    message += f"; the nearest is {near!r}"
                raise ValueError(message)
    return rows


def _split_folders(root: Path) -> dict[str, Path]:
    """Return split -> its folder, or {} if `root` holds class folders."""
    children = _folders(root)
    candidates = [folder for folder in children if split_of(folder.name)]
    # else a class of that name
    folders = [child for child in candidates if _folders(child) or _has_table(child)]
    found = {split_of(folder.name): folder for folder in folders}
    if len(found) < len(folders):
        names = ", ".join(folder.name for folder in folders)
        raise ValueError(f"{root} has several folders for one split: {names}")
    if not folders:
        if candidates and candidates == children and not _has_table(root):
            raise ValueError(
                f"{candidates[0]} {_NO_CLASSES}, or use csv:FILE with a table of path, label and split"
            )
        return {}
    for folder in candidates:
        if split_of(folder.name) not in found:
            raise ValueError(f"{folder} {_NO_CLASSES}")
    for split in ("train", "test"):
        if split not in found:
            raise FileNotFoundError(
                f"no folder {root / split}, though there is {folders[0]}"
            )
    return found


def _has_table(folder: Path) -> bool:
    return any(Path(folder, file).is_file() for file in FILES)


def _folders(root: Path) -> list[Path]:
    return sorted(
        path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name)
    )


def _class_folders(root: Path, known: Iterable[str]) -> list[Path]:
    """Return the class folders, or raise ValueError if they seem to be categories."""
    folders = _folders(root)
    if not folders:
        raise ValueError(f"{root} {_NO_CLASSES}")
    inner: list[str] = []
    are_categories = True
    for folder in folders:
        names = [child.name for child in _folders(folder)]
        is_class = folder.name in known
        if not is_class:
            _require_no_splits(folder, names)
        if is_class or not names or set(names) & set(inner) or _has_images(folder):
            are_categories = False
        inner += names
    if are_categories and len(inner) > len(folders):
        raise ValueError(
            f"{folders[0]} holds no images, but folders such as {inner[0]} and {inner[1]}: move the class folders up into "
            f"{root}, or list {folders[0].name!r} and the others as names in {root.name}.yaml if they are the classes"
        )
    _warn_of_splits(root, folders)
    return folders


def _has_images(folder: Path) -> bool:
    for file in folder.iterdir():
        is_image = has_image_suffix(file.name) and not file.name.startswith(".")
        if is_image and not file.is_dir():
            return True
    return False


def _require_no_splits(folder: Path, names: list[str]):
    splits = {split_of(name): name for name in names if split_of(name)}
    if "train" in splits and len(splits) > 1:
        raise ValueError(
            f"{folder} holds the splits {' and '.join(splits.values())}: give this folder if it is the data set; of a class, "
            f"move its images to {splits['train']}/{folder.name} and so on, beside those of the other classes"
        )


def _warn_of_splits(root: Path, folders: list[Path]):
    """Warn of classes that hold folders of the same names: they may be splits."""
    inner = {tuple(child.name for child in _folders(folder)) for folder in folders}
    names = inner.pop()
    if len(folders) > 1 and not inner and len(names) > 1:
        _warn(
            f"{root}: {folders[0].name} and {folders[1].name} are taken for classes, though they hold folders of the same "
            f"names, such as {names[0]} and {names[1]}; if they are splits, call them train and test"
        )


def _class_images(root: Path, known: Iterable[str]):
    """Yield class folders with their own images; ValueError for two links to one."""
    folders = _class_folders(root, known)
    real: dict[str, Path] = {}
    for folder in folders:
        require_text(folder.name, root)
        require_printable(folder.name, str(root))
        first = real.setdefault(os.path.realpath(folder), folder)
        if first is not folder:
            raise ValueError(
                f"{first} and {folder} are one folder, so their classes cannot be distinguished"
            )
    for folder in folders:
        images, others = find_image_files(folder, real)
        if others:
            total = len(images) + len(others)
            _warn(
                f"{folder}: {len(others)} of {total} files are passed over, such as {printable(others[0].name, 200)}"
            )
        for path in images:
            require_text(str(path.relative_to(folder)), folder)
        yield folder, images


@functools.cache
def _warn(message: str) -> None:
    """Warn, once: tasks are built several times in a run."""
    log.warning("%s", message)


def read_csv(file: Path, multilabel: bool | None = None) -> tuple[list[Row], bool]:
    """Return the rows, in file order, of a table with the columns path, split, and
    label or labels, and whether they are multilabel: if a row may have several,
    separated by "|", ";" or "," (none: no class is shown). multilabel: None: if the
    column is `labels`. Paths are relative to the file's folder, also into a zip
    (`a.zip@b.png`). Raises FileNotFoundError, or ValueError with the line of a fault.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no file {file}")
    lines = table_lines(file)
    _, header = next(lines)
    _check_columns(header, f"{file}:1")
    if multilabel is None:
        multilabel = "labels" in header
    rows: list[Row] = []
    for where, line in lines:
        fields = dict(zip(header, map(str.strip, line), strict=True))
        rows.append(_table_row(file, where, fields, multilabel))
    if not rows:
        raise ValueError(f"{file} has a header, but no images")
    _check_images(rows)
    return rows, multilabel


def _check_columns(names: list[str], where: str):
    missing = [name for name in ("path", "split") if name not in names]
    if "label" not in names and "labels" not in names:
        missing.append("label (or labels)")
    if missing:
        found = ", ".join(names) or "nothing"
        raise ValueError(
            f"{where}: no column {', '.join(missing)}: the header must name path, label (or labels) and split, "
            f"and it has {found}"
        )
    if "label" in names and "labels" in names:
        raise ValueError(f"{where}: there are both columns label and labels")
    for name in ("path", "split", "label", "labels"):
        if names.count(name) > 1:
            raise ValueError(f"{where}: there are two columns {name}")


def _table_row(file: Path, where: str, fields: dict[str, str], multilabel: bool) -> Row:
    path, split = fields["path"], fields["split"]
    label = fields["labels"] if "labels" in fields else fields["label"]
    for field in (path, label):
        require_printable(field, where)
    if not path:
        raise ValueError(f"{where}: the path is empty")
    if split.lower() not in SPLITS:
        raise ValueError(f"{where}: unknown split {split!r}; it is train, val or test")
    if not label and not multilabel:
        raise ValueError(f"{where}: the label is empty")
    labels = split_labels(label) if multilabel else (label,)
    folder = os.path.abspath(file.parent)
    key = path
    if os.path.isabs(path):  # the same on every machine
        key = os.path.relpath(path, folder)
    return Row(
        split=SPLITS[split.lower()],
        impath=os.path.join(folder, path),
        key=key.replace(os.sep, "/"),
        labels=labels,
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
        require_image(row.impath, row.where)
