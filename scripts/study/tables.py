"""From runs to tables: scores over seeds, and the paper's figures beside them."""

import csv
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from toolkit.common.files import write_text
from toolkit.common.structured import read_json, write_json
from toolkit.common.text import csv_text, markdown_table, printable

from .items import Item, Row
from .protocol import FOLDER

AVERAGE = "average"


@dataclass(frozen=True)
class Cell:
    """One number of a table in percent: its values over seeds, and the paper's."""

    values: tuple[float, ...] = ()
    paper: float | None = None
    paper_std: float | None = None
    stated_mean: float | None = None  # not that of `values` (H of two means)

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


LATEX = str.maketrans(
    {
        "\\": "\\textbackslash{}",
        "^": "\\textasciicircum{}",
        "~": "\\textasciitilde{}",
        **{character: f"\\{character}" for character in "$&%#_{}"},
    }
)


@dataclass
class Line:
    """A row: labels, cells by task with "average" first, and their scores."""

    labels: tuple[str, ...]
    cells: dict[str, Cell]
    scores: dict[int, dict] = field(default_factory=dict)  # seed -> task -> percent
    # seed -> task -> which of the candidate runs
    chosen: dict[int, dict] = field(default_factory=dict)


@dataclass
class Table:
    """An item with its numbers; `columns` begin with "average". digits: decimals in
    texts. averaged: tasks that the average is over; 0: all.
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
        return next((line for line in self.lines if line.labels == labels), None)


def build(item: Item, folder: Path, compare: bool) -> Table:
    """Return the item's table, if wanted beside the paper's; missing runs leave gaps."""
    paper = paper_scores() if compare else {}
    about = (item.name, item.title, item.label_names, (AVERAGE, *item.tasks))
    table = Table(*about, [])
    for row in item.rows:
        line = read_line(row, folder)
        table.lines.append(line)
        found = line_cells(line.scores, item.tasks, item.tasks)
        for column, cell in found.items():
            values = cell.values
            if row.column.startswith("zero_shot"):
                values = values[:1]  # nothing of it depends on the seed
            key = (item.name, " / ".join(row.labels), column)
            line.cells[column] = Cell(values, *paper.get(key, ()))
    return table


def read_line(row: Row, folder: Path) -> Line:
    """Return a row's scores; of several runs, those of the best by validation."""
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
        score = records[best][row.column]
        line.scores.setdefault(seed, {})[task] = score
        if len(runs) > 1:
            line.chosen.setdefault(seed, {})[task] = best
    return line


def line_cells(
    scores: Mapping[int, Mapping[str, float]],
    columns: Sequence[str],
    averaged: Sequence[str],
) -> dict[str, Cell]:
    """Return the cells; the average is over seeds that have all `averaged` tasks."""
    averages = []
    for by_task in scores.values():
        if by_task.keys() >= set(averaged):
            values = [by_task[task] for task in averaged]
            averages.append(statistics.fmean(values))
    cells = {AVERAGE: Cell(tuple(averages))}
    for task in columns:
        found = [by_task[task] for by_task in scores.values() if task in by_task]
        cells[task] = Cell(tuple(found))
    return cells


def paper_scores() -> dict[tuple[str, str, str], tuple[float, float | None]]:
    """Return (item, row, task) -> mean, deviation in percent (arXiv 2211.11720)."""
    known = {}
    with open(FOLDER / "paper_scores.csv", newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            std = float(line["std"]) if line["std"] else None
            key = (line["item"], line["row"], line["task"])
            known[key] = (float(line["score"]), std)
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


def _text_rows(table: Table, columns: Sequence[str], latex: bool = False):
    """Return the table's header and rows as texts, and the alignment of columns."""
    clean = latex_text if latex else markdown_text
    heads = [*table.label_names, *map(short, columns)]
    rows = [list(map(clean, heads))]
    for line in table.lines:
        cells = [line.cells[column] for column in columns]
        labels = map(clean, line.labels)
        numbers = [number(cell, latex, table.digits) for cell in cells]
        rows.append([*labels, *numbers])
    alignment = "l" * len(table.label_names)
    return rows, alignment + "r" * len(columns)


def markdown(table: Table, columns: Sequence[str] = ()) -> str:
    """Return a Markdown table of some columns, or of all."""
    return markdown_table(*_text_rows(table, columns or table.columns))


def latex(table: Table) -> str:
    """Return a LaTeX table of all columns, scaled to the page's width."""
    rows, alignment = _text_rows(table, table.columns, latex=True)
    header, *rows = [f"{' & '.join(row)} \\\\\n" for row in rows]
    return (
        f"% {table.title}; needs the packages booktabs and graphicx\n"
        f"\\resizebox{{\\textwidth}}{{!}}{{%\n\\begin{{tabular}}{{{alignment}}}\n"
        f"\\toprule\n{header}\\midrule\n{''.join(rows)}\\bottomrule\n\\end{{tabular}}}}\n"
    )


def latex_text(text: str) -> str:
    """Return text in which nothing means something to LaTeX."""
    return printable(text).translate(LATEX)


def markdown_text(text: str) -> str:
    """Return text that stays within its cell of a Markdown table."""
    return printable(text).replace("|", "\\|")


def tidy(table: Table) -> str:
    """Return CSV with a line for each number, measured and the paper's."""
    numbers = ["mean", "std", "seeds", "paper", "paper_std"]
    rows = [[*table.label_names, "task", *numbers]]
    for labels, column, cell in cells(table):
        measured = [_decimals(cell.mean, 4), _decimals(cell.std, 4)]
        paper = [_decimals(cell.paper, 2), _decimals(cell.paper_std, 2)]
        seeds = len(cell.values)
        rows.append([*labels, column, *measured, seeds, *paper])
    return csv_text(rows)


def _decimals(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def cells(table: Table) -> Iterator[tuple[tuple[str, ...], str, Cell]]:
    """Yield (labels, column, cell) of every cell."""
    for line in table.lines:
        for column, cell in line.cells.items():
            yield line.labels, column, cell


def to_dict(table: Table) -> dict:
    """Return every number as JSON data."""
    rows = []
    for line in table.lines:
        cells = {}
        for column, cell in line.cells.items():
            numbers = {"mean": cell.mean, "std": cell.std}
            cells[column] = numbers | {"values": cell.values, "paper": cell.paper}
        row = {"labels": line.labels, "cells": cells}
        rows.append(row | {"scores": line.scores, "chosen": line.chosen})
    about = {"item": table.name, "title": table.title}
    return about | {"label_names": table.label_names, "rows": rows}


def write(table: Table, out: Path, text: str = "") -> None:
    """Write a table as CSV, Markdown (`text`, or all columns), LaTeX and JSON."""
    write_text(out / f"{table.name}.csv", tidy(table))
    write_text(out / f"{table.name}.md", text or markdown(table))
    write_text(out / f"{table.name}.tex", latex(table))
    write_json(out / f"{table.name}.json", to_dict(table), indent=1)
