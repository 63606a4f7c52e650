"""What predicts transfer, without scoring every prompt on every task: rank correlations with cheap numbers."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from scripts.groups import Matrix

from .comparisons import bootstrap


def of_matrices(method: str, matrices: dict[int, Matrix], runs: Path) -> list[dict]:
    """For each predictor the Spearman correlation with a target's column, its own row left out, averaged over targets
    and seeds; the 95 % bootstrap interval is over targets.

    matrices: seed -> scores in percent. runs: where the prompts lie (`<method>_<shots>shots_seed<seed>/<task>`).
    """
    columns: dict[str, dict[str, list[float]]] = {}
    for seed, matrix in matrices.items():
        for name, guess in _guesses(method, seed, matrix, runs).items():
            for k, target in enumerate(matrix.tasks):
                others = [j for j in range(len(matrix.tasks)) if j != k]
                known = [matrix.scores[j][k] for j in others]
                value = correlation([guess[j][k] for j in others], known)
                columns.setdefault(name, {}).setdefault(target, []).append(value)
    found = []
    for name, targets in columns.items():
        means = np.array([statistics.fmean(values) for values in targets.values()])
        low, high = bootstrap(means)
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


def _guesses(method: str, seed: int, matrix: Matrix, runs: Path) -> dict[str, np.ndarray]:
    """predictor -> (T, T) numbers, rows sources."""
    from datasets.catalogue import entries

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
    files = [folder / task / "prompts.safetensors" for task in matrix.tasks] if folder else []
    if files and all(file.is_file() for file in files):
        guesses["similarity of the prompts"] = similarity(files)
    return guesses


def similarity(files: Sequence[Path]) -> np.ndarray:
    """(T, T) cosines of the prompts in some files, after their mean is taken off."""
    from safetensors.numpy import load_file

    tensors = [load_file(file) for file in files]
    flat = np.stack([np.concatenate([one[name].ravel() for name in sorted(one)]) for one in tensors]).astype(np.float64)
    flat -= flat.mean(0)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True) + 1e-12
    return flat @ flat.T


def markdown(found: Sequence[dict]) -> str:
    """The correlations as a table."""
    lines = ["| method | predictor | Spearman | 95 % interval |", "|---|---|---:|---:|"]
    for one in found:
        lines.append(
            f"| {one['method']} | {one['predictor']} | {one['spearman']:+.2f} | {one['low']:+.2f} to {one['high']:+.2f} |"
        )
    return "\n".join(lines) + "\n"
