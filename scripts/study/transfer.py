"""The prompt of each task on each task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scripts.groups import Matrix


def transfer_matrix(run_folders: Sequence[str | Path], tasks: Sequence[str], cfg) -> np.ndarray:
    """Official scores in percent on the test sets, (P, T): a row for each run's prompt, a column for each task.

    cfg: of the runs; each task's test images are read once for all prompts.
    """
    from trainers.engine.scoring import score_prompts

    return score_prompts([str(folder) for folder in run_folders], cfg, tasks)


def normalised(matrix: Matrix) -> Matrix:
    """Each target's column divided by its best entry, so that the best is 1. A column of zeros stays."""
    best = [max(column) or 1.0 for column in zip(*matrix.scores, strict=True)]
    return Matrix(matrix.tasks, tuple(tuple(v / b for v, b in zip(row, best, strict=True)) for row in matrix.scores))
