"""Paired tests: does a row of a table differ from another over the same tasks and seeds?"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from elevater_eval.bootstrap import mean_interval

from . import methods
from .tables import Line, Table, markdown_rows


@dataclass(frozen=True)
class Comparison:
    """`first` minus `second`, in percent points; tasks are the units, each with its mean over seeds.

    Attributes:
        low, high: 95 % bootstrap interval of the mean difference, tasks drawn with replacement.
        wilcoxon: two-sided p of the signed-rank test over tasks; 1 where all differences are 0.
        wins: tasks on which the first is better; `tasks` is their number.
    """

    question: str
    first: str
    second: str
    difference: float
    low: float
    high: float
    wilcoxon: float
    wins: int
    tasks: int
    seeds: int


def compare(question: str, first: Line, second: Line, names: tuple[str, str]) -> Comparison | None:
    """Return the comparison of two lines over the seeds and tasks that both have; None without any."""
    seeds = sorted(first.scores.keys() & second.scores.keys())
    tasks = sorted(_common_tasks(first, second, seeds))
    if not tasks:
        return None
    means = []
    for task in tasks:
        means.append(statistics.fmean(first.scores[seed][task] - second.scores[seed][task] for seed in seeds))
    differences = np.array(means)
    low, high = mean_interval(differences)
    return Comparison(
        question=question,
        first=names[0],
        second=names[1],
        difference=float(differences.mean()),
        low=low,
        high=high,
        wilcoxon=signed_rank(differences),
        wins=int((differences > 0).sum()),
        tasks=len(tasks),
        seeds=len(seeds),
    )


def _common_tasks(first: Line, second: Line, seeds: Sequence[int]) -> set[str]:
    """Return the tasks that both lines have for all these seeds; none without seeds."""
    sets = []
    for seed in seeds:
        sets += [set(first.scores[seed]), set(second.scores[seed])]
    return set.intersection(*sets) if sets else set()


def signed_rank(differences: np.ndarray) -> float:
    """Return the two-sided p of Wilcoxon's signed-rank test on (T,) differences; zeros are left out."""
    differences = differences[np.abs(differences) > 1e-9]
    if not len(differences):
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few tasks, or ties: the p is then approximate
        return float(stats.wilcoxon(differences).pvalue)


def of_tables(tables: Sequence[Table]) -> list[Comparison]:
    """Return the comparisons that the paper's tables among these allow."""
    found = []
    for table in tables:
        for question, first, second, names in _questions(table):
            lines = table.line(*first), table.line(*second)
            if all(lines):
                found.append(compare(question, *lines, names))
    return [comparison for comparison in found if comparison]


def _questions(table: Table) -> Iterator[tuple[str, tuple[str, ...], tuple[str, ...], tuple[str, str]]]:
    """Yield (question, labels of the first line, labels of the second, their names) for a table of the paper."""
    if table.name == "table1":
        for shots, method in [line.labels for line in table.lines]:
            single = _single_form(method)
            if single:
                yield f"a source prompt first, {shots} shots", (shots, method), (shots, single), (method, single)
    if table.name == "table2":
        for method in dict.fromkeys(line.labels[0] for line in table.lines):
            alone = (_single_form(method), "-", "S")
            for source, question in (("-", "adaptation in groups, no source prompt"), ("M", "source prompt and groups")):
                grouped = (method, source, "M")
                yield question, grouped, alone, (" ".join(grouped), " ".join(alone))
    if table.name == "table3":
        pairs = [("best groups", "S"), ("best groups", "worst groups"), ("best 1", "worst 1"), ("best 2", "worst 2")]
        for method in dict.fromkeys(line.labels[0] for line in table.lines):
            for first, second in pairs:
                names = (f"{method} {first}", f"{method} {second}")
                yield "grouping", (method, first), (method, second), names


def _single_form(method: str) -> str:
    """Return the single-task form of a multitask method, "" for all other names."""
    if method in methods.known() and methods.is_multitask(method):
        return methods.single_form(method)
    return ""


def markdown(comparisons: Sequence[Comparison]) -> str:
    """Return the comparisons as a table."""
    rows = [["question", "first − second", "difference", "95 % interval", "Wilcoxon p", "better on"]]
    for c in comparisons:
        interval = f"{c.low:+.2f} to {c.high:+.2f}"
        names = f"{c.first} − {c.second}"
        wins = f"{c.wins} of {c.tasks}"
        rows.append([c.question, names, f"{c.difference:+.2f}", interval, f"{c.wilcoxon:.3f}", wins])
    return markdown_rows(rows, ["---"] * 2 + ["---:"] * 4)
