"""Two submissions side by side: the difference on each task and on average, with paired tests over the test images."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from elevater_eval import bootstrap, metrics
from elevater_eval.labels import Labels
from elevater_eval.merging import one_experiment
from elevater_eval.problems import ERROR, InvalidSubmissionError, Problem, errors_of
from elevater_eval.reading import Sources
from elevater_eval.scoring import judged_entries, suite_means
from elevater_eval.tasks import TaskInfo, load_tasks

RESAMPLES = 1000
MCNEMAR, SIGN_FLIPS, BOOTSTRAP = "McNemar, exact", "sign flips, exact", "bootstrap"
SMALLEST_P = 1e-50  # an exact p-value below is given as this one


@dataclass(frozen=True)
class _Side:
    """What a comparison needs of one task of one submission."""

    model_name: str
    labels: Labels
    scores: dict[int, float]  # by seed
    evidence: dict[int, np.ndarray]  # by seed: hits (N,) of a mean of hits, otherwise the fold (N, C)


def compare(
    first: Sources,
    second: Sources,
    root: str | Path,
    *,
    only: Collection[str] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    tasks: Mapping[str, TaskInfo] | None = None,
) -> dict[str, Any]:
    """Compare two submissions (whatever ``score`` takes) on the tasks and seeds that both have.

    Returns ``{"a", "b", "resamples", "seed", "tasks", "suites", "absent"}``. Each task has both scores (means over the
    common seeds), their ``difference`` b - a, its 95 % bootstrap interval ``low``, ``high``, and the two-sided ``p`` of
    ``test``: for accuracy exact McNemar, and with several seeds its extension, which flips the signs of all seeds of an
    image together; otherwise a paired bootstrap over images, the seeds of an image together. Each suite has the same
    of the mean over its tasks, images drawn within each task. ``absent`` names what one side lacks. Scores are
    fractions; no p-value is corrected for the number of tasks. Equal ``seed`` and ``resamples`` give equal results.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be 1 or more, got {resamples}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    tasks = load_tasks() if tasks is None else tasks
    sides = [_read(source, root, only, tasks) for source in (first, second)]
    absent, common = _pairs(*sides)
    if not common:
        raise ValueError("no task has a seed that is in both submissions")
    records, draws = [], {}
    for name in tqdm(common, desc="compare", unit="task", leave=False, dynamic_ncols=True, disable=None, delay=1):
        rng = bootstrap.task_generator(name, seed)
        record, draws[name] = _compared(tasks[name], sides[0][name], sides[1][name], resamples, rng)
        records.append(record)
    return {
        "a": next(iter(sides[0].values())).model_name,
        "b": next(iter(sides[1].values())).model_name,
        "resamples": resamples,
        "seed": seed,
        "tasks": records,
        "suites": _suites(records, draws, tasks),
        "absent": absent,
    }


def _read(
    source: Sources, root: str | Path, only: Collection[str] | None, tasks: Mapping[str, TaskInfo]
) -> dict[str, _Side]:
    sides, outlines, problems = {}, [], []
    for entry, labels, found in judged_entries(source, root, only, tasks):
        problems += found
        if entry is None or labels is None or errors_of(found):
            continue
        outlines.append(entry.outline())
        metric = tasks[entry.dataset_name].metric
        folds = dict(zip(entry.rnd_seeds, entry.predictions, strict=True))
        try:
            scores = {seed: metrics.compute(metric, labels.targets, fold) for seed, fold in folds.items()}
        except ValueError as error:
            problems.append(Problem(ERROR, entry.where(), str(error)))
            continue
        evidence = {seed: _evidence(metric, labels.targets, fold) for seed, fold in folds.items()}
        sides[entry.dataset_name] = _Side(entry.model_name, labels, scores, evidence)
    problems += one_experiment(outlines)
    if errors_of(problems):
        raise InvalidSubmissionError(errors_of(problems))
    return sides


def _evidence(metric: str, targets: np.ndarray, fold: np.ndarray) -> np.ndarray:
    if metric == "accuracy":
        return fold.argmax(axis=1) == targets
    if metric == "mean-per-class":
        present, position = np.unique(targets, return_inverse=True)
        return fold[:, present].argmax(axis=1) == position
    return fold


def _pairs(first: dict[str, _Side], second: dict[str, _Side]) -> tuple[list[str], list[str]]:
    """What only one side has, in words, and the names of tasks that share a seed."""
    absent, common = [], []
    for name in sorted(first.keys() | second.keys()):
        if name not in first or name not in second:
            absent.append(f"{name} is only in {'A' if name in first else 'B'}")
            continue
        mine, theirs = first[name].scores.keys(), second[name].scores.keys()
        absent += [f"{name}, seed {seed} is only in {'A' if seed in mine else 'B'}" for seed in sorted(mine ^ theirs)]
        common += [name] if mine & theirs else []
    return absent, common


def _compared(
    task: TaskInfo, a: _Side, b: _Side, resamples: int, rng: np.random.Generator
) -> tuple[dict[str, Any], np.ndarray]:
    seeds, targets = sorted(a.scores.keys() & b.scores.keys()), a.labels.targets
    if task.metric in ("accuracy", "mean-per-class"):
        hits = sum(b.evidence[seed].astype(np.int64) - a.evidence[seed] for seed in seeds)
        groups = targets if task.metric == "mean-per-class" else np.zeros_like(targets)
        draws = bootstrap.resample_means(hits, groups, resamples, rng) / len(seeds)
    else:
        statistics = [[bootstrap.statistic_of(task.metric, targets, side.evidence[seed]) for seed in seeds] for side in (a, b)]
        draws = bootstrap.resample(_difference(*statistics), len(targets), resamples, rng)
    if task.metric == "accuracy":
        test, p = MCNEMAR if len(seeds) == 1 else SIGN_FLIPS, sign_flip_p(hits)
    else:
        test, p = BOOTSTRAP, bootstrap.p_value(draws)
    scores = [float(np.mean([side.scores[seed] for seed in seeds])) for side in (a, b)]
    low, high = bootstrap.interval(draws)
    return {
        "task": task.name,
        "suite": task.suite,
        "metric": task.metric,
        "images": len(targets),
        "seeds": seeds,
        "a": scores[0],
        "b": scores[1],
        "difference": scores[1] - scores[0],
        "low": low,
        "high": high,
        "p": p,
        "test": test,
    }, draws


def _difference(first: list[bootstrap.Statistic], second: list[bootstrap.Statistic]) -> bootstrap.Statistic:
    """Return the mean of the second statistics less that of the first."""

    def statistic(counts: np.ndarray) -> float:
        return float(np.mean([of(counts) for of in second]) - np.mean([of(counts) for of in first]))

    return statistic


def sign_flip_p(differences: np.ndarray) -> float:
    """Return the exact two-sided p-value of integers (N,) under the hypothesis that each is as likely as its negative.

    With differences of -1, 0 and 1, as from one seed, this is McNemar's exact test.
    """
    from scipy.stats import binom

    total = abs(int(differences.sum()))
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    chances = np.ones(1)  # of the sums -h..h; the sum 0 is in the middle
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        steps = binom.pmf(np.arange(count + 1), count, 0.5)
        steps = steps[np.minimum(steps, steps[::-1]) > SMALLEST_P * 1e-10]  # the tails change no p-value above it
        spread = np.zeros(2 * size * (len(steps) - 1) + 1)
        spread[:: 2 * size] = steps
        chances = np.convolve(chances, spread)
    sums = np.abs(np.arange(len(chances)) - len(chances) // 2)
    p = float(chances[sums >= total].sum())
    return min(1.0, max(SMALLEST_P, p))


def _suites(
    records: list[dict[str, Any]], draws: Mapping[str, np.ndarray], tasks: Mapping[str, TaskInfo]
) -> list[dict[str, Any]]:
    means = [suite_means([{**record, "score": record[side]} for record in records], tasks) for side in "ab"]
    suites = []
    for a, b in zip(*means, strict=True):
        if a["score"] is None:
            continue
        counted = [r["task"] for r in records if r["suite"] == a["suite"] and not tasks[r["task"]].reference]
        values = np.mean([draws[name] for name in counted], axis=0)
        low, high = bootstrap.interval(values)
        found = {"a": a["score"], "b": b["score"], "difference": b["score"] - a["score"], "low": low, "high": high}
        suites.append(
            {"suite": a["suite"], "tasks": a["tasks"], "of": a["of"], **found}
            | {"p": bootstrap.p_value(values), "test": BOOTSTRAP}
        )
    return suites
