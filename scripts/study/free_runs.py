"""The free runs of a plan file as jobs, and their results over seeds."""

import itertools
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import datasets
from scripts.jobs.plan import Plan
from toolkit.common.files import write_text
from toolkit.common.structured import read_json, write_json
from toolkit.common.text import csv_text
from trainers.engine.config_values import flatten

from . import methods, tables, work
from .items import Item, Row, Runs
from .plan_file import Entry
from .planner import Planner, digest
from .protocol import Protocol

log = logging.getLogger(__name__)

BEST = "best by validation"


def plan_entries(entries: Sequence[Entry]) -> tuple[Plan, list[Item]]:
    """Return one plan of all runs, and a table for each backbone and set of targets. If
    an entry has a grid of options, tables have a row for each setting, and one that
    takes for each target and seed the setting with the best validation score.
    """
    plan = Plan()
    items: dict[tuple, Item] = {}
    grids = [expand(entry) for entry in entries]
    has_grid = any(len(grid) > 1 for grid in grids)
    labels: tuple[str, ...] = ("runs", "method", "shots")
    if has_grid:
        labels += ("setting",)
    for entry, grid in zip(entries, grids, strict=True):
        targets = tuple(map(datasets.task_name, entry.targets))
        empty = Item(entry.backbone, "", labels, targets)
        item = items.setdefault((entry.backbone, targets), empty)
        for method, shots in itertools.product(entry.methods, entry.shots):
            item.rows += _rows(plan, entry, grid, method, shots)
    for item in items.values():
        item.add_zero_shot("", "zero-shot", "0", "")
        if not has_grid:
            item.rows = [replace(row, labels=row.labels[:-1]) for row in item.rows]
    return plan, list(items.values())


def expand(entry: Entry) -> dict[str, dict]:
    """Return the settings of an entry's grid: name -> options; without one, "" alone. A
    key whose value in the recipe is a list (OPTIM.STEPSIZE) is a grid only if its
    values are lists.
    """
    method, shots, seed = entry.methods[0], entry.shots[0], entry.seeds[0]
    cfg = work.resolved(method, shots, seed, entry.backbone, {})
    recipe = dict(flatten(cfg))
    varied = {}
    for key, value in entry.options.items():
        if not isinstance(value, list):
            continue
        takes_list = isinstance(recipe.get(key), list | tuple)
        if takes_list and not all(isinstance(one, list) for one in value):
            continue
        if not value:
            raise ValueError(f"{key} has no values")
        varied[key] = value
    settings = {}
    for values in itertools.product(*varied.values()):
        chosen = dict(zip(varied, values, strict=True))
        name = ", ".join(f"{key} {value}" for key, value in chosen.items())
        settings[name] = entry.options | chosen
    return settings


def _rows(plan: Plan, entry: Entry, grid: dict[str, dict], method: str, shots: int):
    """Return a row for each setting, and one that chooses by validation images."""
    labels = (entry.name, method, str(shots))
    rows = []
    candidates: Runs = {}
    is_chosen = len(grid) > 1
    for name, options in grid.items():
        if len(grid) > 1:
            cfg = work.resolved(method, shots, entry.seeds[0], entry.backbone, options)
            if cfg.DATASET.TRAIN_ON_VAL:
                is_chosen = False
            elif cfg.TEST.FINAL_MODEL != "best_val":
                options = options | {"TEST.VAL_SCORE": True}
        runs = _runs(plan, entry, options, method, shots)
        rows.append(Row((*labels, name), runs))
        for cell, names in runs.items():
            candidates[cell] = candidates.get(cell, ()) + names
    if is_chosen:
        rows.append(Row((*labels, BEST), candidates))
    elif len(grid) > 1:
        reason = "these images are trained on (DATASET.TRAIN_ON_VAL)"
        log.warning("%s: no setting is the best by validation, as %s", method, reason)
    return rows


def _runs(plan: Plan, entry: Entry, options: dict, method: str, shots: int) -> Runs:
    protocol = Protocol(backbone=entry.backbone, seeds=entry.seeds, options=options)
    label = ""
    if entry.backbone != "pocket" or options:
        label = digest(entry.backbone, *sorted(options.items()))
    planner = Planner(protocol, plan, label)
    runs = {}
    for seed in entry.seeds:
        start = ""
        if methods.is_multitask(method):
            start = planner.source(method, shots, seed, entry.sources)
        for target in entry.targets:
            name = planner.adapt(method, shots, seed, target, start)
            runs[seed, datasets.task_name(target)] = (name,)
            tasks = entry.evaluated_tasks or [target]
            for task, classes in itertools.product(tasks, entry.evaluated_classes):
                planner.evaluate(name, task, classes)
    return runs


def write_results(plan: Plan, items: Sequence[Item], folder: Path) -> None:
    """Write results.json, results.csv and results.md of the finished runs."""
    records = []
    for job in plan:
        path = folder / job.name / "results.json"
        if job.kind == "source" or not path.is_file():
            continue
        more: dict = {"run": job.name}
        start = job.settings["start"]
        if job.kind == "evaluation":
            more["from"] = start
            start = plan.jobs[start].settings["start"]
        more["sources"] = plan.jobs[start].settings["tasks"] if start else []
        more["options"] = job.settings["options"]
        records += [record | more for record in read_json(path)]
    write_json(folder / "results.json", records, indent=1)
    header = ["backbone", *items[0].label_names, "task", "mean", "std", "seeds"]
    rows, parts = [header], []
    for item in items:
        table = tables.build(item, folder, compare=False)
        parts.append(f"{table.name}\n\n{tables.markdown(table)}")
        for labels, task, cell in tables.cells(table):
            numbers = ["", ""]
            if cell.mean is not None:
                numbers = [f"{cell.mean:.4f}", f"{cell.std:.4f}"]
            seeds = len(cell.values)
            rows.append([table.name, *labels, task, *numbers, seeds])
    write_text(folder / "results.csv", csv_text(rows))
    write_text(folder / "results.md", "\n".join(parts))
