"""How far a score depends on which test images there are: the metric on samples of them, drawn with replacement.

A sample is a count for each image, so what is costly about a metric (the argmax, sorting) is done once for all samples.
The values are those of `elevater_eval.metrics` on the sampled rows.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np

from elevater_eval import metrics

DRAWS, SEED = 1000, 0

Score = Callable[[np.ndarray], "float | None"]  # counts (N,) -> a fraction; None where it is not defined


def bootstrap(name: str, metric: str, targets: np.ndarray, probabilities: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """The score in percent on `draws` samples; (draws,).

    The samples depend on the task's `name` and a fixed seed alone: other tasks have other ones, so the draws of several
    tasks may be averaged. A sample that the metric is not defined on (ROC AUC with one class) is drawn again.

    Raises ValueError where the metric is not defined on all images, or on fewer than a tenth of the samples.
    """
    metrics.compute(metric, targets, probabilities)
    rng = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    score, size = weighted(metric, targets, probabilities), len(targets)
    values: list[float] = []
    for _ in range(10 * draws):
        value = score(np.bincount(rng.integers(size, size=size), minlength=size))
        if value is not None:
            values.append(100 * value)
        if len(values) == draws:
            return np.array(values)
    raise ValueError(f"{name}: {metric} is not defined on most samples of the {size} test images")


def interval(draws: np.ndarray) -> tuple[float, float]:
    """The middle 95 % of the draws."""
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(low), float(high)


def weighted(metric: str, targets: np.ndarray, probabilities: np.ndarray) -> Score:
    """The metric as a function of how often each image counts. Classes are those of all images, whatever is drawn."""
    if metric == "accuracy":
        hits = probabilities.argmax(1) == targets
        return lambda counts: float(counts @ hits / counts.sum())
    if metric == "mean-per-class":
        labels = targets if targets.ndim == 1 else targets.argmax(1)
        return _recall(labels, probabilities)
    if targets.ndim == 1:
        kept = [1] if metric == "roc_auc" else range(probabilities.shape[1])
        positive = np.stack([targets == label for label in kept], axis=1)
        columns = probabilities[:, kept]
    else:
        positive, columns = targets.astype(bool), probabilities
    return _average(_precision if metric == "11point_mAP" else _area, positive, columns, metric == "roc_auc")


def _recall(labels: np.ndarray, probabilities: np.ndarray) -> Score:
    present, position = np.unique(labels, return_inverse=True)
    hits = probabilities[:, present].argmax(1) == position

    def score(counts: np.ndarray) -> float:
        images = np.bincount(position, weights=counts)
        right = np.bincount(position, weights=counts * hits)
        return float((right[images > 0] / images[images > 0]).mean())

    return score


def _average(curve: Callable, positive: np.ndarray, columns: np.ndarray, all_defined: bool) -> Score:
    """The mean of `curve` over columns; undefined ones are left out, or make the score undefined."""
    ranked = []
    for member, values in zip(positive.T, columns.T, strict=True):
        order = np.argsort(-values, kind="stable")
        ends = np.append(np.flatnonzero(np.diff(values[order])), len(order) - 1)  # of runs of equal values
        ranked.append((order, member[order], ends))

    def score(counts: np.ndarray) -> float | None:
        values = []
        for order, member, ends in ranked:
            drawn = counts[order]
            value = curve(np.cumsum(drawn * member)[ends], np.cumsum(drawn)[ends])
            if value is not None:
                values.append(value)
        whole = len(values) == len(ranked) if all_defined else values
        return float(np.mean(values)) if whole else None

    return score


def _precision(hits: np.ndarray, seen: np.ndarray) -> float | None:
    """11-point interpolated average precision; `hits` positives among the `seen` images of each threshold."""
    if hits[-1] == 0:
        return None
    precision = hits / np.maximum(seen, 1)
    best = np.maximum.accumulate(precision[::-1])[::-1]
    values = best[np.searchsorted(hits / hits[-1], metrics.RECALL_LEVELS[:-1])]
    return float((values.sum() + 1) / len(metrics.RECALL_LEVELS))  # at recall 0 it is 1


def _area(hits: np.ndarray, seen: np.ndarray) -> float | None:
    """Area under the ROC curve."""
    false = seen - hits
    if hits[-1] == 0 or false[-1] == 0:
        return None
    x, y = np.append(0, false), np.append(0, hits)
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / (2 * hits[-1] * false[-1]))
