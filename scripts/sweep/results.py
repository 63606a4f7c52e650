"""What a sweep writes: every run's record as JSON, mean and deviation over seeds as CSV and Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from scripts.jobs.plan import Plan
from scripts.study import tables
from scripts.study.items import Item
from trainers.engine import results

from .runs import LABELS


def write(plan: Plan, items: Sequence[Item], folder: Path) -> None:
    """results.json, results.csv and results.md in `folder`, of the runs that are there."""
    records = []
    for job in plan:
        path = folder / job.name / "results.json"
        if job.kind == "adaptation" and path.is_file():
            start = job.settings["start"]
            sources = plan.jobs[start].settings["tasks"] if start else []
            more = {"run": job.name, "sources": sources, "options": job.settings["options"]}
            records += [record | more for record in results.read_json(path)]
    built = [tables.build(item, folder, compare=False) for item in items]
    results.write_json(folder / "results.json", records)
    results.write_text(folder / "results.csv", _csv(built))
    results.write_text(folder / "results.md", "\n".join(f"{table.name}\n\n{tables.markdown(table)}" for table in built))


def _csv(built: Sequence[tables.Table]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["backbone", *LABELS, "task", "mean", "std", "seeds"])
    for table in built:
        for line in table.lines:
            for task, cell in line.cells.items():
                numbers = ["", ""] if cell.mean is None else [f"{cell.mean:.4f}", f"{cell.std:.4f}"]
                writer.writerow([table.name, *line.labels, task, *numbers, len(cell.values)])
    return text.getvalue()
