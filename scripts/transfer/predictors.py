"""What could tell, without N x N evaluations, which prompt helps which task: similarities of prompts and of tasks, and how
well their order agrees with that of the scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import rankdata

from datasets import build_task
from prompting.checkpoints.foreign import read_prompt
from trainers.features.builders import build_images, build_store
from trainers.features.extraction import class_features

RESAMPLES = 2000  # of the targets, for the interval
PREDICTORS = {
    "prompts": "cosine of the learnt context vectors, centred over the prompts",
    "classes": "cosine of the tasks' mean class features of the frozen text tower, centred over the tasks",
    "images": "cosine of the tasks' mean training-image features of the frozen image tower, centred over the tasks",
}


def prompt_vectors(folders: Sequence[str | Path]) -> np.ndarray:
    """The context vectors of the runs' prompts, a row each: (P, numbers). Raises ValueError where they differ in size."""
    rows = []
    for folder in folders:
        contexts = read_prompt(folder)[0].eval().contexts()
        rows.append(torch.cat([part.detach().flatten() for part in contexts if part is not None]).double().numpy())
    if len({len(row) for row in rows}) > 1:
        raise ValueError("prompts of different sizes (class-specific contexts?) cannot be compared with each other")
    return np.stack(rows)


def task_vectors(cfg, tasks: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The mean frozen class features and the mean frozen features of the few-shot training images of each task; (T, d)
    each."""
    store = build_store(cfg)
    classes, images = [], []
    for name in tasks:
        task = build_task(cfg, name)
        shown = build_images(cfg, [task], "train", store.backbone.preprocessing)
        features = store.features(shown, in_files=False)
        classes.append(class_features(store.encoder, task).double().mean(0).cpu().numpy())
        images.append(features.double().mean(0).cpu().numpy())
    return np.stack(classes), np.stack(images)


def similarity(vectors: np.ndarray) -> np.ndarray:
    """Cosines (N, N) of rows (N, d) after their mean is subtracted."""
    centred = vectors - vectors.mean(axis=0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 0)
    return unit @ unit.T


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Rank correlation of two lists of numbers, with mean ranks for ties; NaN where one of them is constant."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(np.corrcoef(rankdata(one), rankdata(other))[0, 1])


def agreement(matrix: np.ndarray, similarities: np.ndarray, seed: int = 0) -> dict:
    """How far a similarity orders the sources of each target as the scores do, the target itself left out.

    Gives the mean Spearman correlation over targets, a 95 % bootstrap interval over targets, and each target's
    correlation (None where its scores are all equal). Numbers are None where no target has one.
    """
    others = ~np.eye(len(matrix), dtype=bool)
    values = [spearman(matrix[others[:, k], k], similarities[others[:, k], k]) for k in range(matrix.shape[1])]
    known = np.array([value for value in values if np.isfinite(value)])
    found: dict = {"mean": None, "low": None, "high": None, "targets": len(known)}
    if len(known):
        draws = np.random.default_rng(seed).integers(0, len(known), (RESAMPLES, len(known)))
        low, high = np.percentile(known[draws].mean(axis=1), [2.5, 97.5])
        found |= {"mean": float(known.mean()), "low": float(low), "high": float(high)}
    return found | {"by_target": [value if np.isfinite(value) else None for value in values]}
