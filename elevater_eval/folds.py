"""Folds: an entry's matrix (N, C) for each seed, read from JSON and checked."""

import math
from array import array
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


class FoldError(JSONError):
    """The text is not JSON within a fold, whose position is `fold`."""

    def __init__(self, message: str, fold: int) -> None:
        super().__init__(message)
        self.fold = fold


def read_folds(reader: Reader) -> Any:
    """Return "predictions": for each fold a float64 (N, C), or why it is not read."""
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


def _read_fold(reader: Reader, fold: int, most: int) -> np.ndarray | str:
    if reader.peek() != "[":
        reader.value()
        return EMPTY
    numbers = array("d")
    fault = ""
    columns = count = 0  # count: of rows
    try:
        for _ in reader.elements(most=math.inf):
            row = reader.value()
            if not fault:
                fault = _add_row(numbers, row, count, columns)
                columns = columns or len(numbers)
            if len(numbers) > most:
                raise JSONError(f"more than {MOST:,} numbers in a task")
            count += 1
    except JSONError as error:
        raise FoldError(f"row {count}: {error}", fold) from None
    if fault or not count:
        return fault or EMPTY
    return np.frombuffer(numbers).reshape(count, columns)


def _add_row(numbers: array, row: Any, number: int, columns: int) -> str:
    """Append a decoded row, or return its fault; `columns` are those of row 0."""
    if type(row) is not list or not row:
        return (
            f"row {number} must be a non-empty list of probabilities, got {kind(row)}"
        )
    if columns and len(row) != columns:
        return f"row {number} has {len(row)} columns, row 0 has {columns}"
    if set(map(type, row)) <= {float, int}:
        try:
            numbers.fromlist(row)
            return ""
        except OverflowError:
            pass
    for column, value in enumerate(row):
        if type(value) not in (float, int):
            break
        if type(value) is int and abs(value).bit_length() > 1000:
            return f"row {number}, column {column}: an integer is too large to be a probability"
    return f"row {number}, column {column}: {show(value)} is not a number"


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
