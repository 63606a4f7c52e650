"""Predict, without scoring every prompt on every task, which prompt helps which task:
similarities of prompts and of tasks, and how well their order agrees with that of the
scores.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr

from datasets import build_task
from datasets.catalog.entries import entries
from elevater_eval.bootstrap import mean_interval
from prompting.checkpoints.foreign import read_prompt
from toolkit.common.text import markdown_table
from trainers.features.builders import build_images, build_store
from trainers.features.extraction import class_features

from .matrix import Matrix
from .scores import configuration_of

PREDICTORS = {
    "prompts": "cosine of the learned context vectors, centred over the prompts",
    "classes": "cosine of the tasks' mean class features of the frozen text tower, centred over the tasks",
    "images": "cosine of the tasks' mean training-image features of the frozen image tower, centred over the tasks",
}


def prompt_vectors(folders: Sequence[str | Path]) -> np.ndarray:
    """Return the prompts' vectors (P, numbers). Raise ValueError if sizes differ."""
    rows = []
    for folder in folders:
        prompt = read_prompt(folder)[0].eval()
        contexts = [one for one in prompt.contexts()[:2] if one is not None]
        parts = [context.detach().flatten() for context in contexts]
        flat = torch.cat(parts)
        rows.append(flat.double().numpy())
    if len(set(map(len, rows))) > 1:
        raise ValueError(
            "prompts of different sizes (class-specific contexts?) cannot be compared with each other"
        )
    return np.stack(rows)


def task_vectors(cfg, tasks: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return mean frozen features of the tasks' classes and training images, (T, d)."""
    store = build_store(cfg)
    classes, images = [], []
    for name in tasks:
        task = build_task(cfg, name)
        preprocessing = store.backbone.preprocessing
        shown = build_images(cfg, [task], "train", preprocessing)
        of_images = store.features(shown, in_files=False).double()
        images.append(of_images.mean(0).cpu())
        of_classes = class_features(store.encoder, task).double()
        classes.append(of_classes.mean(0).cpu())
    return np.stack(classes), np.stack(images)


def similarity(vectors: np.ndarray) -> np.ndarray:
    """Return the cosines (N, N) of rows (N, d) after their mean is subtracted."""
    centred = vectors - vectors.mean(axis=0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    zeros = np.zeros_like(centred)
    unit = np.divide(centred, length, out=zeros, where=length > 0)
    return unit @ unit.T


def similarities(
    cfg, tasks: Sequence[str], folders: Sequence[str | Path]
) -> dict[str, np.ndarray]:
    """Return the similarities (T, T) of tasks and prompts by each predictor."""
    vectors = (prompt_vectors(folders), *task_vectors(cfg, tasks))
    similar = map(similarity, vectors)
    return dict(zip(PREDICTORS, similar, strict=True))


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return the rank correlation, with mean ranks for ties; NaN if one is constant."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(spearmanr(one, other).statistic)


def rank_correlations(scores: np.ndarray, guess: np.ndarray) -> np.ndarray:
    """Return the rank correlation (T,) of columns of two (T, T), but for diagonals."""
    values = []
    for k in range(len(scores)):
        one = np.delete(scores[:, k], k)
        other = np.delete(guess[:, k], k)
        values.append(spearman(one, other))
    return np.array(values)


def agreement(scores: np.ndarray, guess: np.ndarray) -> dict:
    """Return how far a guess (T, T) orders the sources of each target as the scores do:
    the mean Spearman correlation, its 95 % bootstrap interval over targets, and each
    target's; None if its scores are all equal.
    """
    values = rank_correlations(scores, guess)
    is_known = np.isfinite(values)
    known = values[is_known]
    mean = low = high = None
    if len(known):
        low, high = mean_interval(known)
        mean = float(known.mean())
    found = {"mean": mean, "low": low, "high": high}
    found["targets"] = len(known)
    by_target = np.where(is_known, values.astype(object), None)
    return found | {"by_target": by_target.tolist()}


def compare_over_seeds(
    method: str, matrices: Mapping[int, Matrix], runs: Path, root: str = ""
) -> list[dict]:
    """Return for each predictor its rank correlation with the scores, averaged over
    targets and seeds, with a 95 % bootstrap interval over targets; 0 where all are
    equal. matrices: seed -> square matrix in percent. runs: folder of the prompts
    (`<method>_<shots>shots_seed<seed>/<task>`). root: of the data sets.
    """
    values: dict[str, list[np.ndarray]] = defaultdict(list)
    for seed, matrix in matrices.items():
        guesses = _guesses(method, seed, matrix, runs, root)
        for name, guess in guesses.items():
            correlations = np.nan_to_num(rank_correlations(matrix.scores, guess))
            values[name].append(correlations)
    found = []
    for name, by_seed in values.items():
        means = np.mean(by_seed, axis=0)
        low, high = mean_interval(means)
        record: dict = {"method": method, "predictor": name}
        record["spearman"] = float(means.mean())
        record |= {"low": low, "high": high}
        pairs = zip(matrix.targets, means.tolist(), strict=True)
        found.append(record | {"targets": dict(pairs)})
    return found


def _guesses(method: str, seed: int, matrix: Matrix, runs: Path, root: str):
    """Return for each predictor numbers (T, T), rows sources."""
    tasks, known = matrix.targets, entries()
    classes = [float(known[task].classes) if task in known else 0.0 for task in tasks]
    by_source = {
        "the source's score on its own task": np.diag(matrix.scores),
        "classes of the source": np.array(classes),
    }
    guesses = {}
    for name, values in by_source.items():
        column = values[:, None]
        guesses[name] = np.repeat(column, len(tasks), 1)
    if folders := _prompt_folders(method, seed, tasks, runs):
        cfg = configuration_of(folders[0], root)
        similar = similarities(cfg, tasks, folders)
        guesses["similarity of the prompts"] = similar["prompts"]
        guesses["similarity of the class names' features"] = similar["classes"]
        guesses["similarity of the training images' features"] = similar["images"]
    return guesses


def _prompt_folders(method: str, seed: int, tasks: Sequence[str], runs: Path):
    pattern = re.compile(rf"{method}_\d+shots_seed{seed}")
    for folder in sorted(runs.glob("*")):
        if pattern.fullmatch(folder.name):
            folders = [folder / task for task in tasks]
            files = [place / "prompts.safetensors" for place in folders]
            return folders if all(map(Path.is_file, files)) else []
    return []


def markdown(found: Sequence[dict]) -> str:
    """Return the result of `compare_over_seeds` as a table."""
    rows = [["method", "predictor", "Spearman", "95 % interval"]]
    for one in found:
        interval = f"{one['low']:+.2f} to {one['high']:+.2f}"
        numbers = [f"{one['spearman']:+.2f}", interval]
        name = [one["method"], one["predictor"]]
        rows.append([*name, *numbers])
    return markdown_table(rows, "llrr")
