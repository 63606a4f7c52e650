"""Parquet files as the Hugging Face Hub has them: a column of images {bytes, path} and
one of labels; splits are files.
"""

import functools
import logging
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.common.files import require_data

from .packed import (
    NAMES_FILE,
    Collection,
    PackedImage,
    image_suffix,
    read_class_list,
    require_labels,
)
from .parquet_columns import (
    image_column,
    is_text,
    label_column,
    load_pyarrow,
    require_same,
)
from .split_names import FOLDER_SPLITS

log = logging.getLogger(__name__)

BATCH = 256  # rows that are in memory
# "train-00000-of-00002", or with the file's checksum behind it; "0000"
_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})(-[0-9a-f]+)?")
_NUMBER = re.compile(r"\d{1,6}")


def read_parquet(
    path: Path, label: str = "", splits: Mapping[str, str] | None = None
) -> Collection:
    """Return the images of a parquet file, or of all below a folder, read as they are
    asked for.

    Args:
        label: the column of labels; by default the only one with class names, or one of
            `LABEL_COLUMNS`.
        splits: split -> its name in the files, if it is no usual one.

    Raises:
        FileNotFoundError: there is no parquet file, or a part of a split is missing.
        ValueError: a file is damaged, a column is missing or of another type, there are
            no class names or different ones, or pyarrow is not installed. Streams raise
            it with file and row.
    """
    files = _files(path, splits or {})
    first = next(iter(files.values()))[0]
    schema = _open(first).schema_arrow
    images = image_column(schema, first)
    labels, classnames, multilabel = label_column(schema, first, label)
    names_from = f"{first}: column {labels}"
    for parts in files.values():
        for file in parts:
            other = _open(file).schema_arrow
            require_same(other, file, first, (images, labels), classnames)
    folder = path if path.is_dir() else path.parent
    names_file = folder / NAMES_FILE
    if not classnames and names_file.is_file():
        classnames = read_class_list(names_file)
        names_from = str(names_file)
    if not classnames:
        classnames = _text_classes(files, labels)
    if not classnames:
        raise ValueError(
            f"{first}: the labels in column {labels!r} have no class names; put them into {names_file}, "
            "a line a class in label order"
        )
    read = functools.partial(
        _read, columns=[images, labels], classnames=classnames, names_from=names_from
    )
    streams = {split: functools.partial(read, parts) for split, parts in files.items()}
    return Collection(classnames, names_from, streams, multilabel)


def _open(file: Path) -> Any:
    pyarrow = load_pyarrow()
    require_data(file)
    try:
        return pyarrow.parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{file} is no readable parquet file: {error}") from None


def _files(path: Path, renamed: Mapping[str, str]) -> dict[str, list[Path]]:
    """Return split -> its files in order, in the order train, val, test."""
    if path.is_file():
        candidates = [path]
    elif path.is_dir():
        found = path.rglob("*.parquet")
        candidates = sorted(file for file in found if not _is_hidden(file, path))
    else:
        raise FileNotFoundError(f"no file or folder {path}")
    if not candidates:
        raise FileNotFoundError(f"no parquet file in {path}")
    given = {spelling: split for split, spelling in renamed.items()}
    spellings = FOLDER_SPLITS | given
    splits: dict[str, list[Path]] = {"train": [], "val": [], "test": []}
    others = []
    for file in candidates:
        split = _split_of(file, path, spellings)
        if split or len(candidates) == 1:
            splits[split or "train"].append(file)
        else:
            others.append(file)
    splits = {split: files for split, files in splits.items() if files}
    if not splits:
        raise ValueError(
            f"{candidates[0]}: neither its name nor its folder is that of a split: train, validation or test"
        )
    if others:
        log.warning(
            "%s: %d of %d files are passed over, as their names are no splits', such as %s",
            *(path, len(others), len(candidates), others[0].relative_to(path)),
        )
    for split, files in splits.items():
        _require_one_folder(split, files)
        _require_all_parts(files)
    return splits


def _is_hidden(file: Path, root: Path) -> bool:
    parts = file.relative_to(root).parts
    return any(part.startswith(".") for part in parts)


def _split_of(file: Path, root: Path, spellings: Mapping[str, str]) -> str:
    """Return the split that a file, or a folder around it, is called after, or ""."""
    first, *_ = re.split(r"[-_.]", file.stem)
    words = [first]
    if file != root:
        *folders, _ = file.relative_to(root).parts
        words += reversed(folders)
    for word in words:
        if word.lower() in spellings:
            return spellings[word.lower()]
    return ""


def _require_one_folder(split: str, files: list[Path]):
    folders = sorted({str(file.parent) for file in files})
    if len(folders) > 1:
        raise ValueError(
            f"the files of the split {split} are in several folders, such as {folders[0]} and {folders[1]}: give one data set"
        )


def _require_all_parts(files: list[Path]) -> None:
    there: dict[tuple[str, int], set[int]] = {}
    for file in files:
        part = _PART.fullmatch(file.stem)
        if part:
            stem = (part["stem"], int(part["count"]))
            numbers = there.setdefault(stem, set())
            numbers.add(int(part["number"]))
    for (stem, count), numbers in there.items():
        for number in range(count):
            if number not in numbers:
                missing = files[0].with_name(f"{stem}-{number:05d}-of-{count:05d}")
                raise FileNotFoundError(
                    f"no file {missing}.parquet, though there are {count} parts"
                )
    numbered = [file for file in files if _NUMBER.fullmatch(file.stem)]
    numbered.sort(key=lambda file: int(file.stem))
    for number, file in enumerate(numbered):
        if int(file.stem) != number:
            missing = file.with_stem(f"{number:0{len(file.stem)}d}")
            raise FileNotFoundError(f"no file {missing}, though there is {file.name}")


def _text_classes(files: Mapping[str, list[Path]], column: str) -> list[str]:
    """Return the sorted values of a column of texts, [] if it holds numbers."""
    values: set[str] = set()
    for parts in files.values():
        for file in parts:
            opened = _open(file)
            if not is_text(opened.schema_arrow.field(column).type):
                return []
            read = opened.read([column]).column(0)
            for value in read.to_pylist():
                values.update(value if isinstance(value, list) else [value])
    texts = sorted(value for value in values if value)
    if all(text.isdecimal() for text in texts):
        texts.sort(key=int)
    return texts


def _read(
    files: list[Path], columns: list[str], classnames: list[str], names_from: str
) -> Iterator[PackedImage]:
    """Yield the images of a split in file and row order, called by their row numbers."""
    position_of = {name: position for position, name in enumerate(classnames)}
    number = 0
    pyarrow = load_pyarrow()
    for file in files:
        opened = _open(file)
        row = 0
        try:
            for batch in opened.iter_batches(BATCH, columns=columns):
                values = [batch.column(column).to_pylist() for column in columns]
                for image, label in zip(*values, strict=True):
                    where = f"{file}: row {row}"
                    content = _content(image, where)
                    positions = _positions(label, position_of, where, names_from)
                    _require_no_vector(label, len(classnames), where)
                    require_labels(positions, classnames, where, names_from)
                    name = f"{number:07d}.{image_suffix(content, where)}"
                    yield PackedImage(name, content, positions, where)
                    row += 1
                    number += 1
        except (pyarrow.ArrowException, OSError) as error:
            raise ValueError(f"{file} is damaged after row {row}: {error}") from None
    if not number:
        raise ValueError(f"{files[0]} holds no row")


def _require_no_vector(label: Any, classes: int, where: str):
    """Raise ValueError for a list of a 0 or a 1 for each of many classes."""
    if isinstance(label, list) and len(label) == classes > 2 and set(label) <= {0, 1}:
        raise ValueError(
            f"{where}: {str(label)[:60]} has a 0 or a 1 for each class; the labels themselves are needed, such as [2, 5]"
        )


def _content(image: Any, where: str) -> bytes:
    if not isinstance(image, dict):
        image = {"bytes": image}
    if not image.get("bytes"):
        path = image.get("path")
        also = f", but the path {path!r}" if path else ""
        raise ValueError(f"{where} has no bytes of an image{also}")
    return image["bytes"]


def _positions(label: Any, position_of: Mapping[str, int], where: str, names_from: str):
    labels = label if isinstance(label, list) else [label]
    positions = []
    for value in labels:
        if isinstance(value, str):
            if value not in position_of:
                raise ValueError(f"{where}: {value!r} is no class of {names_from}")
            value = position_of[value]
        if value is None or isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{where}: {value!r} is no label")
        positions.append(value)
    return tuple(dict.fromkeys(positions))
