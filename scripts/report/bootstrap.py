"""How far a score depends on which test images there are: the metric on samples of them, in percent."""

from __future__ import annotations

import numpy as np

from elevater_eval import metrics
from elevater_eval.bootstrap import interval, resample, statistic_of, task_generator

__all__ = ["DRAWS", "SEED", "bootstrap", "interval"]

DRAWS, SEED = 1000, 0


def bootstrap(name: str, metric: str, targets: np.ndarray, probabilities: np.ndarray, draws: int = DRAWS) -> np.ndarray:
    """Return the score in percent on `draws` samples; (draws,).

    Tasks of different `name` have independent samples, so the values of several tasks may be averaged.

    Raises ValueError if the metric is not defined on all images, or on fewer than a tenth of the samples.
    """
    metrics.compute(metric, targets, probabilities)
    statistic = statistic_of(metric, targets, probabilities)
    return 100 * resample(statistic, len(targets), draws, task_generator(name, SEED))
