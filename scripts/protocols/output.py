"""The output of the protocols: each table as CSV, Markdown, LaTeX, JSON and a plot;
paired tests; logs as CoOp's scripts have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.jobs.plan import Plan
from scripts.study import comparisons, plots, tables
from scripts.study.tables import Table
from toolkit.common.files import write_text
from toolkit.common.structured import read_json
from toolkit.common.text import csv_text, markdown_table
from trainers.engine.results import parsed_lines

from .planner import Results
from .published import values
from .suite import Suite
from .tables import averaged_tasks, build, compare_methods


def write_all(suite: Suite, planned: Sequence[Results], folder: Path) -> list[Table]:
    """Write the protocols' files in `folder`/tables, and return the tables."""
    out = folder / "tables"
    published = values(suite.name, suite.backbone)
    built, found = [], []
    for results in planned:
        table = build(suite, results, folder, published)
        built.append(table)
        found += compare_methods(table, averaged_tasks(suite, results.protocol))
        write_table(table, out)
    comparisons.write(found, out)
    return built


def write_table(table: Table, out: Path) -> None:
    """Write a table in every form."""
    tables.write(table, out, markdown(table))
    for line in table.lines:
        name = "_".join([table.name, *line.labels]).replace(" ", "-")
        means = [cell.mean for cell in line.cells.values()]
        numbers = ["" if mean is None else f"{mean:.2f}" for mean in means]
        write_text(out / "rows" / f"{name}.csv", csv_text([line.cells, numbers]))
    draw = plots.lengths if table.name == "fewshot" else plots.dots
    draw(table, out / f"{table.name}.png")


def markdown(table: Table) -> str:
    """Return the table as papers have it: a row for each set, the average first."""
    rows = [["", *(" ".join(line.labels) for line in table.lines)]]
    for column in table.columns:
        cells = [line.cells[column] for line in table.lines]
        numbers = [tables.number(cell, digits=table.digits) for cell in cells]
        rows.append([tables.short(column), *numbers])
    return f"{table.title}\n\n{markdown_table(rows, 'l' + 'r' * len(table.lines))}"


def write_logs(plan: Plan, folder: Path) -> None:
    """Write the log.txt of each finished run that CoOp's parse_test_res.py reads."""
    for job in plan:
        file = folder / job.name / "results.json"
        if file.is_file():
            trains = job.settings["stage"] != "evaluation"
            text = parsed_lines(read_json(file), trains)
            write_text(file.with_name("log.txt"), text)
