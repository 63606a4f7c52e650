"""The report's intervals: a weighted metric is the metric on the rows drawn."""

import numpy as np
import pytest

from elevater_eval import metrics
from elevater_eval.bootstrap import interval, statistic_of
from scripts.report.task_data import resample_scores


def world(kind: str, images: int = 60, classes: int = 4, ties: bool = True):
    rng = np.random.default_rng(3)
    values = rng.dirichlet(np.ones(classes), size=images)
    if kind == "multilabel":
        targets = (rng.random((images, classes)) < 0.3).astype(np.int64)
    else:
        targets = rng.integers(classes, size=images)
    return targets, values.round(1 if ties else 6)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize(
    ("metric", "kind", "classes"),
    [
        ("accuracy", "multiclass", 4),
        ("roc_auc", "multiclass", 2),
        ("roc_auc", "multilabel", 4),
        ("11point_mAP", "multilabel", 4),
        ("11point_mAP", "multiclass", 4),
    ],
)
def test_weights_are_repeated_rows(metric, kind, classes, ties):
    targets, values = world(kind, classes=classes, ties=ties)
    score = statistic_of(metric, targets, values)
    rng = np.random.default_rng(0)
    for _ in range(20):
        rows = rng.integers(len(values), size=len(values))
        expected = metrics.compute(metric, targets[rows], values[rows])
        assert score(np.bincount(rows, minlength=len(values))) == pytest.approx(
            expected, abs=1e-12
        )


def test_mean_per_class_keeps_the_classes_of_all_images():
    targets, values = (
        np.array([0, 0, 1, 2]),
        np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.3, 0.7, 0], [0, 0.9, 0.1]]),
    )
    score = statistic_of("mean-per-class", targets, values)
    assert score(np.array([1, 1, 1, 1])) == pytest.approx(
        metrics.mean_per_class(targets, values)
    )
    assert score(np.array([2, 0, 2, 0])) == 1.0 and score(np.array([0, 3, 1, 0])) == 0.5


def test_interval_of_an_accuracy_is_the_binomial_one():
    from scipy.stats import binom

    targets = np.zeros(200, dtype=int)
    values = np.where(np.arange(200)[:, None] < 140, [0.8, 0.2], [0.2, 0.8])
    low, high = interval(
        resample_scores("t", "accuracy", targets, values, samples=4000)
    )
    expected = binom.ppf([0.025, 0.975], 200, 0.7) / 2
    assert abs(low - expected[0]) <= 0.75 and abs(high - expected[1]) <= 0.75


def test_draws_are_fixed_and_those_of_tasks_differ():
    targets, values = world("multiclass")
    first, again, other = (
        resample_scores(name, "accuracy", targets, values, 50)
        for name in ("a", "a", "b")
    )
    assert (first == again).all() and (first != other).any()


def test_samples_with_one_class_are_drawn_again():
    targets, values = (
        np.array([1, 0, 0, 0, 0, 0]),
        np.column_stack([np.linspace(0.2, 0.9, 6)] * 2),
    )
    values[:, 1] = 1 - values[:, 0]
    draws = resample_scores("rare", "roc_auc", targets, values, 100)
    assert len(draws) == 100 and (draws == 100).all()
    with pytest.raises(ValueError, match="only class 0"):
        resample_scores("none", "roc_auc", np.zeros(6, dtype=int), values, 100)
