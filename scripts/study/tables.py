"""From runs to tables: scores by row, task and seed, their mean and deviation, and the paper's figures beside them."""

from __future__ import annotations

import csv
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .items import Item, Row
from .protocol import FOLDER

AVERAGE = "average"


@dataclass(frozen=True)
class Cell:
    """One number of a table in percent: its values over seeds, and what the paper has."""

    values: tuple[float, ...] = ()
    paper: float | None = None
    paper_std: float | None = None

    @property
    def mean(self) -> float | None:
        """Over seeds; None without runs."""
        return statistics.fmean(self.values) if self.values else None

    @property
    def std(self) -> float:
        """Sample standard deviation over seeds; 0 for fewer than two."""
        return statistics.stdev(self.values) if len(self.values) > 1 else 0.0


@dataclass
class Line:
    """A row: its labels, its cells by task with "average" first, and the scores behind them."""

    labels: tuple[str, ...]
    cells: dict[str, Cell]
    scores: dict[int, dict[str, float]] = field(default_factory=dict)  # seed -> task -> percent
    chosen: dict[int, dict[str, int]] = field(default_factory=dict)  # seed -> task -> which of the candidate runs


@dataclass
class Table:
    """An item with its numbers; `columns` begin with "average"."""

    name: str
    title: str
    label_names: tuple[str, ...]
    columns: tuple[str, ...]
    lines: list[Line]

    def line(self, *labels: str) -> Line | None:
        """The line with these labels."""
        return next((line for line in self.lines if line.labels == labels), None)


def build(item: Item, folder: Path, compare: bool) -> Table:
    """The item's table from the runs below `folder`; runs that are not there leave gaps.

    compare: put the paper's figures beside.
    """
    paper = paper_scores() if compare else {}
    lines = [_line(row, item, folder, paper) for row in item.rows]
    return Table(item.name, item.title, item.label_names, (AVERAGE, *item.tasks), lines)


def _line(row: Row, item: Item, folder: Path, paper: dict) -> Line:
    line = Line(row.labels, {})
    for (seed, task), runs in row.runs.items():
        records = [_record(folder / name) for name in runs]
        if all(records):
            best = max(range(len(records)), key=lambda k: records[k].get("val_score", 0.0))  # of equals the first
            line.scores.setdefault(seed, {})[task] = records[best][row.column]
            if len(runs) > 1:
                line.chosen.setdefault(seed, {})[task] = best
    whole = [scores for scores in line.scores.values() if scores.keys() == {*item.tasks}]
    values = {AVERAGE: tuple(statistics.fmean(scores.values()) for scores in whole)}
    values |= {task: tuple(scores[task] for scores in line.scores.values() if task in scores) for task in item.tasks}
    for column, seeds in values.items():
        seeds = seeds[:1] if row.column == "zero_shot" else seeds  # nothing of it depends on the seed
        known = paper.get((item.name, " / ".join(row.labels), column), (None, None))
        line.cells[column] = Cell(seeds, *known)
    return line


def _record(folder: Path) -> dict | None:
    path = folder / "results.json"
    return json.loads(path.read_text(encoding="utf-8"))[0] if path.is_file() else None


def paper_scores() -> dict[tuple[str, str, str], tuple[float, float | None]]:
    """(item, row, task) -> the paper's mean and standard deviation in percent (arXiv 2211.11720, tables 1 to 4)."""
    with open(FOLDER / "paper_scores.csv", newline="", encoding="utf-8") as stream:
        return {
            (line["item"], line["row"], line["task"]): (
                float(line["score"]),
                float(line["std"]) if line["std"] else None,
            )
            for line in csv.DictReader(stream)
        }


def number(cell: Cell, latex: bool = False) -> str:
    """A cell as text: 61.2 ± 0.4, and the paper's in brackets."""
    if cell.mean is None:
        text = "--" if latex else "–"
    elif len(cell.values) > 1:
        text = f"{cell.mean:.1f}$\\,\\pm\\,${cell.std:.1f}" if latex else f"{cell.mean:.1f} ± {cell.std:.1f}"
    else:
        text = f"{cell.mean:.1f}"
    return text if cell.paper is None else f"{text} ({cell.paper:.2f})"


def short(task: str) -> str:
    """A task's name without its suite."""
    return task.removeprefix("pocket-")


def markdown(table: Table, columns: Sequence[str] | None = None) -> str:
    """A Markdown table of some columns, or of all."""
    columns = columns or table.columns
    rows = ["| " + " | ".join([*table.label_names, *map(short, columns)]) + " |"]
    rows.append("|" + "---|" * len(table.label_names) + "---:|" * len(columns))
    for line in table.lines:
        rows.append("| " + " | ".join([*line.labels, *(number(line.cells[column]) for column in columns)]) + " |")
    return "\n".join(rows) + "\n"


def latex(table: Table) -> str:
    """A LaTeX table of all columns, scaled to the page's width."""
    head = [*table.label_names, *map(short, table.columns)]
    lines = [
        f"% {table.title}; needs the packages booktabs and graphicx",
        "\\resizebox{\\textwidth}{!}{%",
        "\\begin{tabular}{" + "l" * len(table.label_names) + "r" * len(table.columns) + "}",
        "\\toprule",
        " & ".join(map(_escape, head)) + " \\\\",
        "\\midrule",
    ]
    for line in table.lines:
        cells = [number(line.cells[column], latex=True) for column in table.columns]
        lines.append(" & ".join([*map(_escape, line.labels), *cells]) + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}}"]) + "\n"


def _escape(text: str) -> str:
    for mark in "&%_#":
        text = text.replace(mark, f"\\{mark}")
    return text


def tidy(table: Table) -> str:
    """CSV with a line for each number: labels, task, mean, std, seeds, and the paper's mean and std."""
    lines = [",".join([*table.label_names, "task", "mean", "std", "seeds", "paper", "paper_std"])]
    for line in table.lines:
        for column, cell in line.cells.items():
            mean = "" if cell.mean is None else f"{cell.mean:.4f}"
            known = ["" if value is None else f"{value:.2f}" for value in (cell.paper, cell.paper_std)]
            lines.append(",".join([*line.labels, column, mean, f"{cell.std:.4f}", str(len(cell.values)), *known]))
    return "\n".join(lines) + "\n"


def plain(table: Table) -> dict:
    """Every number as JSON data."""
    return {
        "item": table.name,
        "title": table.title,
        "label_names": list(table.label_names),
        "rows": [
            {
                "labels": list(line.labels),
                "cells": {
                    column: {"mean": cell.mean, "std": cell.std, "values": list(cell.values), "paper": cell.paper}
                    for column, cell in line.cells.items()
                },
                "scores": line.scores,
                "chosen": line.chosen,
            }
            for line in table.lines
        ],
    }
