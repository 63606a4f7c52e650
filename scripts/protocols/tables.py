"""From runs to the protocols' tables, with published values, tests and files."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scripts.jobs.plan import Plan
from scripts.study import comparisons, plots, tables
from scripts.study.items import Row
from scripts.study.tables import AVERAGE, Cell, Line, Table, line_cells
from toolkit.common.files import write_text
from toolkit.common.structured import read_json, read_yaml
from toolkit.common.text import csv_text, markdown_table
from trainers.engine.results import parsed_lines

from .planner import Results, Runs
from .suite import Suite

# (protocol, method, label) -> percent on average
Published = dict[tuple[str, str, str], float]
Scores = dict[int, dict[str, float]]  # seed -> task -> percent

PUBLISHED = Path(__file__).with_name("published.yaml")
ZERO_SHOT = "zero-shot CLIP"
TITLES = {
    "base2new": "Base-to-new generalisation",
    "crossdataset": "Cross-dataset transfer",
    "domain": "Domain generalisation",
    "fewshot": "Few-shot classification",
}
# protocol -> the second column of labels
LABELS = {"base2new": "classes", "fewshot": "shots"}


def harmonic_mean(base: float, new: float) -> float:
    """Return H = 2bn / (b + n), 0 if both are."""
    if base + new == 0:
        return 0.0
    return 2 * base * new / (base + new)


def averaged_tasks(suite: Suite, protocol: str) -> tuple[str, ...]:
    """Return the sets that a protocol's average is over."""
    sets = {"crossdataset": suite.others, "domain": suite.shifts}
    return sets.get(protocol, suite.sets)


def build(suite: Suite, results: Results, folder: Path, published: Published) -> Table:
    """Return a protocol's table; runs that are not below `folder` leave gaps."""
    protocol = results.protocol
    averaged = averaged_tasks(suite, protocol)
    columns = averaged
    if suite.largest not in averaged:  # the set that is trained on
        columns = (suite.largest, *averaged)
    lines = []
    for (method, label), by_seed in read_scores(results, folder).items():
        labels = (method, label) if label else (method,)
        values = by_seed
        if method == ZERO_SHOT:  # nothing of it depends on the seed
            values = dict(list(by_seed.items())[:1])
        lines.append(Line(labels, line_cells(values, columns, averaged), by_seed))
    if protocol == "base2new":
        lines = with_harmonic_means(lines)
    for line in lines:
        method, label = (*line.labels, "")[:2]
        paper = published.get((protocol, method, label))
        line.cells[AVERAGE] = replace(line.cells[AVERAGE], paper=paper)
    names = ("method", LABELS[protocol]) if protocol in LABELS else ("method",)
    about = (protocol, TITLES[protocol], names, (AVERAGE, *columns))
    return Table(*about, lines, digits=2, averaged=len(averaged))


def read_scores(results: Results, folder: Path) -> dict[tuple[str, str], Scores]:
    """Return (method, label) -> seed -> task -> percent. Plain CLIP comes first, from
    the records of the first method that has its score.
    """
    _, first = next(iter(results.runs))
    is_fewshot = results.protocol == "fewshot"  # the same at each number of shots
    scores: dict[tuple[str, str], Scores] = {}
    for (_, label), runs in results.runs.items():
        if is_fewshot and label != first:
            continue
        key = (ZERO_SHOT, "0" if is_fewshot else label)
        by_seed = scores.setdefault(key, {})
        for seed, by_task in _read(runs, folder, "zero_shot").items():
            by_seed[seed] = by_task | by_seed.get(seed, {})
    for key, runs in results.runs.items():
        scores[key] = _read(runs, folder, "score")
    return scores


def _read(runs: Runs, folder: Path, column: str) -> Scores:
    """Return seed -> task -> percent of the runs that are there."""
    candidates = {cell: (name,) for cell, name in runs.items()}
    row = Row((), candidates, column)
    return tables.read_line(row, folder).scores


def with_harmonic_means(lines: Sequence[Line]) -> list[Line]:
    """Return the lines with one of harmonic means, H, after each "new"."""
    found = []
    for line in lines:
        found.append(line)
        method, label = line.labels
        if label == "base":
            base = line
        if label == "new":
            cells = {}
            for column, cell in line.cells.items():
                cells[column] = _harmonic_cell(base.cells[column], cell)
            found.append(Line((method, "H"), cells, _harmonic_scores(base, line)))
    return found


def _harmonic_cell(base: Cell, new: Cell) -> Cell:
    """Return H of the means, as papers have it; its deviation is of H over seeds."""
    if not base.values or len(base.values) != len(new.values):
        return Cell()
    by_seed = tuple(map(harmonic_mean, base.values, new.values))
    return Cell(by_seed, stated_mean=harmonic_mean(base.mean, new.mean))


def _harmonic_scores(base: Line, new: Line) -> Scores:
    scores: Scores = {}
    for seed in sorted(base.scores.keys() & new.scores.keys()):
        one, other = base.scores[seed], new.scores[seed]
        tasks = [task for task in one if task in other]
        scores[seed] = {task: harmonic_mean(one[task], other[task]) for task in tasks}
    return scores


def compare_methods(table: Table, averaged: Sequence[str]) -> list[dict]:
    """Return paired tests of every two methods with the same second label."""
    by_label: dict[str, list[Line]] = defaultdict(list)
    for line in table.lines:
        scores = {}
        for seed, by_task in line.scores.items():
            scores[seed] = {task: by_task[task] for task in averaged if task in by_task}
        label = line.labels[1] if len(line.labels) > 1 else ""
        by_label[label].append(Line(line.labels, {}, scores))
    found = []
    for label, lines in by_label.items():
        question = table.title
        if label:
            question += f", {table.label_names[1]} {label}"
        for first, second in itertools.combinations(lines, 2):
            names = (second.labels[0], first.labels[0])
            found.append(comparisons.compare(question, second, first, names))
    return list(filter(None, found))


def published_values(suite: str, backbone: str) -> Published:
    """Return the published averages of CoOp's suite on ViT-B/16 (OpenAI), 16 shots,
    three seeds; {} for another suite or backbone.
    """
    if (suite, backbone) != ("coop", "ViT-B/16"):
        return {}
    found: Published = {}
    for protocol, by_method in read_yaml(PUBLISHED).items():
        for method, averages in by_method.items():
            for label, percent in averages.items():
                found[protocol, method, str(label)] = percent
    return found


def write_all(suite: Suite, planned: Sequence[Results], folder: Path) -> list[Table]:
    """Write the protocols' files in `folder`/tables, and return the tables."""
    out = folder / "tables"
    published = published_values(suite.name, suite.backbone)
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
    names = [" ".join(line.labels) for line in table.lines]
    rows = [["", *names]]
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
