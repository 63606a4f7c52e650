"""The prompt of each task on each task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.groups import Matrix


def transfer_matrix(run_folders: Sequence[str | Path], tasks: Sequence[str], cfg) -> np.ndarray:
    """Official scores in percent on the test sets, (P, T): a row for each run's prompt, a column for each task.

    cfg: of the runs; each task is built once for all of them.
    """
    from dassl.engine import build_trainer

    from trainers.configuration import changed

    scores = np.zeros((len(run_folders), len(tasks)))
    for column, task in enumerate(tasks):
        trainer = build_trainer(changed(cfg, DATASET__DATASET=task, DATASET__NAME=task))
        for row, folder in enumerate(run_folders):
            trainer.load_model(str(folder))
            (scores[row, column],) = trainer.scores("test", trainer.predict("test")).values()
    return scores


def normalised(matrix: Matrix) -> Matrix:
    """Each target's column divided by its best entry, so that the best is 1. A column of zeros stays."""
    best = [max(column) or 1.0 for column in zip(*matrix.scores, strict=True)]
    return Matrix(matrix.tasks, tuple(tuple(v / b for v, b in zip(row, best, strict=True)) for row in matrix.scores))
