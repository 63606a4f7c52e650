import doctest
import json
import shlex

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

import elevater_eval
from elevater_eval import metrics, score
from elevater_eval.__main__ import main


@pytest.mark.parametrize("decimals", [1, 6])
@pytest.mark.parametrize("drawn", [9, 4, 1])  # of 9 classes: all, some and one occur
@pytest.mark.parametrize("seed", range(3))
def test_extra_metrics_equal_their_definitions(seed, drawn, decimals):
    rng = np.random.default_rng(seed)
    scores = np.round(rng.dirichlet(np.ones(9), size=80), decimals)
    targets = rng.choice(9, size=drawn, replace=False)[rng.integers(drawn, size=80)]
    best = scores.argmax(axis=1)
    assert metrics.macro_f1(targets, scores) == pytest.approx(
        f1_score(targets, best, average="macro"), abs=1e-12
    )
    recalls = recall_score(
        targets, best, labels=np.arange(9), average=None, zero_division=np.nan
    )
    found = np.array(
        [
            np.nan if value is None else value
            for value in metrics.per_class_recall(targets, scores)
        ]
    )
    np.testing.assert_allclose(found, recalls, atol=1e-12)
    first_five = [
        sorted(range(9), key=lambda c, row=row: (-row[c], c))[:5] for row in scores
    ]
    expected = np.mean(
        [label in five for label, five in zip(targets, first_five, strict=True)]
    )
    assert metrics.top5(targets, scores) == pytest.approx(expected, abs=1e-12)


def test_calibration_error_by_hand():
    scores = [[0.9, 0.1], [0.95, 0.05], [0.4, 0.6], [1.0, 0.0]]
    # bins of 1/2: all four in the second one, of mean confidence 0.8625; three of four
    # are right
    assert metrics.ece([0, 1, 1, 0], scores, bins=2) == pytest.approx(
        0.8625 - 0.75, abs=1e-12
    )
    # bins of 1/10: 0.9 alone (it ends its bin), 0.6 alone, 0.95 and 1.0 together
    expected = (abs(0.9 - 1) + abs(0.6 - 1) + abs(1.95 - 1)) / 4
    assert metrics.ece([0, 1, 1, 0], scores, bins=10) == pytest.approx(
        expected, abs=1e-12
    )
    assert metrics.ece([0, 0], [[1.0, 0.0]] * 2) == 0.0


def test_top5_of_few_classes_is_one():
    assert metrics.top5([3, 0], [[0.7, 0.1, 0.1, 0.1]] * 2) == 1.0


SIZES = {"mnist": (30, 10), "voc-2007-classification": (4, 3)}


def test_extra_scores_stay_apart(run_folder, data_root, tmp_path, capsys):
    run, file = run_folder("run", SIZES, (0, 1)), tmp_path / "scores.json"
    names = list(metrics.EXTRA)
    arguments = (
        f"score {run} --root {data_root} --extra {','.join(names)} --json {file}"
    )
    assert main(shlex.split(arguments)) == 0
    official, extra = capsys.readouterr().out.split("\nnot official, ")
    result = json.loads(file.read_text())
    mnist, voc = result["tasks"]
    assert list(mnist["extra"]) == names and voc["extra"] == dict.fromkeys(names)
    folds = [
        np.array(
            json.loads((run / f"predictions/seed{s}_mnist.json").read_text())[
                "predictions"
            ][0]
        )
        for s in (0, 1)
    ]
    expected = [metrics.ece(np.arange(30) % 10, fold) for fold in folds]
    assert mnist["extra"]["ece"] == {
        "scores": expected,
        "score": pytest.approx(np.mean(expected)),
    }
    recall = mnist["extra"]["per_class_recall"]
    assert len(recall["score"]) == 10 and recall["score"][3] == pytest.approx(
        np.mean([s[3] for s in recall["scores"]])
    )
    assert (
        "macro_f1" not in official
        and f"{100 * mnist['extra']['macro_f1']['score']:.2f}" in extra
    )
    assert "(class " in extra and "-" in extra
    plain = score(run, data_root)
    assert [
        {k: v for k, v in record.items() if k != "extra"} for record in result["tasks"]
    ] == plain["tasks"]


def test_an_unknown_extra_metric_is_one_line(run_folder, data_root, capsys):
    run = run_folder("run", SIZES, (0,))
    assert main(shlex.split(f"score {run} --root {data_root} --extra top_5")) == 2
    assert (
        "unknown extra metric 'top_5'; did you mean 'top5'?" in capsys.readouterr().err
    )


def test_the_example_of_the_package_runs():
    found = doctest.testmod(elevater_eval)
    assert found.attempted > 10 and found.failed == 0
