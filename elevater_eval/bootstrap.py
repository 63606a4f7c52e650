"""The bootstrap over test images: how much a score, or a difference of scores, depends
on the choice of images. A sample is a count for each image, (N,) integers that sum to
N, so the costly steps of a metric (argmax, sorting) are done once for all samples.
Samples depend only on the given generator.
"""

import zlib
from collections.abc import Callable
from functools import partial

import numpy as np

from elevater_eval.metrics import RECALL_LEVELS, class_hits

# of a sample's counts; NaN if it is undefined on the sample
Statistic = Callable[[np.ndarray], float]
# of a sample's counts: the number of positives, and of images, with at least each score,
# the highest score first
Curve = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

TRIES = 10  # samples for each wanted value, of a statistic that is undefined on some


def task_generator(task: str, seed: int) -> np.random.Generator:
    """Return the generator of a task's samples, independent of other tasks'."""
    return np.random.default_rng([seed, zlib.crc32(task.encode())])


def resample(
    statistic: Statistic, images: int, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Return `statistic` on `resamples` samples of images on which it is defined.
    Raises ValueError if it is defined on fewer than a tenth of the samples.
    """
    values: list[float] = []
    for _ in range(TRIES * resamples):
        sample = rng.integers(images, size=images)
        value = statistic(np.bincount(sample, minlength=images))
        if not np.isnan(value):
            values.append(value)
        if len(values) == resamples:
            return np.array(values)
    where = f"most samples of the {images} test images"
    raise ValueError(f"the metric is not defined on {where}")


def resample_means(
    differences: np.ndarray,
    groups: np.ndarray,
    resamples: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return means of integer differences (N,) on samples of N images: each the mean of
    the means of `groups` (N,). Only the number of images of each kind is sampled.
    """
    values, value_index = np.unique(differences, return_inverse=True)
    names, group_index = np.unique(groups, return_inverse=True)
    cell_index = group_index * len(values) + value_index
    cells = np.bincount(cell_index, minlength=len(names) * len(values))
    images = len(differences)
    counts = rng.multinomial(images, cells / images, size=resamples)
    counts = counts.reshape(resamples, len(names), len(values))
    sizes = counts.sum(axis=2)
    means = (counts @ values) / np.maximum(sizes, 1)
    groups_sampled = (sizes > 0).sum(axis=1)
    return means.sum(axis=1) / groups_sampled


def interval(resampled: np.ndarray) -> tuple[float, float]:
    """Return the 95 % percentile interval of resampled values."""
    low, high = np.quantile(resampled, [0.025, 0.975])
    return float(low), float(high)


def mean_interval(
    values: np.ndarray, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % interval of the mean of values (T,), each equally likely."""
    count = len(values)
    rows = np.random.default_rng(seed).integers(0, count, (resamples, count))
    return interval(values[rows].mean(axis=1))


def p_value(resampled: np.ndarray) -> float:
    """Return the two-sided p-value of resampled differences, never 0."""
    below = int((resampled <= 0).sum())
    above = int((resampled >= 0).sum())
    p = 2 * (1 + min(below, above)) / (1 + len(resampled))
    return min(1.0, p)


def statistic_of(
    metric: str, targets: np.ndarray, probabilities: np.ndarray
) -> Statistic:
    """Return an official metric of `elevater_eval.metrics` as a function of counts.
    `targets` are labels (N,), or a 0/1 matrix (N, C), `probabilities` (N, C). Classes
    are those of all images, in every sample. Raises ValueError for another metric.
    """
    if metric == "accuracy":
        hits = probabilities.argmax(axis=1) == targets
        return lambda counts: float(counts @ hits / counts.sum())
    if metric == "mean-per-class":
        labels = targets if targets.ndim == 1 else targets.argmax(axis=1)
        return partial(_mean_recall, *class_hits(labels, probabilities))
    if metric == "roc_auc":
        if targets.ndim == 1:
            return partial(_mean_area, [_curve(targets == 1, probabilities[:, 1])])
        return partial(_mean_area, _curves(targets, probabilities))
    if metric == "11point_mAP":
        if targets.ndim == 1:
            targets = targets[:, None] == np.arange(probabilities.shape[1])
        return partial(_mean_precision, _curves(targets, probabilities))
    raise ValueError(f"no bootstrap for metric {metric!r}")


def _curves(indicators: np.ndarray, scores: np.ndarray) -> list[Curve]:
    pairs = zip(indicators.T, scores.T, strict=True)
    return [_curve(positive, values) for positive, values in pairs]


def _curve(positive: np.ndarray, scores: np.ndarray) -> Curve:
    """Return the curve of scores (N,) of one class; images may repeat in samples."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    hits = positive[order].astype(np.int64)
    # of each run of equal scores
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)

    def curve(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        counts = counts[order]
        return np.cumsum(counts * hits)[last], np.cumsum(counts)[last]

    return curve


def _mean_recall(hits: np.ndarray, position: np.ndarray, counts: np.ndarray) -> float:
    images = np.bincount(position, weights=counts)
    right = np.bincount(position, weights=counts * hits)
    sampled = images > 0
    return float((right[sampled] / images[sampled]).mean())


def _mean_area(curves: list[Curve], counts: np.ndarray) -> float:
    """Return the mean area under the ROC curves; undefined if one of them is."""
    areas = []
    for curve in curves:
        hits, images = curve(counts)
        misses = images - hits
        if hits[-1] == 0 or misses[-1] == 0:
            return float("nan")
        before = np.concatenate(([0], hits[:-1]))
        trapezoids = np.diff(misses, prepend=0) * (hits + before)  # twice their areas
        areas.append(float(np.sum(trapezoids) / (2 * hits[-1] * misses[-1])))
    return float(np.mean(areas))


def _mean_precision(curves: list[Curve], counts: np.ndarray) -> float:
    """Return the mean 11-point precision over classes with a positive; or undefined."""
    averages = []
    for curve in curves:
        hits, images = curve(counts)
        if not hits[-1]:
            continue
        precision = hits / np.maximum(images, 1)
        best = np.maximum.accumulate(precision[::-1])[::-1]  # from each recall on
        # at recall 0 the precision is 1
        positions = np.searchsorted(hits / hits[-1], RECALL_LEVELS[:-1])
        averages.append((best[positions].sum() + 1) / len(RECALL_LEVELS))
    return float(np.mean(averages)) if averages else float("nan")
