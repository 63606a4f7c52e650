"""The output of the protocols: each table as CSV, Markdown, LaTeX, JSON and a plot;
paired tests; logs as CoOp's scripts have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from scripts.jobs.plan import Job, Plan
from scripts.study import comparisons, plots, tables
from scripts.study.tables import Line, Table
from toolkit.common.files import write_text
from toolkit.common.structured import read_json, write_json
from trainers.engine.results import parsed_lines

from .planner import Results
from .published import values
from .suite import Suite
from .tables import averaged_tasks, build, compare_methods


def write_all(suite: Suite, planned: Sequence[Results], folder: Path) -> list[Table]:
    """Write the protocols' files in `folder`/tables from the runs that are there, and
    return the tables.
    """
    out = folder / "tables"
    published = values(suite.name, suite.backbone)
    built, found = [], []
    for results in planned:
        table = build(suite, results, folder, published)
        built.append(table)
        found += compare_methods(table, averaged_tasks(suite, results.protocol))
        write_table(table, out)
    numbers = [asdict(comparison) for comparison in found]
    write_json(out / "comparisons.json", numbers, indent=1)
    text = comparisons.markdown(found) if found else "Paired tests need two methods.\n"
    write_text(out / "comparisons.md", text)
    return built


def write_table(table: Table, out: Path) -> None:
    """Write a table in every form."""
    write_text(out / f"{table.name}.csv", tables.tidy(table))
    write_text(out / f"{table.name}.md", markdown(table))
    write_text(out / f"{table.name}.tex", tables.latex(table))
    write_json(out / f"{table.name}.json", tables.to_dict(table), indent=1)
    for line in table.lines:
        name = "_".join([table.name, *line.labels]).replace(" ", "-")
        write_text(out / "rows" / f"{name}.csv", one_row(line))
    if table.name == "fewshot":
        plots.lengths(table, out / f"{table.name}.png")
    else:
        plots.dots(table, out / f"{table.name}.png")


def one_row(line: Line) -> str:
    """Return a line of a table as CSV: a header of sets, and one row of means in
    percent.
    """
    numbers = [
        "" if cell.mean is None else f"{cell.mean:.2f}" for cell in line.cells.values()
    ]
    return tables.csv_text(list(line.cells), [numbers])


def markdown(table: Table) -> str:
    """Return the table with a row for each set and the average first, as papers have
    it.
    """
    turned = []
    names = [" ".join(line.labels) for line in table.lines]
    turned.append(["", *names])
    for column in table.columns:
        cells = [
            tables.number(line.cells[column], digits=table.digits)
            for line in table.lines
        ]
        turned.append([tables.short(column), *cells])
    return f"{table.title}\n\n{tables.markdown_rows(turned, texts=1)}"


def write_logs(plan: Plan, folder: Path) -> None:
    """Write log.txt into the folder of each finished run: the lines that CoOp's
    parse_test_res.py reads.
    """
    for job in plan:
        file = folder / job.name / "results.json"
        if file.is_file():
            write_text(
                folder / job.name / "log.txt",
                parsed_lines(read_json(file), _trains(job)),
            )


def _trains(job: Job) -> bool:
    return job.settings["stage"] != "evaluation"
