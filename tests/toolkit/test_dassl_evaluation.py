"""Evaluator results and lines, and batch accuracy."""

import logging

import pytest
import torch
from dassl.config import get_cfg_default
from dassl.evaluation import build_evaluator
from dassl.metrics import compute_accuracy
from sklearn.metrics import f1_score
from torch.nn.functional import one_hot

NAMES = {0: "cat", 1: "dog", 2: "owl", 3: "eel"}
TRUTH = torch.tensor([0, 0, 0, 1, 1, 2])
GUESS = torch.tensor([0, 0, 1, 1, 3, 2])


def evaluator(**test):
    cfg = get_cfg_default()
    cfg.TEST.update(test)
    return build_evaluator(cfg, lab2cname=NAMES)


def test_results_and_lines(caplog):
    judge = evaluator()
    caplog.set_level(logging.INFO)
    for part in (slice(0, 4), slice(4, 6)):
        judge.process(one_hot(GUESS[part], 4).float(), TRUTH[part])
    results = judge.evaluate()
    f1 = 100 * f1_score(TRUTH, GUESS, average="macro", labels=[0, 1, 2])
    assert list(results.items()) == [
        ("accuracy", pytest.approx(100 * 4 / 6)),
        ("error_rate", pytest.approx(100 * 2 / 6)),
        ("macro_f1", pytest.approx(f1)),
    ]
    assert all(type(value) is float for value in results.values())
    assert caplog.messages == [
        "=> result",
        "* total: 6",
        "* correct: 4",
        "* accuracy: 66.7%",
        "* error: 33.3%",
        f"* macro_f1: {f1:.1f}%",
    ]


def test_reset_and_thousands(caplog):
    judge = evaluator()
    judge.process(one_hot(GUESS, 4).float(), TRUTH)
    judge.reset()
    with pytest.raises(ValueError, match="no batch"):
        judge.evaluate()
    caplog.set_level(logging.INFO)
    judge.process(torch.eye(2).repeat(617, 1), torch.zeros(1234, dtype=torch.long))
    assert judge.evaluate()["accuracy"] == 50.0
    assert caplog.messages[1:4] == [
        "* total: 1,234",
        "* correct: 617",
        "* accuracy: 50.0%",
    ]


def test_per_class(caplog):
    judge = evaluator(PER_CLASS_RESULT=True)
    caplog.set_level(logging.INFO)
    judge.process(one_hot(GUESS, 4).float(), TRUTH)
    assert judge.evaluate()["perclass_accuracy"] == pytest.approx(
        100 * (2 / 3 + 1 / 2 + 1) / 3
    )
    assert caplog.messages[6:] == [
        "=> per-class result",
        "* class: 0 (cat)\ttotal: 3\tcorrect: 2\tacc: 66.7%",
        "* class: 1 (dog)\ttotal: 2\tcorrect: 1\tacc: 50.0%",
        "* class: 2 (owl)\ttotal: 1\tcorrect: 1\tacc: 100.0%",
        "* average: 72.2%",
    ]
    with pytest.raises(ValueError, match="PER_CLASS_RESULT"):
        build_evaluator(judge.cfg)


def test_confusion_matrix(tmp_path):
    judge = evaluator(COMPUTE_CMAT=True)
    judge.cfg.OUTPUT_DIR = str(tmp_path)
    judge.process(one_hot(GUESS, 4).float(), TRUTH)
    judge.evaluate()
    # an array of numpy's, as in Dassl
    cmat = torch.load(tmp_path / "cmat.pt", weights_only=False)
    assert cmat.tolist() == [
        pytest.approx(row)
        for row in ([2 / 3, 1 / 3, 0, 0], [0, 0.5, 0, 0.5], [0, 0, 1, 0], [0, 0, 0, 0])
    ]
    judge.reset()
    judge.process(one_hot(torch.tensor([0, 3]), 4).float(), torch.tensor([3, 3]))
    judge.evaluate()
    # labels that occur, as in Dassl
    assert torch.load(tmp_path / "cmat.pt", weights_only=False).tolist() == [
        [0, 0],
        [0.5, 0.5],
    ]


def test_topk():
    scores = torch.tensor(
        [[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 3.0, 2.0], [1.0, 2.0, 3.0]]
    )
    target = torch.tensor([0, 1, 0, 2])
    top1, top2 = compute_accuracy(scores, target, topk=(1, 2))
    assert (top1.shape, top1.item(), top2.item()) == ((1,), 50.0, 75.0)
    assert compute_accuracy((scores, None), target)[0].item() == 50.0
