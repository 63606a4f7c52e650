"""The runs of a plan file as jobs, and as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence

from datasets import task_name
from scripts.jobs.plan import Plan
from scripts.study.items import Item, Row
from scripts.study.planner import Planner, digest
from scripts.study.protocol import Protocol

from .plan_file import Entry

LABELS = ("runs", "method", "shots")


def plan_entries(entries: Sequence[Entry]) -> tuple[Plan, list[Item]]:
    """One plan of all runs, where what several entries want is once; and a table for each backbone and set of targets."""
    plan, items = Plan(), {}
    for entry in entries:
        planner, targets = _planner(entry, plan), tuple(map(task_name, entry.targets))
        item = items.setdefault((entry.backbone, targets), Item(entry.backbone, "", LABELS, targets))
        for method in entry.methods:
            for shots in entry.shots:
                item.rows.append(Row((entry.name, method, str(shots)), _cells(planner, entry, method, shots)))
    for item in items.values():
        item.rows.insert(0, Row(("", "zero-shot", "0"), item.rows[0].runs, "zero_shot"))
    return plan, list(items.values())


def _planner(entry: Entry, plan: Plan) -> Planner:
    protocol = Protocol("", entry.backbone, (), "", (), (), entry.seeds, {}, entry.options, {})
    plain = entry.backbone == "pocket" and not entry.options
    return Planner(protocol, plan, "" if plain else digest(entry.backbone, *sorted(entry.options.items())))


def _cells(planner: Planner, entry: Entry, method: str, shots: int) -> dict[tuple[int, str], tuple[str, ...]]:
    cells = {}
    for seed in entry.seeds:
        start = planner.source(method, shots, seed, entry.sources) if method[0] == "M" else ""
        for target in entry.targets:
            cells[seed, task_name(target)] = (planner.adapt(method, shots, seed, target, start),)
    return cells
