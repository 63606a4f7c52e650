"""Folds: an entry's matrix (N, C) for each seed, read from JSON and checked."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from elevater_eval.jsonstream import JSONError, Reader

# numbers of a task over all folds, 4 GB; ImageNet-1K has 50 million a seed
MOST = 1 << 29
KINDS = {
    dict: "an object",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    type(None): "null",
}
EMPTY = "a fold must be a non-empty list of rows"


@dataclass(frozen=True)
class Defect:
    """The reason why a matrix cannot be read; it takes the place of the matrix."""

    message: str


class FoldError(JSONError):
    """The text is not JSON within a fold, whose position is `fold`."""

    def __init__(self, message: str, fold: int) -> None:
        super().__init__(message)
        self.fold = fold


def read_folds(reader: Reader) -> Any:
    """Return the value of "predictions": if it is a list, a float64 (N, C) or a
    `Defect` for each fold.
    """
    if reader.peek() != "[":
        return reader.value()
    folds = []
    left = MOST
    for fold in reader.elements():
        matrix = _read_fold(reader, fold, left)
        if isinstance(matrix, np.ndarray):
            left -= matrix.size
        folds.append(matrix)
    return folds


def _read_fold(reader: Reader, fold: int, most: int) -> np.ndarray | Defect:
    if reader.peek() != "[":
        reader.value()
        return Defect(EMPTY)
    parts: list[np.ndarray] = []
    defect = None
    count = 0  # rows
    columns = None
    try:
        for rows in reader.lists():
            if defect is None:
                part = _matrix(rows, count, columns)
                if isinstance(part, Defect):
                    defect = part
                else:
                    parts.append(part)
                    columns = part.shape[1]
                    most -= part.size
            if most < 0:
                raise JSONError(f"more than {MOST:,} numbers in a task")
            count += len(rows)
    except JSONError as error:
        raise FoldError(f"row {count}: {error}", fold) from None
    if defect:
        return defect
    if not parts:
        return Defect(EMPTY)
    return np.concatenate(parts)


def _matrix(rows: list[Any], first: int, columns: int | None) -> np.ndarray | Defect:
    """Return decoded rows as an array; `first` is the number of the first one,
    `columns` the number of columns of earlier ones.
    """
    if set(map(type, rows)) == {list}:
        columns_here = columns or len(rows[0])
        numbers = list(chain.from_iterable(rows))
        are_equal = set(map(len, rows)) == {columns_here}
        are_numbers = set(map(type, numbers)) <= {float, int}
        if numbers and are_equal and are_numbers:
            try:
                return np.array(numbers, np.float64).reshape(-1, columns_here)
            except OverflowError:
                pass
    return Defect(_first_fault(rows, first, columns))


def _first_fault(rows: list[Any], first: int, columns: int | None) -> str:
    for number, row in enumerate(rows, first):
        if type(row) is not list or not row:
            return f"row {number} must be a non-empty list of probabilities, got {kind(row)}"
        columns = columns or len(row)
        if len(row) != columns:
            return f"row {number} has {len(row)} columns, row 0 has {columns}"
        for column, value in enumerate(row):
            if type(value) not in (float, int):
                return f"row {number}, column {column}: {show(value)} is not a number"
            if type(value) is int and abs(value).bit_length() > 1000:
                return f"row {number}, column {column}: an integer is too large to be a probability"
    return f"rows from {first} on cannot be read"


def fold_faults(fold: np.ndarray) -> list[str]:
    """Return messages for values that are not finite and for those outside [0, 1]."""
    if fold.min() >= 0 and fold.max() <= 1:  # False if there is a NaN
        return []
    finite = np.isfinite(fold)
    outside = finite & ((fold < 0) | (fold > 1))
    faults = []
    for wrong, text in ((~finite, "is not finite"), (outside, "is outside [0, 1]")):
        if wrong.any():
            row, column = np.argwhere(wrong)[0]
            value = float(fold[row, column])
            more = int(wrong.sum()) - 1
            also = f" (and {more} more)" if more else ""
            faults.append(f"row {row}, column {column}: {value!r} {text}{also}")
    return faults


def kind(value: Any) -> str:
    """Return the kind of a decoded value, for a message."""
    name = KINDS.get(type(value), "a number")
    if isinstance(value, list | str | dict) and not value:
        name = f"an empty {name.split()[1]}"
    return name


def show(value: Any) -> str:
    """Return a decoded value, or its kind if it is long, for a message."""
    if isinstance(value, str | list) and len(value) > 20:
        return kind(value)
    text = repr(value)
    if len(text) > 60:
        text = text[:57] + "..."
    return text
