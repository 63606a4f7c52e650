"""The whole page: gathered once, put together, written whole."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from . import reproduce, sections
from .experiment import Experiment, Stage
from .findings import Findings, gather
from .markup import Html, tag

STYLE = Path(__file__).with_name("style.css")
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # nothing is loaded, no script runs


def build(runs: Sequence[Experiment], root: str = "", matrices: Sequence[Path] = ()) -> str:
    """The page of a run; of several, which differ in their seeds, the first one's with a table of all.

    Args:
        root: the folder of the data sets, for images and labels.
        matrices: CSV files of transfer matrices.
    """
    run = runs[0]
    changed = reproduce.changes(run.cfg)
    matrix = sections.transfer(matrices)  # a damaged one is found before the long work
    source = [(run.source, record) for record in run.source.records] if run.source else []
    with tqdm(total=len(run.records) + len(source), desc="report", unit="task", dynamic_ncols=True, leave=False) as bar:
        found = _gather(run.units(), root, bar)
        found_source = _gather(source, root, bar)
    parts = [
        sections.results(run, found),
        sections.gains(run, found),  # beside the results, where there is room
        sections.seeds(runs) if len(runs) > 1 else None,
        matrix,
        sections.curves(run),
        sections.tasks(run, found),
        sections.sources(run.source, found_source) if run.source else None,
        sections.configuration(run, changed),
        sections.reproduction(run, changed),
    ]
    return document(_title(runs), sections.summary(run), [part for part in parts if part])


def document(title: str, lead: Html, parts: Sequence[Html]) -> str:
    """A complete HTML document with a list of its sections."""
    heads = [re.search(r'id="([^"]*)"[^>]*><h2>(.*?)</h2>', part).groups() for part in parts]
    links = [tag("a", Html(name), href=f"#{key}") for key, name in heads]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Html(STYLE.read_text(encoding="utf-8"))),
    )
    body = tag(
        "body", tag("header", tag("h1", title), lead, tag("nav", links, aria_label="Sections")), tag("main", parts)
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n{head}\n{body}\n</html>\n'


def _gather(units: Sequence[tuple[Stage, dict]], root: str, bar: tqdm) -> dict[str, Findings]:
    found = {}
    for stage, record in units:
        found[record["task"]] = gather(stage, record, root)
        bar.update()
    return found


def _title(runs: Sequence[Experiment]) -> str:
    run = runs[0]
    tasks = run.tasks[0] if len(run.tasks) == 1 else f"{len(run.tasks)} tasks"
    seeds = f"seed {run.fact('seed')}" if len(runs) == 1 else f"{len(runs)} seeds"
    return f"{run.fact('trainer', 'Run')} on {tasks}, {run.fact('shots')} shots, {seeds}"
