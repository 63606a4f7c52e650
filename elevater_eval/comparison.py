"""Two submissions side by side: the difference on each task and on average, with paired
tests over the test images.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from elevater_eval import bootstrap, metrics
from elevater_eval.entry import Record
from elevater_eval.issues import error, errors_of, raise_errors
from elevater_eval.labels import Labels
from elevater_eval.merging import one_experiment
from elevater_eval.reading import BAR, Only, Sources
from elevater_eval.scoring import entries_with_labels, suite_means
from elevater_eval.tasks import Root, TaskInfo, Tasks, load_tasks, members

RESAMPLES = 1000
MCNEMAR, SIGN_FLIPS, BOOTSTRAP = "McNemar, exact", "sign flips, exact", "bootstrap"
SMALLEST_P = 1e-50  # an exact p-value below is given as this one


@dataclass(frozen=True)
class _Side:
    """The parts of one task of one submission that a comparison needs."""

    model_name: str
    labels: Labels
    scores: dict[int, float]  # by seed
    # by seed: hits (N,) if the metric is a mean of hits, otherwise the fold (N, C)
    evidence: dict[int, np.ndarray]

    def mean_score(self, seeds: list[int]) -> float:
        return float(np.mean([self.scores[seed] for seed in seeds]))


def compare(
    first: Sources,
    second: Sources,
    root: Root,
    *,
    only: Only = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    tasks: Tasks | None = None,
) -> Record:
    """Compare two submissions (all that `score` takes) on their common tasks and seeds.

    Returns ``{"a", "b", "resamples", "seed", "tasks", "suites", "absent"}``. Each task
    has both scores (means over seeds, fractions), their ``difference`` b - a, its 95 %
    bootstrap interval ``low``, ``high``, and the two-sided ``p`` of ``test``, not
    corrected: for accuracy exact McNemar, with several seeds its extension, which flips
    the signs of all seeds of an image together; otherwise a paired bootstrap over
    images, the seeds of one together. A suite has the same of the mean over its tasks.
    ``absent`` names tasks and seeds of one side. Equal ``seed`` and ``resamples`` give
    equal results.
    """
    if resamples < 1:
        raise ValueError(f"resamples must be 1 or more, got {resamples}")
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    tasks = load_tasks() if tasks is None else tasks
    a = _read(first, root, only, tasks)
    b = _read(second, root, only, tasks)
    absent, common = _pairs(a, b)
    if not common:
        raise ValueError("no task has a seed that is in both submissions")
    records, resampled = [], {}
    for name in tqdm(common, desc="compare", unit="task", **BAR):
        rng = bootstrap.task_generator(name, seed)
        compared = _compare_task(tasks[name], a[name], b[name], resamples, rng)
        records.append(compared[0])
        resampled[name] = compared[1]
    return {
        "a": next(iter(a.values())).model_name,
        "b": next(iter(b.values())).model_name,
        "resamples": resamples,
        "seed": seed,
        "tasks": records,
        "suites": _suites(records, resampled, tasks),
        "absent": absent,
    }


def _read(source: Sources, root: Root, only: Only, tasks: Tasks) -> dict[str, _Side]:
    sides, outlines, issues = {}, [], []
    for entry, labels, found in entries_with_labels(source, root, only, tasks):
        issues += found
        if entry is None or labels is None or errors_of(found):
            continue
        outlines.append(entry.outline())
        task = tasks[entry.dataset_name]
        scores, evidence = {}, {}
        try:
            for seed, fold in zip(entry.rnd_seeds, entry.predictions, strict=True):
                scores[seed] = metrics.compute(task.metric, labels.targets, fold)
                if task.metric == "accuracy":
                    fold = fold.argmax(axis=1) == labels.targets
                elif task.metric == "mean-per-class":
                    fold, _ = metrics.class_hits(labels.targets, fold)
                evidence[seed] = fold
            sides[task.name] = _Side(entry.model_name, labels, scores, evidence)
        except ValueError as reason:
            issues.append(error(entry.where(), str(reason)))
    raise_errors(issues + one_experiment(outlines))
    return sides


def _pairs(first: dict[str, _Side], second: dict[str, _Side]):
    """Return messages on what only one side has, and the tasks that share a seed."""
    absent, common = [], []
    for name in sorted(first.keys() | second.keys()):
        if name not in second:
            absent.append(f"{name} is only in A")
        elif name not in first:
            absent.append(f"{name} is only in B")
        else:
            seeds_a = first[name].scores.keys()
            seeds_b = second[name].scores.keys()
            for seed in sorted(seeds_a ^ seeds_b):
                side = "A" if seed in seeds_a else "B"
                absent.append(f"{name}, seed {seed} is only in {side}")
            if seeds_a & seeds_b:
                common.append(name)
    return absent, common


def _compare_task(
    task: TaskInfo, a: _Side, b: _Side, resamples: int, rng: np.random.Generator
) -> tuple[Record, np.ndarray]:
    seeds = sorted(a.scores.keys() & b.scores.keys())
    targets = a.labels.targets
    test = BOOTSTRAP
    if task.metric in ("accuracy", "mean-per-class"):
        hits = np.zeros(len(targets), np.int64)
        for seed in seeds:
            hits += b.evidence[seed].astype(np.int64) - a.evidence[seed]
        groups = targets if task.metric == "mean-per-class" else np.zeros_like(targets)
        values = bootstrap.resample_means(hits, groups, resamples, rng) / len(seeds)
    else:
        difference = _difference(task.metric, targets, a, b, seeds)
        values = bootstrap.resample(difference, len(targets), resamples, rng)
    if task.metric == "accuracy":
        test = MCNEMAR if len(seeds) == 1 else SIGN_FLIPS
        p = sign_flip_p(hits)
    else:
        p = bootstrap.p_value(values)
    record = {
        "task": task.name,
        "suite": task.suite,
        "metric": task.metric,
        "images": len(targets),
        "seeds": seeds,
        **_estimate(a.mean_score(seeds), b.mean_score(seeds), values),
        "p": p,
        "test": test,
    }
    return record, values


def _estimate(a: float, b: float, resampled: np.ndarray) -> dict[str, float]:
    low, high = bootstrap.interval(resampled)
    return {"a": a, "b": b, "difference": b - a, "low": low, "high": high}


def _difference(metric: str, targets: np.ndarray, a: _Side, b: _Side, seeds: list[int]):
    """Return the mean over seeds of b's metric less a's, as a function of counts."""
    pairs = []
    for seed in seeds:
        folds = a.evidence[seed], b.evidence[seed]
        pairs.append([bootstrap.statistic_of(metric, targets, fold) for fold in folds])

    def statistic(counts: np.ndarray) -> float:
        mean_a = np.mean([score(counts) for score, _ in pairs])
        mean_b = np.mean([score(counts) for _, score in pairs])
        return float(mean_b - mean_a)

    return statistic


def sign_flip_p(differences: np.ndarray) -> float:
    """Return the exact two-sided p-value of integers (N,) under the hypothesis that
    each is as likely as its negative. With differences of -1, 0 and 1, as from one
    seed, this is McNemar's exact test.
    """
    from scipy.stats import binom

    total = abs(int(differences.sum()))
    nonzero = np.abs(differences[differences != 0])
    sizes, counts = np.unique(nonzero, return_counts=True)
    chances = np.ones(1)  # of the sums -h..h; the sum 0 is in the middle
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        steps = binom.pmf(np.arange(count + 1), count, 0.5)
        # the tails change no p-value above it
        steps = steps[np.minimum(steps, steps[::-1]) > SMALLEST_P * 1e-10]
        spread = np.zeros(2 * size * (len(steps) - 1) + 1)
        spread[:: 2 * size] = steps
        chances = np.convolve(chances, spread)
    sums = np.abs(np.arange(len(chances)) - len(chances) // 2)
    p = float(chances[sums >= total].sum())
    return min(1.0, max(SMALLEST_P, p))


def _suites(records: list[Record], resampled: Mapping[str, np.ndarray], tasks: Tasks):
    means_a = suite_means(records, tasks, "a")
    means_b = suite_means(records, tasks, "b")
    suites = []
    for a, b in zip(means_a, means_b, strict=True):
        if a["score"] is None:
            continue
        wanted = members(tasks, a["suite"])
        counted = [
            resampled[record["task"]] for record in records if record["task"] in wanted
        ]
        values = np.mean(counted, axis=0)
        record = {key: a[key] for key in ("suite", "tasks", "of")}
        record |= _estimate(a["score"], b["score"], values)
        record |= {"p": bootstrap.p_value(values), "test": BOOTSTRAP}
        suites.append(record)
    return suites
