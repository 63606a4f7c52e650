"""Folds: the matrix (N, C) that an entry holds for each seed, read from JSON and judged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from elevater_eval.decimals import rows_from_text
from elevater_eval.jsonstream import JSONError, Reader

MOST = 1 << 29  # numbers of a task over all folds, 4 GB; ImageNet-1K has 50 million a seed


@dataclass(frozen=True)
class Defect:
    """What stands where a matrix should, in words."""

    message: str


class FoldError(JSONError):
    """The text is not JSON within a fold, whose position is ``fold``."""

    def __init__(self, message: str, fold: int) -> None:
        super().__init__(message)
        self.fold = fold


def read_folds(reader: Reader) -> Any:
    """The value of ``predictions``: a list with a float64 (N, C) or a ``Defect`` for each fold, where it is a list."""
    if reader.peek() != "[":
        return reader.value()
    folds, left = [], MOST
    for fold in reader.elements():
        folds.append(_read_fold(reader, fold, left))
        left -= folds[-1].size if isinstance(folds[-1], np.ndarray) else 0
    return folds


def _read_fold(reader: Reader, fold: int, most: int) -> np.ndarray | Defect:
    if reader.peek() != "[":
        reader.value()
        return Defect("a fold must be a non-empty list of rows")
    parts: list[np.ndarray] = []
    defect, count, columns = None, 0, None
    try:
        for block in reader.lists(rows_from_text):
            part = block if isinstance(block, np.ndarray) else _matrix(block, count, columns)
            if isinstance(part, np.ndarray) and part.shape[1] != (columns or part.shape[1]):
                part = Defect(f"row {count} has {part.shape[1]} columns, row 0 has {columns}")
            if isinstance(part, Defect):
                defect = defect or part
            else:
                parts.append(part)
                columns = part.shape[1]
                most -= part.size
                if most < 0:
                    raise JSONError(f"more than {MOST:,} numbers in a task")
            count += len(block)
    except JSONError as error:
        raise FoldError(f"row {count}: {error}", fold) from None
    if defect or not parts:
        return defect or Defect("a fold must be a non-empty list of rows")
    return np.concatenate(parts)


def _matrix(rows: list[Any], first: int, columns: int | None) -> np.ndarray | Defect:
    """Decoded rows as an array; ``first`` is the number of the first one, ``columns`` what earlier ones have."""
    if all(type(row) is list and row for row in rows) and len({*map(len, rows), columns or len(rows[0])}) == 1:
        numbers = list(chain.from_iterable(rows))
        if set(map(type, numbers)) <= {float, int}:
            try:
                return np.array(numbers, np.float64).reshape(len(rows), -1)
            except OverflowError:
                pass
    return Defect(_fault(rows, first, columns))


def _fault(rows: list[Any], first: int, columns: int | None) -> str:
    for r, row in enumerate(rows, first):
        if type(row) is not list or not row:
            return f"row {r} must be a non-empty list of probabilities, got {kind(row)}"
        columns = columns or len(row)
        if len(row) != columns:
            return f"row {r} has {len(row)} columns, row 0 has {columns}"
        for c, value in enumerate(row):
            if type(value) not in (float, int):
                return f"row {r}, column {c}: {show(value)} is not a number"
            if type(value) is int and abs(value).bit_length() > 1000:
                return f"row {r}, column {c}: an integer is too large to be a probability"
    return f"rows from {first} on cannot be read"


def fold_faults(fold: np.ndarray) -> list[str]:
    """Values that are no probabilities: one message for those that are not finite, one for those outside [0, 1]."""
    if fold.min() >= 0 and fold.max() <= 1:  # False where there is a NaN
        return []
    finite = np.isfinite(fold)
    outside = finite & ((fold < 0) | (fold > 1))
    faults = []
    for wrong, text in ((~finite, "is not finite"), (outside, "is outside [0, 1]")):
        if wrong.any():
            (row, column), more = np.argwhere(wrong)[0], int(wrong.sum()) - 1
            found = f"row {row}, column {column}: {float(fold[row, column])!r} {text}"
            faults.append(found + (f" (and {more} more)" if more else ""))
    return faults


def kind(value: Any) -> str:
    """The kind of a decoded value, for a message."""
    if isinstance(value, (list, str, dict)) and not value:
        return {list: "an empty list", str: "an empty string", dict: "an empty object"}[type(value)]
    names = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def show(value: Any) -> str:
    """A decoded value, or its kind where that is long, for a message."""
    text = repr(value) if not isinstance(value, Sequence) or len(value) <= 20 else kind(value)
    return text if len(text) <= 60 else text[:57] + "..."
