"""Build the page: gather everything, then fill the templates, which escape it."""

import re
import statistics
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import jinja2
import numpy as np
import yaml
from tqdm import tqdm

from elevater_eval.bootstrap import interval
from scripts.transfer.matrix import Matrix
from trainers.engine import results

from . import charts, reproduce, task_data
from .charts import Gain
from .experiment import Experiment
from .task_data import Findings, gather

TEMPLATES = Path(__file__).with_name("templates")
# of a task, and of all tasks together
FEWEST_MISTAKES, MOST_MISTAKES, ALL_MISTAKES = 8, 60, 240
COLUMNS = {"zero_shot": "zero-shot", "source": "source prompt"}
SECTIONS = {
    "results": "Results",
    "gains": "Scores",
    "seeds": "Seeds",
    "transfer": "Transfer",
    "curves": "Learning curves",
    "tasks": "Tasks",
    "sources": "Source tasks",
    "configuration": "Configuration",
    "reproduction": "How to reproduce",
}


def build(
    runs: Sequence[Experiment],
    root: str = "",
    matrices: Sequence[tuple[str, Matrix]] = (),
    with_zero_shot: bool = True,
) -> str:
    """Return the page of a run; of several, which differ in their seeds, the first
    one's with a table of all. root: of the data sets. matrices: (title, transfer
    matrix). with_zero_shot: show the classes' zero-shot scores, if they are known.
    """
    run = runs[0]
    units = run.units()
    if run.source:
        units += [(run.source, record) for record in run.source.records]
    found, found_source = {}, {}
    share = ALL_MISTAKES // len(units)
    most = max(FEWEST_MISTAKES, min(MOST_MISTAKES, share))
    bar = {"unit": "task", "dynamic_ncols": True, "leave": False}
    for stage, record in tqdm(units, "report", **bar):
        given = stage, record, root, most
        if stage is run.source:
            found_source[record["task"]] = gather(*given)
        else:
            found[record["task"]] = gather(*given, with_zero_shot)
    changed = reproduce.changes(run.cfg)
    panels, shared = _panels(run)
    # the scores beside the run's own that all tasks have
    columns = {key: name for key, name in COLUMNS.items() if run.scores(key)}
    means = {key: statistics.fmean(run.scores(key)) for key in ("score", *columns)}
    context = {
        "run": run,
        "runs": runs,
        "found": found,
        "found_source": found_source,
        "columns": columns,
        "mean": means,
        "mean_interval": _mean_interval(run, found),
        "gains": _gains(run, found),
        "below_zero_shot": results.below_zero_shot(run.records),
        "seeds": _seed_rows(runs),
        "matrices": matrices,
        "panels": panels,
        "shared": shared,
        "changed": changed,
        "command": reproduce.command(run, changed),
        "groups": reproduce.groups(run),
    }
    titles = dict(SECTIONS)
    if run.scores("zero_shot"):
        titles["gains"] = "Gains over zero-shot"
    is_empty = {
        "seeds": len(runs) == 1,
        "transfer": not matrices,
        "curves": not panels,
        "sources": not run.source,
    }
    sections = [item for item in titles.items() if not is_empty.get(item[0])]
    template = _environment().get_template("page.html.j2")
    page = template.render(context, sections=sections)
    # names of files may hold bytes that are no UTF-8
    return page.encode("utf-8", "replace").decode()


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        anchor=anchor,
        signed=signed,
        interval=interval,
        yaml=partial(yaml.safe_dump, sort_keys=False),
        setting=setting,
        number=lambda value, decimals=1: f"{value:.{decimals}f}",
    )
    environment.globals.update(
        style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
        charts=charts,
        task_data=task_data,
        reproduce=reproduce,
    )
    return environment


def _mean_interval(run: Experiment, found: dict[str, Findings]):
    scores = [found[task].scores for task in run.tasks]
    if any(values is None for values in scores):
        return None
    return interval(np.mean(scores, axis=0))


def _gains(run: Experiment, found: dict[str, Findings]) -> list[Gain]:
    has_zero_shot = bool(run.scores("zero_shot"))
    gains = []
    for record in run.records:
        scores = found[record["task"]].scores
        band = None if scores is None else interval(scores)
        zero_shot = record["zero_shot"] if has_zero_shot else None
        gains.append(Gain(record["task"], record["score"], zero_shot, band))
    return sorted(gains, key=Gain.rank)


def _seed_rows(
    runs: Sequence[Experiment],
):
    """Return (task, scores by seed, mean, deviation) rows, the tasks' mean last."""
    if len(runs) == 1:
        return []
    rows = []
    by_run = [dict(zip(run.tasks, run.scores(), strict=True)) for run in runs]
    for scores in by_run:
        scores["mean"] = statistics.fmean(scores.values())
    for name in [*runs[0].tasks, "mean"]:
        values = [scores[name] for scores in by_run]
        rows.append((name, values, statistics.fmean(values), statistics.stdev(values)))
    return rows


def _panels(run: Experiment) -> tuple[list[charts.Panel], list[charts.Panel]]:
    panels, shared = [], []
    stages = list(run.stages)
    if run.source:
        stages.insert(0, run.source)
    for stage in stages:
        title = f"{len(stage.records)} tasks together"
        if stage is run.source:
            title = "source tasks"
        elif len(stage.records) == 1:
            title = stage.records[0]["task"]
        of_stage, of_tasks = charts.panels_of(stage, title)
        panels += of_stage
        shared += of_tasks
    return panels, shared


def anchor(name: str, prefix: str = "task-") -> str:
    """Return an id for a name."""
    odd = re.compile("[^A-Za-z0-9-]")
    return prefix + odd.sub(lambda match: f"_{ord(match[0]):x}_", name)


def signed(value: float) -> tuple[str, str]:
    """Return (class, text) of a difference with its sign."""
    if value >= 0.05:
        return "up", f"+{value:.1f}"
    if value <= -0.05:
        return "down", f"\N{MINUS SIGN}{-value:.1f}"
    return "same", "±0.0"


def setting(value: object) -> str:
    """Return the value of a setting in one line, which may be broken at commas."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10**6)
    text = text.removesuffix("\n...\n").strip()
    if isinstance(value, str):
        return text.replace(",", ", ")
    return text
