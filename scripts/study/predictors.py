"""What predicts transfer, without scoring every prompt on every task: rank correlations with cheap numbers."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from elevater_eval.bootstrap import mean_interval
from scripts.groups import Matrix
from scripts.transfer.predictors import prompt_vectors, similarity, task_vectors
from scripts.transfer.scores import configuration_of


def of_matrices(method: str, matrices: dict[int, Matrix], runs: Path, root: str = "") -> list[dict]:
    """For each predictor the Spearman correlation with a target's column, its own row left out, averaged over targets
    and seeds; the 95 % bootstrap interval is over targets.

    matrices: seed -> scores in percent. runs: where the prompts lie (`<method>_<shots>shots_seed<seed>/<task>`).
    root: folder of the data sets.
    """
    columns: dict[str, dict[str, list[float]]] = {}
    for seed, matrix in matrices.items():
        for name, guess in _guesses(method, seed, matrix, runs, root).items():
            for k, target in enumerate(matrix.tasks):
                others = [j for j in range(len(matrix.tasks)) if j != k]
                known = [matrix.scores[j][k] for j in others]
                value = correlation([guess[j][k] for j in others], known)
                columns.setdefault(name, {}).setdefault(target, []).append(value)
    found = []
    for name, targets in columns.items():
        means = np.array([statistics.fmean(values) for values in targets.values()])
        low, high = mean_interval(means)
        found.append(
            {"method": method, "predictor": name, "spearman": float(means.mean()), "low": low, "high": high,
             "targets": dict(zip(targets, means.tolist(), strict=True))}
        )  # fmt: skip
    return found


def correlation(guess: Sequence[float], known: Sequence[float]) -> float:
    """Spearman's; 0 where either is constant and says nothing."""
    if len(set(guess)) < 2 or len(set(known)) < 2:
        return 0.0
    return float(stats.spearmanr(guess, known).statistic)


def _guesses(method: str, seed: int, matrix: Matrix, runs: Path, root: str) -> dict[str, np.ndarray]:
    """predictor -> (T, T) numbers, rows sources."""
    from datasets.catalog.entries import entries

    size = len(matrix.tasks)
    scores, known = np.array(matrix.scores), entries()
    classes = np.array([known[task].classes if task in known else 0 for task in matrix.tasks], dtype=float)
    guesses = {
        "the source's score on its own task": np.repeat(np.diag(scores)[:, None], size, 1),
        "classes of the source": np.repeat(classes[:, None], size, 1),
    }
    pattern = re.compile(rf"{method}_\d+shots_seed{seed}")
    folder = (
        next((path for path in sorted(runs.iterdir()) if pattern.fullmatch(path.name)), None) if runs.is_dir() else None
    )
    places = [folder / task for task in matrix.tasks] if folder else []
    if places and all((place / "prompts.safetensors").is_file() for place in places):
        names, images = task_vectors(configuration_of(places[0], root), matrix.tasks)
        guesses["similarity of the prompts"] = similarity(prompt_vectors(places))
        guesses["similarity of the class names' features"] = similarity(names)
        guesses["similarity of the training images' features"] = similarity(images)
    return guesses


def markdown(found: Sequence[dict]) -> str:
    """The correlations as a table."""
    lines = ["| method | predictor | Spearman | 95 % interval |", "|---|---|---:|---:|"]
    for one in found:
        lines.append(
            f"| {one['method']} | {one['predictor']} | {one['spearman']:+.2f} | {one['low']:+.2f} to {one['high']:+.2f} |"
        )
    return "\n".join(lines) + "\n"
