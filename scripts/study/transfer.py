"""The prompt of each task on each task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from scripts.groups import Matrix


def transfer_matrix(cfg, prompts: Sequence[Path], tasks: Sequence[str]) -> list[list[float]]:
    """Official scores in percent on the test sets: a row for each prompt (a run's folder), a column for each task.

    cfg: of the runs that learnt the prompts; each task is read once for all of them.
    """
    from dassl.engine import build_trainer

    from trainers.configuration import changed

    columns = []
    for task in tasks:
        trainer = build_trainer(changed(cfg, DATASET__DATASET=task, DATASET__NAME=task))
        column = []
        for folder in prompts:
            trainer.load_model(str(folder))
            (score,) = trainer.scores("test", trainer.predict("test")).values()
            column.append(score)
        columns.append(column)
    return [list(row) for row in zip(*columns, strict=True)]


def normalised(matrix: Matrix) -> Matrix:
    """Each target's column divided by its best entry, so that the best is 1. A column of zeros stays."""
    best = [max(column) or 1.0 for column in zip(*matrix.scores, strict=True)]
    return Matrix(matrix.tasks, tuple(tuple(v / b for v, b in zip(row, best, strict=True)) for row in matrix.scores))
