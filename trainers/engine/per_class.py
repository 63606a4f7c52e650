"""What TEST.PER_CLASS_RESULT and TEST.COMPUTE_CMAT ask for: scores of classes, and who is taken for whom."""

from __future__ import annotations

import csv
import io
import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets import Task
from elevater_eval import metrics
from toolkit.common.files import atomic_write, write_text
from toolkit.common.text import printable

log = logging.getLogger(__name__)


def write(cfg, task: Task, targets: Tensor, probabilities: Tensor) -> dict:
    """Return what a task's record in results.json has of its classes, {} unless it is asked for; log it.

    With TEST.COMPUTE_CMAT write cmat_<task>.csv: counts, a row for each true class, a column for each predicted one. A
    run on one task also has Dassl's cmat.pt: shares of each row, of the classes that occur.

    Args:
        targets: (N,) labels, or (N, C) of 0 and 1.
        probabilities: (N, C).
    """
    values = np.round(probabilities.numpy().astype(np.float64), 6)
    truth = targets.numpy()
    found = {}
    if cfg.TEST.PER_CLASS_RESULT:
        found["per_class"] = class_scores(task, truth, values)
        log.info("%s: per class", printable(task.name))
        for entry in found["per_class"]:
            _log_class(entry)
    if cfg.TEST.COMPUTE_CMAT and truth.ndim == 1:
        counts = confusion(truth, values)
        folder = Path(cfg.OUTPUT_DIR)
        write_text(folder / f"cmat_{task.name}.csv", _table(task.classnames, counts))
        if "," not in cfg.DATASET.DATASET:
            with atomic_write(folder / "cmat.pt") as temporary:
                torch.save(_shares(counts), temporary)
    return found


def class_scores(task: Task, truth: np.ndarray, values: np.ndarray) -> list[dict]:
    """Return a dictionary for each class, in label order: its name, its test images, and its score in percent.

    The score is the accuracy on the class's images, or of a multilabel task the 11-point average precision; None for a
    class without images.
    """
    scores = []
    guesses = values.argmax(axis=1)
    for label, name in enumerate(task.classnames):
        hits = truth[:, label] == 1 if truth.ndim == 2 else truth == label
        entry = {"class": name, "images": int(hits.sum())}
        score = None
        if truth.ndim == 2:
            column = "average_precision"
            if hits.any():
                score = metrics.eleven_point_map(hits[:, None].astype(int), values[:, label : label + 1])
        else:
            column = "accuracy"
            if hits.any():
                score = float(np.mean(guesses[hits] == label))
        entry[column] = None if score is None else round(100 * score, 6)
        scores.append(entry)
    return scores


def confusion(truth: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Return counts (C, C): rows by true label, columns by predicted label."""
    size = values.shape[1]
    cells = truth * size + values.argmax(axis=1)
    return np.bincount(cells, minlength=size * size).reshape(size, size)


def _shares(counts: np.ndarray) -> Tensor:
    """Return shares of each row, of the classes that occur as true or predicted."""
    occurs = counts.sum(axis=0) + counts.sum(axis=1) > 0
    kept = counts[occurs][:, occurs].astype(np.float64)
    return torch.from_numpy(kept / np.maximum(kept.sum(axis=1, keepdims=True), 1))


def _table(names: list[str], counts: np.ndarray) -> str:
    stream = io.StringIO()
    rows = csv.writer(stream, lineterminator="\n")
    rows.writerow(["true \\ predicted", *names])
    for name, row in zip(names, counts.tolist(), strict=True):
        rows.writerow([name, *row])
    return stream.getvalue()


def _log_class(entry: dict) -> None:
    name, count, score = entry.values()
    if score is None:
        log.info("  %s: no images", printable(name))
    else:
        log.info("  %s: %.1f %% of %d images", printable(name), score, count)
