"""Parquet files as the Hugging Face Hub has them: a column of images {bytes, path} and
one of labels; splits are files.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .packed import Collection, PackedImage, image_suffix, require_label
from .webdatasets import NAMES_FILE

BATCH = 256  # rows that are in memory
LABEL_COLUMNS = ("label", "labels", "cls", "fine_label")
_SHARD = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})")
_SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip


def read_parquet(
    path: Path, label: str = "", splits: Mapping[str, str] | None = None
) -> Collection:
    """Return the images of a parquet file, or of all below a folder, read as they are
    asked for.

    Args:
        label: the column of labels; by default the only one with class names, or the
            one called label or cls.
        splits: split -> its name in the files ("validation"), for copies that use other
            names.

    Raises:
        FileNotFoundError: there is no parquet file, or a part of a split is missing.
        ValueError: a file is damaged, a column is missing or of another type, or there
            are no class names. Streams raise it with file and row. Also if pyarrow is
            not installed.
    """
    files = _files(path, splits or {})
    first = next(iter(files.values()))[0]
    schema = _open(first).schema_arrow
    image_column = _image_column(schema, first)
    label_column, classnames, multilabel = _label_column(schema, first, label)
    names_from = f"{first}: column {label_column}"
    names_file = _names_file(path)
    if not classnames and names_file.is_file():
        lines = names_file.read_text(encoding="utf-8-sig").splitlines()
        classnames = [line.strip() for line in lines if line.strip()]
        names_from = str(names_file)
    if not classnames:
        classnames = _text_classes(files, label_column)
    if not classnames:
        raise ValueError(
            f"{first}: the labels in column {label_column!r} have no class names; put them into {names_file}, "
            "a line a class in label order"
        )
    columns = (image_column, label_column)
    streams = {}
    for split, parts in files.items():
        streams[split] = functools.partial(
            _read, parts, columns, classnames, names_from
        )
    return Collection(classnames, names_from, streams, multilabel)


def _pyarrow() -> Any:
    try:
        import pyarrow.parquet
    except ImportError:
        raise ValueError("parquet files need pyarrow: pip install pyarrow") from None
    return pyarrow


def _open(file: Path) -> Any:
    pyarrow = _pyarrow()
    try:
        return pyarrow.parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{file} is no readable parquet file: {error}") from None


def _names_file(path: Path) -> Path:
    folder = path if path.is_dir() else path.parent
    return folder / NAMES_FILE


def _files(path: Path, renamed: Mapping[str, str]) -> dict[str, list[Path]]:
    """Return split -> its files in order, in the order train, val, test."""
    if path.is_file():
        candidates = [path]
    elif path.is_dir():
        candidates = sorted(
            file
            for file in path.rglob("*.parquet")
            if not _is_hidden(file.relative_to(path))
        )
    else:
        raise FileNotFoundError(f"no file or folder {path}")
    if not candidates:
        raise FileNotFoundError(f"no parquet file in {path}")
    spellings = _SPLITS | {spelling: split for split, spelling in renamed.items()}
    found: dict[str, list[Path]] = {}
    for file in candidates:
        split = _split_of(file, path, spellings)
        if split:
            found.setdefault(split, []).append(file)
        elif len(candidates) == 1:
            found["train"] = [file]
    if not found:
        raise ValueError(
            f"{candidates[0]}: neither its name nor its folder is that of a split: train, validation or test"
        )
    for files in found.values():
        _require_all_parts(files)
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _split_of(file: Path, root: Path, spellings: Mapping[str, str]) -> str:
    """Return the split that a file's name begins with, or that a folder around it is
    called.
    """
    words = [re.split(r"[-_.]", file.stem)[0]]
    if file != root:
        words += reversed(file.relative_to(root).parts[:-1])
    for word in words:
        if word.lower() in spellings:
            return spellings[word.lower()]
    return ""


def _require_all_parts(files: list[Path]) -> None:
    for file in files:
        part = _SHARD.fullmatch(file.stem)
        if not part:
            continue
        for number in range(int(part["count"])):
            other = file.with_name(
                f"{part['stem']}-{number:05d}-of-{part['count']}.parquet"
            )
            if other not in files:
                raise FileNotFoundError(
                    f"no file {other}, though there are {int(part['count'])} parts"
                )


def _features(schema: Any) -> dict[str, Any]:
    """Return the column descriptions that the Hub's writer keeps in the metadata."""
    try:
        content = json.loads((schema.metadata or {})[b"huggingface"])
        features = content["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _image_column(schema: Any, file: Path) -> str:
    """Return the name of the first column that holds images."""
    pyarrow = _pyarrow()
    types = pyarrow.types
    described = _features(schema)
    for field in schema:
        is_struct = (
            types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0
        )
        is_described = (
            isinstance(described.get(field.name), dict)
            and described[field.name].get("_type") == "Image"
        )
        is_named = field.name.lower() in ("image", "img", "jpg", "png", "webp")
        if is_struct or is_described or is_named:
            is_bytes = types.is_binary(field.type) or types.is_large_binary(field.type)
            if is_struct or is_bytes:
                return field.name
            raise ValueError(
                f"{file}: column {field.name!r} holds {field.type}, not images {{bytes, path}}"
            )
    raise ValueError(
        f"{file} has no column of images {{bytes, path}}; it has {', '.join(schema.names)}"
    )


def _label_column(schema: Any, file: Path, wanted: str) -> tuple[str, list[str], bool]:
    """Return the column of labels, its class names if it has any, and if it holds
    lists.
    """
    named = _named_columns(schema)
    column = wanted or _usual_column(schema, file, list(named))
    if column not in schema.names:
        raise ValueError(
            f"{file} has no column {column!r}; it has {', '.join(schema.names)}"
        )
    types = _pyarrow().types
    is_list = types.is_list(schema.field(column).type) or types.is_large_list(
        schema.field(column).type
    )
    return column, named.get(column, []), is_list


def _named_columns(schema: Any) -> dict[str, list[str]]:
    """Return column -> class names, of the columns that have some."""
    described = _features(schema)
    named = {}
    for column in schema.names:
        feature = described.get(column)
        if isinstance(feature, list) and feature:
            feature = feature[0]
        elif isinstance(feature, dict) and "feature" in feature:
            feature = feature["feature"]
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
            named[column] = [str(name) for name in feature.get("names") or []]
    return named


def _usual_column(schema: Any, file: Path, named: list[str]) -> str:
    """Return the only column with class names, or the one with a usual name."""
    if len(named) == 1:
        return named[0]
    for column in LABEL_COLUMNS:
        if column in schema.names:
            return column
    if named:
        raise ValueError(
            f"{file} has several columns of labels: {', '.join(named)}; name one of them label"
        )
    raise ValueError(
        f"{file} has no column of labels; it has {', '.join(schema.names)}"
    )


def _text_classes(files: Mapping[str, list[Path]], column: str) -> list[str]:
    """Return the sorted values of a column of texts, [] if it holds numbers."""
    pyarrow = _pyarrow()
    values: set[str] = set()
    for parts in files.values():
        for file in parts:
            opened = _open(file)
            if not pyarrow.types.is_string(opened.schema_arrow.field(column).type):
                return []
            values.update(
                text for text in opened.read([column]).column(0).to_pylist() if text
            )
    return sorted(values)


def _read(
    files: list[Path], columns: tuple[str, str], classnames: list[str], names_from: str
) -> Iterator[PackedImage]:
    """Yield the images of a split in file and row order, called by their row numbers."""
    position_of = {name: position for position, name in enumerate(classnames)}
    number = 0
    pyarrow = _pyarrow()
    for file in files:
        opened = _open(file)
        for column in columns:
            if column not in opened.schema_arrow.names:
                raise ValueError(
                    f"{file} has no column {column!r}, but another file has one"
                )
        row = 0
        try:
            for batch in opened.iter_batches(BATCH, columns=list(columns)):
                images = batch.column(
                    batch.schema.get_field_index(columns[0])
                ).to_pylist()
                labels = batch.column(
                    batch.schema.get_field_index(columns[1])
                ).to_pylist()
                for image, label in zip(images, labels, strict=True):
                    where = f"{file}: row {row}"
                    content = _content(image, where)
                    positions = _positions(label, position_of, where, names_from)
                    for position in positions:
                        require_label(position, classnames, where, names_from)
                    yield PackedImage(
                        f"{number:07d}.{image_suffix(content, where)}",
                        content,
                        positions,
                        where,
                    )
                    row += 1
                    number += 1
        except (pyarrow.ArrowException, OSError) as error:
            raise ValueError(f"{file} is damaged after row {row}: {error}") from None
    if not number:
        raise ValueError(f"{files[0]} holds no row")


def _content(image: Any, where: str) -> bytes:
    content = image.get("bytes") if isinstance(image, dict) else image
    if not content:
        path = image.get("path") if isinstance(image, dict) else None
        also = f", but the path {path!r}" if path else ""
        raise ValueError(f"{where} has no bytes of an image{also}")
    return content


def _positions(
    label: Any, position_of: Mapping[str, int], where: str, names_from: str
) -> tuple[int, ...]:
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
