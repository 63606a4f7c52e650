"""Paired tests of whether rows of a table differ over the same tasks and seeds."""

import statistics
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from elevater_eval.bootstrap import mean_interval
from toolkit.common.files import write_text
from toolkit.common.structured import write_json
from toolkit.common.text import counted, markdown_table

from . import methods
from .tables import Line, Table

Labels = tuple[str, ...]

PAPER_MULTITASK = ("MVPT", "MUPT")
POINT = 1.0
TABLE2_QUESTIONS = {
    "-": "adaptation in groups, no source prompt",
    "M": "source prompt and groups",
}
TABLE3_PAIRS = {
    "best groups": ("S", "worst groups"),
    "best 1": ("worst 1",),
    "best 2": ("worst 2",),
}


def compare(
    question: str, first: Line, second: Line, names: tuple[str, str]
) -> dict | None:
    """Return `first` minus `second`, in percent points, over their common seeds and
    tasks, which are the units; None without any. low, high: 95 % bootstrap interval
    over tasks. wilcoxon: two-sided p of the signed-rank test; 1 if all differences are
    0. wins, losses: tasks on which the first is better, or more than a point worse.
    """
    seeds = sorted(first.scores.keys() & second.scores.keys())
    over_seeds: dict[str, list[float]] = defaultdict(list)
    for seed in seeds:
        one, other = first.scores[seed], second.scores[seed]
        for task in one.keys() & other.keys():
            over_seeds[task].append(one[task] - other[task])
    tasks = [task for task in sorted(over_seeds) if len(over_seeds[task]) == len(seeds)]
    if not tasks:
        return None
    means = [statistics.fmean(over_seeds[task]) for task in tasks]
    differences = np.array(means)
    low, high = mean_interval(differences)
    return {
        "question": question,
        "first": names[0],
        "second": names[1],
        "difference": float(differences.mean()),
        "low": low,
        "high": high,
        "wilcoxon": signed_rank(differences),
        "wins": int((differences > 0).sum()),
        "losses": int((differences < -POINT).sum()),
        "tasks": len(tasks),
        "seeds": len(seeds),
    }


def signed_rank(differences: np.ndarray) -> float:
    """Return Wilcoxon's two-sided signed-rank p of (T,) differences but for zeros."""
    differences = differences[np.abs(differences) > 1e-9]
    if not len(differences):
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few tasks, or ties: the p is then approximate
        return float(stats.wilcoxon(differences).pvalue)


def of_tables(tables: Sequence[Table]) -> list[dict]:
    """Return the comparisons that the paper's tables among these allow."""
    found = []
    for table in tables:
        for question, first, second in _questions(table):
            lines = table.line(*first), table.line(*second)
            names = " ".join(first), " ".join(second)
            if table.name == "table1":  # the question names the shots
                names = first[1], second[1]
            if all(lines):
                found.append(compare(question, *lines, names))
    return list(filter(None, found))


def _questions(table: Table) -> Iterator[tuple[str, Labels, Labels]]:
    """Yield (question, labels of two lines) for a table of the paper."""
    lines = [line.labels for line in table.lines]
    groups = [labels[0] for labels in lines]
    for labels in sorted(lines, key=lambda labels: groups.index(labels[0])):
        if table.name == "table1":
            yield from _table1_questions(*labels)
        if table.name == "table2":
            method, source, _ = labels
            yield TABLE2_QUESTIONS[source], labels, (_single_form(method), "-", "S")
        if table.name == "table3":
            method, groups = labels
            for other in TABLE3_PAIRS.get(groups, ()):
                yield "grouping", labels, (method, other)


def _table1_questions(shots: str, method: str) -> Iterator[tuple[str, Labels, Labels]]:
    """Yield if a source prompt helps, or beats the paper's methods and zero-shot."""
    labels = (shots, method)
    single = _single_form(method)
    yield f"a source prompt first, {counted(shots, 'shot')}", labels, (shots, single)
    if single and method not in methods.PAPER:
        for other in PAPER_MULTITASK:
            yield f"beside {other}, {counted(shots, 'shot')}", labels, (shots, other)
    if shots != "0":
        yield f"beside zero-shot, {counted(shots, 'shot')}", labels, ("0", "zero-shot")


def _single_form(method: str) -> str:
    """Return the single-task form of a multitask method, "" for all other names."""
    if method in methods.known() and methods.is_multitask(method):
        return methods.single_form(method)
    return ""


def markdown(comparisons: Sequence[dict]) -> str:
    """Return the comparisons as a table."""
    heads = "question|first − second|difference|95 % interval|Wilcoxon p|better on|a point worse on"
    rows = [heads.split("|")]
    for c in comparisons:
        names = [c["question"], f"{c['first']} − {c['second']}"]
        interval = f"{c['low']:+.2f} to {c['high']:+.2f}"
        numbers = [f"{c['difference']:+.2f}", interval, f"{c['wilcoxon']:.3f}"]
        wins = f"{c['wins']} of {c['tasks']}"
        rows.append([*names, *numbers, wins, c["losses"]])
    return markdown_table(rows, "llrrrrr")


def write(comparisons: Sequence[dict], out: Path) -> None:
    """Write the comparisons as JSON and Markdown."""
    write_json(out / "comparisons.json", comparisons, indent=1)
    text = "Paired tests need two methods.\n"
    if comparisons:
        text = markdown(comparisons)
    write_text(out / "comparisons.md", text)
