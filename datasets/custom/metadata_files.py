"""Folders of images with a table as in Hugging Face's imagefolder: metadata.csv or
.jsonl with file_name and a label. The table is beside the images, in each split's
folder, or in the root; then the first folder of a path or a column `split` tells the
split. Without either, the images are split as those of class folders are.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from datasets.io.index_files import leads_outside
from datasets.io.split_names import split_of
from toolkit.common.files import decode_text
from toolkit.common.grouping import grouped
from toolkit.common.image_files import find_image_files
from toolkit.common.text import require_printable

from .rows import Row, require_image, split_labels, split_paths, table_lines

log = logging.getLogger(__name__)

FILES = ("metadata.csv", "metadata.jsonl")
PATH_COLUMN = "file_name"
Record = dict[str, Any]  # column -> value
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "category")


def find_tables(root: Path, split_folders: Mapping[str, Path]) -> dict[Path, str]:
    """Return each table with labels -> its split ("" for that of the root). Raises
    ValueError for two tables, or if only some of the split folders have one.
    """
    folders = {root: ""} | {folder: split for split, folder in split_folders.items()}
    found: dict[Path, str] = {}
    for folder, split in folders.items():
        tables = [folder / file for file in FILES if (folder / file).is_file()]
        if len(tables) > 1:
            raise ValueError(
                f"{folder} has both {' and '.join(FILES)}; one of them is needed"
            )
        if tables and _label_column(tables[0], _has_folders(folder)):
            found[tables[0]] = split
    if "" in found.values() and len(found) > 1:
        raise ValueError(
            f"there is both {' and '.join(map(str, found))}; one of them is needed"
        )
    if not found or "" in found.values():
        return found
    for split, folder in split_folders.items():
        if split not in found.values():
            raise ValueError(
                f"{next(iter(found))} lists images, but {folder} has no {FILES[0]} or {FILES[1]}"
            )
    return found


def read_tables(root: Path, tables: Mapping[Path, str]) -> list[Row]:
    """Return the images that tables list, in their order. Raises FileNotFoundError or
    ValueError with table and line of a fault.
    """
    rows = []
    seen: dict[str, str] = {}
    for table, split in tables.items():
        column = _label_column(table, False)
        for where, record in _records(table):
            row = _row(root, table, where, record, column, split)
            if row.key in seen:
                raise ValueError(f"{where}: {row.key} is also in {seen[row.key]}")
            seen[row.key] = where
            rows.append(row)
        if not rows:
            raise ValueError(f"{table} lists no image")
    _warn_of_others(root, rows)
    if any(row.split for row in rows):
        for row in rows:
            if not row.split:
                raise ValueError(
                    f"{row.where}: {row.key} is in no split's folder, unlike others"
                )
        return rows
    return split_rows(rows)


def _warn_of_others(root: Path, rows: list[Row]):
    """Warn of images below the folder that no table lists."""
    listed = {os.path.normpath(row.impath) for row in rows}
    images, _ = find_image_files(root)
    others = [path for path in images if os.path.normpath(path) not in listed]
    if others:
        log.warning(
            "%s: %d of %d images are in no table, such as %s",
            *(root, len(others), len(images), others[0].relative_to(root)),
        )


def split_rows(rows: list[Row]) -> list[Row]:
    """Return rows without splits with those that class folders would have."""
    splits: dict[str, str] = {}
    for labels, group in grouped(rows, lambda row: row.labels).items():
        where = f"{group[0].where}: {'|'.join(labels)!r}"
        splits |= split_paths([row.key for row in group], where)
    return [replace(row, split=splits[row.key]) for row in rows]


def _has_folders(folder: Path) -> bool:
    """Return if a folder holds others than those of splits, which may be classes."""
    for child in folder.iterdir():
        is_class = not child.name.startswith(".") and not split_of(child.name)
        if is_class and child.is_dir():
            return True
    return False


def _label_column(table: Path, optional: bool) -> str:
    """Return the column of labels; "" if there is none and it is optional."""
    _, record = next(_records(table), ("", None))
    if record is None:
        raise ValueError(f"{table} lists no image")
    if PATH_COLUMN not in record and not optional:
        raise ValueError(
            f"{table}: no column {PATH_COLUMN}; it has {', '.join(record)}"
        )
    for name in LABEL_COLUMNS:
        if name in record:
            return name
    if optional:
        return ""
    usual = f"{', '.join(LABEL_COLUMNS[:-1])} or {LABEL_COLUMNS[-1]}"
    raise ValueError(f"{table}: no column {usual}; it has {', '.join(record)}")


def _records(table: Path):
    """Yield (file and line, column in lower case -> value) of each line."""
    if table.suffix == ".csv":
        fields = table_lines(table)
        _, header = next(fields)
        for where, line in fields:
            yield where, dict(zip(header, line, strict=True))
        return
    text = decode_text(table.read_bytes(), str(table))
    # names may hold other line breaks
    lines = text.replace("\r\n", "\n").split("\n")
    for number, line in enumerate(lines, start=1):
        where = f"{table}:{number}"
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"{where}: not JSON: {error}") from None
        if not isinstance(record, dict):
            raise ValueError(
                f"{where}: expected an object with {PATH_COLUMN} and a label, found {line[:40]!r}"
            )
        yield where, {name.strip().lower(): record[name] for name in record}


def _row(root: Path, table: Path, where: str, record: Record, column: str, split: str):
    path = record.get(PATH_COLUMN)
    if not isinstance(path, str) or not path.strip():
        raise ValueError(
            f"{where}: {PATH_COLUMN} is {path!r}, not the path of an image"
        )
    path = path.strip()
    if leads_outside(path):
        raise ValueError(f"{where}: {path!r} leads out of the folder")
    file = table.parent / path
    require_image(str(file), where)
    stated = record.get("split") or ""
    if not split and stated:
        split = split_of(str(stated))
        if not split:
            raise ValueError(
                f"{where}: unknown split {stated!r}; it is train, val or test"
            )
    if not split and "/" in path:
        split = split_of(path.split("/")[0])
    labels = _labels(record.get(column), column, where)
    for text in (path, *labels):
        require_printable(text, where)
    key = file.relative_to(root).as_posix()
    return Row(split, str(file), key, labels, where)


def _labels(value: Any, column: str, where: str) -> tuple[str, ...]:
    """Return the labels of a line; several in a column `labels`, or a list."""
    if isinstance(value, str) and column == "labels":
        return split_labels(value)
    values = value if isinstance(value, list) else [value]
    labels = []
    for part in values:
        text = str(part).strip()
        if isinstance(part, bool) or not isinstance(part, str | int) or not text:
            raise ValueError(f"{where}: {column} is {part!r}, not a label")
        labels.append(text)
    return tuple(dict.fromkeys(labels))
