"""The transfer matrix, scores of each task's prompt on each task, and its CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from toolkit.common.files import write_text
from toolkit.common.text import csv_text


@dataclass(frozen=True, eq=False)
class Matrix:
    """Scores (S, T): a row for each source task, a column for each target task. In
    percent, or divided by each column's best. NaN if a score is not known.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    scores: np.ndarray

    @classmethod
    def square(cls, tasks: Sequence[str], scores: ArrayLike) -> Matrix:
        """Return the matrix (T, T) whose sources are its targets, in the same order."""
        names = tuple(tasks)
        return cls(names, names, np.asarray(scores, dtype=float))


def normalised(matrix: Matrix) -> Matrix:
    """Return each column divided by its best entry (paper, Figure 4), if it is > 0."""
    scores = matrix.scores
    best = scores.max(axis=0)
    zeros = np.zeros_like(scores)
    shares = np.divide(scores, best, out=zeros, where=best > 0)
    return replace(matrix, scores=shares)


def write_matrix(path: Path, matrix: Matrix, decimals: int = 6) -> None:
    """Write a matrix as CSV: targets in the first row, sources in the first column."""
    rows = [["source", *matrix.targets]]
    scores = matrix.scores.tolist()
    for source, row in zip(matrix.sources, scores, strict=True):
        texts = [f"{value:.{decimals}f}" for value in row]
        rows.append([source, *texts])
    write_text(path, csv_text(rows))


def read_matrix(path: str | Path) -> Matrix:
    """Return the matrix in a CSV file of `write_matrix`; an empty cell is NaN. Raises
    FileNotFoundError, and ValueError naming the row and column.
    """
    path = Path(path)
    lines = _read_lines(path)
    if not lines:
        return Matrix((), (), np.empty((0, 0)))
    header, *lines = lines
    targets = _distinct(header[1:], "column", path)
    first_cells = [line[0] for line in lines]
    sources = _distinct(first_cells, "row", path)
    scores = np.empty((len(sources), len(targets)))
    for row, source in enumerate(sources):
        cells = lines[row][1:]
        if len(cells) != len(targets):
            raise ValueError(
                f"{path.name}: row {source!r} has {len(cells)} scores, there are {len(targets)} columns"
            )
        for column, target in enumerate(targets):
            score = _read_score(cells[column], source, target, path)
            scores[row, column] = score
    return Matrix(sources, targets, scores)


def read_square_matrix(path: str | Path) -> Matrix:
    """Return the matrix in a CSV file with its rows in the order of its columns. Raises
    ValueError if sources and targets differ, or an off-diagonal score is none.
    """
    path = Path(path)
    matrix = read_matrix(path)
    odd = sorted({*matrix.targets} ^ {*matrix.sources})
    if odd or not matrix.targets:
        message = f"{path.name} is not square: {len(matrix.sources)} source rows, {len(matrix.targets)} target columns"
        if odd:
            kind = "row" if odd[0] in matrix.sources else "column"
            message += f"; {odd[0]!r} is only a {kind}"
        raise ValueError(message)
    names = matrix.targets
    order = [matrix.sources.index(task) for task in names]
    scores = matrix.scores[order]
    unknown = np.argwhere(~np.isfinite(scores))
    for row, column in unknown:
        if row != column:
            raise ValueError(
                f"{path.name}: {names[row]} on {names[column]} is {str(scores[row, column])!r}, not a number"
            )
    return Matrix.square(names, scores)


def _read_lines(path: Path) -> list[list[str]]:
    if not path.is_file():
        raise FileNotFoundError(f"no matrix {path}")
    try:
        with open(path, newline="", encoding="utf-8-sig") as stream:
            return [line for line in csv.reader(stream) if "".join(line).strip()]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path.name} is no CSV file: {error}") from None


def _distinct(cells: list[str], kind: str, path: Path) -> tuple[str, ...]:
    names = tuple(cell.strip() for cell in cells)
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{path.name}: {kind} {name!r} is there twice")
    return names


def _read_score(cell: str, source: str, target: str, path: Path) -> float:
    """Return a cell's number; NaN if it is empty, or a mark on the diagonal."""
    try:
        return float(cell)
    except ValueError:
        if cell.strip() and source != target:
            raise ValueError(
                f"{path.name}: {source} on {target} is {cell.strip()!r}, not a number"
            ) from None
        return math.nan
