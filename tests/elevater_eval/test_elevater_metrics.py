import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    precision_recall_curve,
    roc_auc_score,
)

from elevater_eval import metrics

SEEDS = range(6)

ROOT = Path(__file__).resolve().parents[2]


def scores_of(rng, images, classes, tied):
    scores = rng.dirichlet(np.ones(classes), size=images)
    return np.round(scores, 1) if tied else scores


def reference_mean_per_class(targets, scores):
    one_hot = np.eye(scores.shape[1])[targets]
    present = one_hot.sum(axis=0) > 0
    one_hot, scores = one_hot[:, present], scores[:, present]
    return balanced_accuracy_score(one_hot.argmax(axis=1), scores.argmax(axis=1))


def reference_map(indicators, scores):
    averages = []
    for c in range(indicators.shape[1]):
        if indicators[:, c].sum() == 0:
            continue
        precision, recall, _ = precision_recall_curve(indicators[:, c], scores[:, c])
        levels = [
            max(p for p, r in zip(precision, recall, strict=True) if r >= x)
            for x in np.linspace(1, 0, 11)
        ]
        averages.append(sum(levels) / 11)
    return sum(averages) / len(averages)


@pytest.mark.filterwarnings("ignore:A single label was found")
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
# of 7 classes: all, some and one occur in the targets
@pytest.mark.parametrize("drawn", [7, 4, 1])
def test_multiclass_metrics_equal_the_references(seed, tied, drawn):
    rng = np.random.default_rng(seed)
    scores = scores_of(rng, 60, 7, tied)
    targets = rng.choice(7, size=drawn, replace=False)[rng.integers(drawn, size=60)]
    first_best = np.array([np.flatnonzero(row == row.max())[0] for row in scores])
    assert metrics.accuracy(targets, scores) == pytest.approx(
        (first_best == targets).mean(), abs=1e-12
    )
    expected = reference_mean_per_class(targets, scores)
    assert metrics.mean_per_class(targets, scores) == pytest.approx(expected, abs=1e-12)
    assert metrics.mean_per_class(
        np.eye(7, dtype=int)[targets], scores
    ) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_eleven_point_map_equals_the_reference(seed, tied):
    rng = np.random.default_rng(seed)
    scores = scores_of(rng, 80, 5, tied)
    indicators = (rng.random((80, 5)) < 0.3).astype(int)
    indicators[:, 1] = 0  # a class without a positive does not count
    # recalls that meet 0.3, 0.6, ... only up to rounding
    indicators[:, 2] = np.arange(80) < 30
    expected = reference_map(indicators, scores)
    assert metrics.eleven_point_map(indicators, scores) == pytest.approx(
        expected, abs=1e-12
    )
    labels = rng.integers(4, size=80)
    expected = reference_map(np.eye(5)[labels], scores)
    assert metrics.eleven_point_map(labels, scores) == pytest.approx(
        expected, abs=1e-12
    )


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_roc_auc_equals_the_reference(seed, tied):
    rng = np.random.default_rng(seed)
    scores = scores_of(rng, 50, 2, tied)
    targets = rng.permutation(np.arange(50) < 17).astype(int)
    expected = roc_auc_score(targets, scores[:, 1])
    assert metrics.roc_auc(targets, scores) == pytest.approx(expected, abs=1e-12)
    scores, indicators = (
        scores_of(rng, 50, 3, tied),
        np.eye(3, dtype=int)[rng.integers(3, size=50)],
    )
    expected = roc_auc_score(indicators, scores)
    assert metrics.roc_auc(indicators, scores) == pytest.approx(expected, abs=1e-12)


def test_predictions_of_an_absent_class_go_to_the_next_best():
    scores = [[0.1, 0.2, 0.7], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.6, 0.4, 0.0]]
    targets = [1, 0, 1, 1]  # class 2 is absent: image 0 counts as class 1
    assert metrics.mean_per_class(targets, scores) == pytest.approx(
        (1 + 2 / 3) / 2, abs=1e-12
    )
    assert metrics.accuracy(targets, scores) == 0.5


def test_ties_go_to_the_lowest_class():
    assert metrics.accuracy([0, 1], [[0.5, 0.5], [0.5, 0.5]]) == 0.5


def test_floor_of_eleven_point_map():
    worst_last = np.linspace(0, 1, 1000)[:, None]
    targets = (np.arange(1000) == 0).astype(int)[:, None]
    assert metrics.eleven_point_map(targets, worst_last) == pytest.approx(
        (1 + 10 / 1000) / 11, abs=1e-12
    )


def test_results_are_python_floats():
    targets, scores = (
        np.array([0, 1, 1]),
        np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]], dtype=np.float32),
    )
    for name in metrics.METRICS:
        assert type(metrics.compute(name, targets, scores)) is float
    assert metrics.compute("accuracy", targets, scores) == pytest.approx(
        2 / 3, abs=1e-12
    )


@pytest.mark.parametrize(
    ("name", "targets", "scores", "message"),
    [
        ("acuracy", [0], [[1.0]], "did you mean 'accuracy'"),
        ("accuracy", [0, 1], [0.5, 0.5], "shape"),
        ("accuracy", [[0], [1]], [[0.5, 0.5]] * 2, "shape"),
        ("accuracy", [0.0, 1.0], [[0.5, 0.5]] * 2, "integers"),
        ("accuracy", [0, 2], [[0.5, 0.5]] * 2, r"0\.\.1"),
        ("accuracy", [0, 1], [[0.5, np.nan]] * 2, "NaN"),
        ("accuracy", [], np.zeros((0, 2)), "empty"),
        ("mean-per-class", [[1, 1], [1, 0]], [[0.5, 0.5]] * 2, "exactly one"),
        ("11point_mAP", [[0, 0], [0, 0]], [[0.5, 0.5]] * 2, "no class has a positive"),
        ("11point_mAP", [[0, 2], [0, 0]], [[0.5, 0.5]] * 2, "only 0 and 1"),
        ("roc_auc", [1, 1], [[0.5, 0.5]] * 2, "only class 1"),
        ("roc_auc", [0, 1], [[0.5, 0.3, 0.2]] * 2, "two classes"),
        ("roc_auc", [[0, 1, 0], [0, 0, 1]], [[0.5, 0.3, 0.2]] * 2, "column 0"),
    ],
)
def test_wrong_input_is_a_clear_error(name, targets, scores, message):
    with pytest.raises(ValueError, match=message):
        metrics.compute(name, targets, scores)


def test_the_first_score_leaves_the_global_generators_alone():
    program = (
        "import random, numpy\n"
        "from elevater_eval import metrics\n"
        "states = lambda: (random.getstate(), str(numpy.random.get_state()))\n"
        "before = states()\n"
        "for name in metrics.METRICS:\n"
        "    metrics.compute(name, [[0, 1], [1, 0]] if 'mAP' in name else [0, 1],"
        " [[0.2, 0.8], [0.6, 0.4]])\n"
        "assert states() == before\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
