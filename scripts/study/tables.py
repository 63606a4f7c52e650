"""From runs to tables: scores by row, task and seed, their mean and deviation, and the
paper's figures beside them.
"""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.common.structured import read_json
from toolkit.common.text import printable

from .items import Item, Row
from .protocol import FOLDER

AVERAGE = "average"


@dataclass(frozen=True)
class Cell:
    """One number of a table in percent: its values over seeds, and the paper's.

    stated_mean: the mean, if it is not that of `values` (a harmonic mean of two means).
    """

    values: tuple[float, ...] = ()
    paper: float | None = None
    paper_std: float | None = None
    stated_mean: float | None = None

    @property
    def mean(self) -> float | None:
        """Return the mean over seeds; None without runs."""
        if self.stated_mean is not None:
            return self.stated_mean
        return statistics.fmean(self.values) if self.values else None

    @property
    def std(self) -> float:
        """Return the sample standard deviation over seeds; 0 for fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0


LATEX = {
    "\\": "\\textbackslash{}",
    "^": "\\textasciicircum{}",
    "~": "\\textasciitilde{}",
    **{character: f"\\{character}" for character in "$&%#_{}"},
}


@dataclass
class Line:
    """A row: its labels, its cells by task with "average" first, and the scores behind
    them.
    """

    labels: tuple[str, ...]
    cells: dict[str, Cell]
    scores: dict[int, dict] = field(default_factory=dict)  # seed -> task -> percent
    # seed -> task -> which of the candidate runs
    chosen: dict[int, dict] = field(default_factory=dict)


@dataclass
class Table:
    """An item with its numbers; `columns` begin with "average".

    digits: decimals in texts. averaged: number of tasks that the average is over; 0:
    all columns.
    """

    name: str
    title: str
    label_names: tuple[str, ...]
    columns: tuple[str, ...]
    lines: list[Line]
    digits: int = 1
    averaged: int = 0

    def line(self, *labels: str) -> Line | None:
        """Return the line with these labels."""
        for line in self.lines:
            if line.labels == labels:
                return line
        return None


def build(item: Item, folder: Path, compare: bool) -> Table:
    """Return the item's table from the runs below `folder`; runs that are not there
    leave gaps.

    compare: put the paper's figures beside.
    """
    paper = paper_scores() if compare else {}
    lines = []
    for row in item.rows:
        line = _read_line(row, folder)
        for column, values in _values(line, item.tasks).items():
            if row.column.startswith("zero_shot"):
                values = values[:1]  # nothing of it depends on the seed
            key = (item.name, " / ".join(row.labels), column)
            line.cells[column] = Cell(values, *paper.get(key, ()))
        lines.append(line)
    return Table(item.name, item.title, item.label_names, (AVERAGE, *item.tasks), lines)


def _read_line(row: Row, folder: Path) -> Line:
    """Return a row's scores; of several runs the one with the best validation score
    counts, of equals the first.
    """
    line = Line(row.labels, {})
    for (seed, task), runs in row.runs.items():
        files = [folder / name / "results.json" for name in runs]
        if not all(file.is_file() for file in files):
            continue
        records = [read_json(file)[0] for file in files]
        best = 0
        if len(records) > 1:
            validation = [record.get("val_score") for record in records]
            if None in validation:  # nothing to choose by
                continue
            best = validation.index(max(validation))
        if row.column not in records[best]:  # of an earlier version
            continue
        scores = line.scores.setdefault(seed, {})
        scores[task] = records[best][row.column]
        if len(runs) > 1:
            chosen = line.chosen.setdefault(seed, {})
            chosen[task] = best
    return line


def _values(line: Line, tasks: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """Return for each column its scores over seeds; the average is over the seeds that
    have all tasks.
    """
    values: dict[str, tuple] = {AVERAGE: (), **dict.fromkeys(tasks, ())}
    for scores in line.scores.values():
        for task, score in scores.items():
            values[task] += (score,)
        if scores.keys() == set(tasks):
            values[AVERAGE] += (statistics.fmean(scores.values()),)
    return values


def paper_scores() -> dict[tuple[str, str, str], tuple[float, float | None]]:
    """Return (item, row, task) -> the paper's mean and standard deviation in percent
    (arXiv 2211.11720, tables 1 to 4).
    """
    known = {}
    with open(FOLDER / "paper_scores.csv", newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            score = float(line["score"])
            std = float(line["std"]) if line["std"] else None
            known[line["item"], line["row"], line["task"]] = (score, std)
    return known


def number(cell: Cell, latex: bool = False, digits: int = 1) -> str:
    """Return a cell as text: 61.2 ± 0.4, and the paper's in brackets."""
    if cell.mean is None:
        text = "--" if latex else "–"
    else:
        text = f"{cell.mean:.{digits}f}"
        if len(cell.values) > 1:
            sign = "$\\,\\pm\\,$" if latex else " ± "
            text += f"{sign}{cell.std:.{digits}f}"
    if cell.paper is not None:
        text += f" ({cell.paper:.2f})"
    return text


def short(task: str) -> str:
    """Return a task's name without its suite."""
    return task.removeprefix("pocket-")


def _text_rows(
    table: Table, columns: Sequence[str], latex: bool = False
) -> list[list[str]]:
    """Return the table's header and rows as texts."""
    clean = latex_text if latex else markdown_text
    names = [clean(short(column)) for column in columns]
    rows = [[*map(clean, table.label_names), *names]]
    for line in table.lines:
        numbers = [
            number(line.cells[column], latex, table.digits) for column in columns
        ]
        rows.append([*map(clean, line.labels), *numbers])
    return rows


def markdown(table: Table, columns: Sequence[str] = ()) -> str:
    """Return a Markdown table of some columns, or of all."""
    columns = columns or table.columns
    return markdown_rows(_text_rows(table, columns), len(table.label_names))


def markdown_rows(rows: Sequence[Sequence[str]], texts: int) -> str:
    """Return rows, the header first, as a Markdown table. texts: columns before those
    of numbers.
    """
    lines = [f"| {' | '.join(row)} |" for row in rows]
    numbers = len(rows[0]) - texts
    lines.insert(1, "|" + "---|" * texts + "---:|" * numbers)
    return "\n".join(lines) + "\n"


def latex(table: Table) -> str:
    """Return a LaTeX table of all columns, scaled to the page's width."""
    header, *rows = _text_rows(table, table.columns, latex=True)
    alignment = "l" * len(table.label_names) + "r" * len(table.columns)
    lines = [
        f"% {table.title}; needs the packages booktabs and graphicx",
        "\\resizebox{\\textwidth}{!}{%",
        f"\\begin{{tabular}}{{{alignment}}}",
        "\\toprule",
        _latex_row(header),
        "\\midrule",
        *map(_latex_row, rows),
        "\\bottomrule",
        "\\end{tabular}}",
    ]
    return "\n".join(lines) + "\n"


def _latex_row(texts: Sequence[str]) -> str:
    return " & ".join(texts) + " \\\\"


def latex_text(text: str) -> str:
    """Return text in which nothing means something to LaTeX."""
    return "".join(LATEX.get(character, character) for character in printable(text))


def markdown_text(text: str) -> str:
    """Return text that stays within its cell of a Markdown table."""
    return printable(text).replace("|", "\\|")


def tidy(table: Table) -> str:
    """Return CSV with a line for each number: labels, task, mean, std, seeds, and the
    paper's mean and std.
    """
    rows = []
    for labels, column, cell in cells(table):
        measured = [_decimals(cell.mean, 4), _decimals(cell.std, 4), len(cell.values)]
        paper = [_decimals(cell.paper, 2), _decimals(cell.paper_std, 2)]
        rows.append([*labels, column, *measured, *paper])
    numbers = ["mean", "std", "seeds", "paper", "paper_std"]
    return csv_text([*table.label_names, "task", *numbers], rows)


def _decimals(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def cells(table: Table) -> Iterable[tuple[tuple[str, ...], str, Cell]]:
    """Yield (labels, column, cell) of every cell."""
    for line in table.lines:
        for column, cell in line.cells.items():
            yield line.labels, column, cell


def csv_text(header: Sequence[str], rows: Iterable[Sequence]) -> str:
    """Return rows as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def to_dict(table: Table) -> dict:
    """Return every number as JSON data."""
    rows = []
    for line in table.lines:
        numbers = {}
        for column, cell in line.cells.items():
            numbers[column] = {
                "mean": cell.mean,
                "std": cell.std,
                "values": cell.values,
                "paper": cell.paper,
            }
        rows.append(
            {
                "labels": line.labels,
                "cells": numbers,
                "scores": line.scores,
                "chosen": line.chosen,
            }
        )
    about = {"item": table.name, "title": table.title, "label_names": table.label_names}
    return about | {"rows": rows}
