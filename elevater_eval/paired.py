"""Two sets of predictions on the same images: how far apart they are, and how far apart chance alone would put them.

Images are the unit. The seeds of an image stay together, so that three seeds do not count as three times the images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from elevater_eval.metrics import RECALL_LEVELS

SMALLEST_P = 1e-50  # an exact p-value below is given as this one

Statistic = Callable[[np.ndarray], float]  # of how often each image is drawn, int (N,); NaN where it is undefined


def sign_flip_p(differences: np.ndarray) -> float:
    """Exact two-sided p-value of integers (N,) under the hypothesis that each is as likely as its negative.

    With differences of -1, 0 and 1, which one seed gives, this is McNemar's exact test.
    """
    from scipy.stats import binom

    total = abs(int(differences.sum()))
    sizes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    chances = np.ones(1)  # of the sums -h..h, in the middle the sum 0
    for size, count in zip(sizes.tolist(), counts.tolist(), strict=True):
        steps = binom.pmf(np.arange(count + 1), count, 0.5)
        steps = steps[np.minimum(steps, steps[::-1]) > SMALLEST_P * 1e-10]  # the tails change no p-value above it
        spread = np.zeros(2 * size * (len(steps) - 1) + 1)
        spread[:: 2 * size] = steps
        chances = np.convolve(chances, spread)
    sums = np.abs(np.arange(len(chances)) - len(chances) // 2)
    return min(1.0, max(SMALLEST_P, float(chances[sums >= total].sum())))


def resampled_means(
    differences: np.ndarray, groups: np.ndarray, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Means of integer differences (N,) in ``resamples`` draws of N images; the mean of the means of ``groups`` (N,).

    Images of one group and one difference are alike: only how many of each kind are drawn matters.
    """
    values, kind = np.unique(differences, return_inverse=True)
    names, group = np.unique(groups, return_inverse=True)
    cells = np.bincount(group * len(values) + kind, minlength=len(names) * len(values))
    drawn = rng.multinomial(len(differences), cells / len(differences), size=resamples)
    drawn = drawn.reshape(resamples, len(names), len(values))
    images = drawn.sum(axis=2)
    means = (drawn @ values) / np.maximum(images, 1)
    return means.sum(axis=1) / (images > 0).sum(axis=1)


def resampled(statistic: Statistic, images: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """``statistic`` in ``resamples`` draws of as many ``images``; draws where it is undefined are drawn again."""
    values: list[float] = []
    while len(values) < resamples:
        value = statistic(np.bincount(rng.integers(images, size=images), minlength=images))
        if not np.isnan(value):
            values.append(value)
    return np.array(values)


def bootstrap_p(values: np.ndarray) -> float:
    """Two-sided p-value of resampled differences: twice the smaller share on one side of zero, never 0."""
    fewer = min((values <= 0).sum(), (values >= 0).sum())
    return min(1.0, 2 * (1 + int(fewer)) / (1 + len(values)))


def interval(values: np.ndarray) -> tuple[float, float]:
    """The 95 % percentile interval of resampled differences."""
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def difference(first: Sequence[Statistic], second: Sequence[Statistic]) -> Statistic:
    """The mean of the second statistics less that of the first."""
    return lambda drawn: float(np.mean([f(drawn) for f in second]) - np.mean([f(drawn) for f in first]))


class Ranking:
    """Scores (N,) of one class in falling order, for metrics of an image set in which images repeat."""

    def __init__(self, positive: np.ndarray, scores: np.ndarray) -> None:
        self.order = np.argsort(-scores, kind="stable")
        self.positive = positive[self.order].astype(np.int64)
        falling = scores[self.order]
        self.last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)  # of each run of equal scores

    def curve(self, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positives, and images, with at least each score, the highest score first."""
        drawn = drawn[self.order]
        return np.cumsum(drawn * self.positive)[self.last], np.cumsum(drawn)[self.last]


def roc_auc_of(targets: np.ndarray, scores: np.ndarray) -> Statistic:
    """``metrics.roc_auc`` of 0/1 ``targets`` (N,) and the ``scores`` (N,) of class 1, on drawn images."""
    ranking = Ranking(targets, scores)

    def statistic(drawn: np.ndarray) -> float:
        hits, images = ranking.curve(drawn)
        misses = images - hits
        if not (hits[-1] and misses[-1]):
            return float("nan")
        before = np.concatenate(([0], hits[:-1]))
        return float(np.sum(np.diff(misses, prepend=0) * (hits + before)) / (2 * hits[-1] * misses[-1]))

    return statistic


def eleven_point_map_of(targets: np.ndarray, scores: np.ndarray) -> Statistic:
    """``metrics.eleven_point_map`` of 0/1 ``targets`` (N, C) and ``scores`` (N, C), on drawn images."""
    rankings = [Ranking(positive, of_class) for positive, of_class in zip(targets.T, scores.T, strict=True)]
    levels = RECALL_LEVELS[:-1]  # at recall 0 the precision is 1

    def average(hits: np.ndarray, images: np.ndarray) -> float:
        precision = np.maximum.accumulate((hits / np.maximum(images, 1))[::-1])[::-1]  # the best from each recall on
        return (precision[np.searchsorted(hits / hits[-1], levels)].sum() + 1) / len(RECALL_LEVELS)

    def statistic(drawn: np.ndarray) -> float:
        curves = [ranking.curve(drawn) for ranking in rankings]
        averages = [average(hits, images) for hits, images in curves if hits[-1]]
        return float(np.mean(averages)) if averages else float("nan")

    return statistic
