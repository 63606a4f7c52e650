"""What a task's predictions show: the worst mistakes and the weakest classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from datasets import Sample
from elevater_eval import metrics


def targets_of(samples: Sequence[Sample], num_classes: int, label_kind: str) -> np.ndarray:
    """Labels (N,) of a multiclass task; 0/1 (N, C) of a multilabel one."""
    if label_kind == "multiclass":
        return np.array([sample.label for sample in samples])
    targets = np.zeros((len(samples), num_classes), dtype=np.int64)
    for row, sample in enumerate(samples):
        targets[row, list(sample.labels)] = 1
    return targets


def mistakes(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Images whose most probable class is none of theirs, the most confident first."""
    best = probabilities.argmax(1)
    rows = np.arange(len(best))
    wrong = np.flatnonzero(best != targets if targets.ndim == 1 else targets[rows, best] == 0)
    return wrong[np.argsort(-probabilities[wrong, best[wrong]], kind="stable")]


def by_class(targets: np.ndarray, probabilities: np.ndarray) -> list[tuple[int, float, int]]:
    """(class, value in percent, test images) of every class that has images, the worst first.

    The value is the recall; of a multilabel task the 11-point average precision.
    """
    found = []
    best = probabilities.argmax(1)
    for label in range(probabilities.shape[1]):
        member = targets == label if targets.ndim == 1 else targets[:, label] == 1
        if not member.any():
            continue
        if targets.ndim == 1:
            value = float((best[member] == label).mean())
        else:
            value = metrics.compute("11point_mAP", member[:, None].astype(int), probabilities[:, [label]])
        found.append((label, 100 * value, int(member.sum())))
    return sorted(found, key=lambda row: row[1])
