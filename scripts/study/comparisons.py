"""Paired tests: does a row of a table differ from another over the same tasks and seeds?"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy import stats

from elevater_eval.bootstrap import mean_interval

from .tables import Line, Table


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
    """The comparison of two lines over the seeds and tasks that both have; None without any."""
    seeds = sorted(first.scores.keys() & second.scores.keys())
    if not seeds:
        return None
    tasks = set.intersection(*({*line.scores[seed]} for line in (first, second) for seed in seeds))
    if not tasks:
        return None
    differences = np.array(
        [statistics.fmean(first.scores[s][task] - second.scores[s][task] for s in seeds) for task in sorted(tasks)]
    )
    low, high = mean_interval(differences)
    return Comparison(
        question, *names, float(differences.mean()), low, high, signed_rank(differences), int((differences > 0).sum()),
        len(tasks), len(seeds),
    )  # fmt: skip


def signed_rank(differences: np.ndarray) -> float:
    """Two-sided p of Wilcoxon's signed-rank test on (T,) differences; zeros are left out."""
    differences = differences[np.abs(differences) > 1e-9]
    if not len(differences):
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few tasks, or ties: the p is then approximate
        return float(stats.wilcoxon(differences).pvalue)


def of_tables(tables: Sequence[Table]) -> list[Comparison]:
    """What the tables that are there can answer."""
    found: list[Comparison | None] = []
    for table in tables:
        if table.name == "table1":
            for shots in dict.fromkeys(line.labels[0] for line in table.lines):
                for single in ("CoOp", "VPT", "UPT"):
                    question = f"a source prompt first, {shots} shots"
                    found.append(
                        _pair(table, question, (shots, f"M{single}"), (shots, single), names=(f"M{single}", single))
                    )
        if table.name == "table2":
            for single in ("CoOp", "VPT", "UPT"):
                rows = (single, "-", "S"), (f"M{single}", "-", "M"), (f"M{single}", "M", "M")
                found.append(_pair(table, "adaptation in groups, no source prompt", rows[1], rows[0]))
                found.append(_pair(table, "source prompt and groups", rows[2], rows[0]))
        if table.name == "table3":
            for method in ("MCoOp", "MVPT", "MUPT"):
                for first, second in (
                    ("best groups", "S"),
                    ("best groups", "worst groups"),
                    ("best 1", "worst 1"),
                    ("best 2", "worst 2"),
                ):
                    found.append(_pair(table, "grouping", (method, first), (method, second)))
    return [comparison for comparison in found if comparison]


def _pair(table: Table, question: str, first: tuple, second: tuple, names: tuple | None = None) -> Comparison | None:
    lines = table.line(*first), table.line(*second)
    names = names or (" ".join(first), " ".join(second))
    return compare(question, *lines, names) if all(lines) else None


def markdown(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as a table."""
    lines = [
        "| question | first − second | difference | 95 % interval | Wilcoxon p | better on |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for c in comparisons:
        lines.append(
            f"| {c.question} | {c.first} − {c.second} | {c.difference:+.2f} | {c.low:+.2f} to {c.high:+.2f} "
            f"| {c.wilcoxon:.3f} | {c.wins} of {c.tasks} |"
        )
    return "\n".join(lines) + "\n"


def plain(comparisons: Sequence[Comparison]) -> list[dict]:
    """As JSON data."""
    return [asdict(comparison) for comparison in comparisons]
