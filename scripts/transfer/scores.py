"""The matrix of every prompt on every task: computed column by column, kept, read and written as CSV."""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

import datasets
import trainers
from datasets import build_task, task_name
from prompting.prompts import Prompt
from scripts.jobs.local_executor import each
from trainers.engine import results
from trainers.engine.config import flatten, resolve, with_overrides, without_local_paths
from trainers.engine.scoring import SHARED, read_run, score_prompts
from trainers.features import fingerprints


def transfer_matrix(
    run_folders: Sequence[str | Path],
    tasks: Sequence[str],
    cfg=None,
    jobs: int = 1,
    kept: str | Path | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Scores in percent of the runs' prompts on `tasks`, (P, T), and those of plain CLIP with the tasks' templates, (T,).

    cfg: a configuration with the backbone and data root; by default that of the first run, which is enough where
    neither is a path. kept: a JSON file of columns; those that are still true are taken from it, new ones are added as
    they come. done: called with the number of columns that are ready. Raises ValueError or FileNotFoundError.
    """
    cfg = cfg if cfg is not None else configuration_of(Path(run_folders[0]))
    names = [task_name(task) for task in tasks]
    prompts = {str(folder): _digest(Path(folder)) for folder in run_folders}
    columns = results.read_json(Path(kept)) if kept and Path(kept).is_file() else {}
    keys = {name: _key(cfg, task, list(prompts.values())) for name, task in zip(names, tasks, strict=True)}
    columns = {name: columns[name] for name in names if columns.get(name, {}).get("key") == keys[name]}
    done(len(columns))
    missing = [task for name, task in zip(names, tasks, strict=True) if name not in columns]
    modules = [read_run(folder, cfg) for folder in prompts] if missing else []
    if not any(prompt is not None and prompt.contexts().visual is not None for prompt in modules):
        jobs = 1  # text prompts share the images' features: starting processes takes longer than the rest
    size = max(1, math.ceil(len(missing) / (4 * jobs))) if jobs > 1 else 1
    shares = [missing[first : first + size] for first in range(0, len(missing), size)]
    for index, scores in each(_score, [(modules, cfg, share) for share in shares], jobs):
        if isinstance(scores, Exception):
            raise scores
        for task, column in zip(shares[index], scores.T.tolist(), strict=True):
            name = task_name(task)
            columns[name] = {"key": keys[name], "zero_shot": column.pop(), "scores": column}
        if kept:
            results.write_json(Path(kept), {name: columns[name] for name in names if name in columns})
        done(len(columns))
    matrix = np.array([columns[name]["scores"] for name in names]).T
    return matrix, np.array([columns[name]["zero_shot"] for name in names])


def normalised(matrix: np.ndarray) -> np.ndarray:
    """Each target's column divided by its best entry (paper, Figure 4)."""
    best = matrix.max(axis=0)
    return np.divide(matrix, best, out=np.zeros_like(matrix), where=best > 0)


def write_csv(path: Path, sources: Sequence[str], targets: Sequence[str], matrix: np.ndarray) -> None:
    """A row for each source, a column for each target, four decimals."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["source", *targets])
    for source, row in zip(sources, matrix.tolist(), strict=True):
        writer.writerow([source, *(f"{value:.4f}" for value in row)])
    results.write_text(path, text.getvalue())


def _score(share: tuple[list[Prompt | None], object, list[str]]) -> np.ndarray:
    """(P + 1, tasks of this share); plain CLIP is last."""
    prompts, cfg, tasks = share
    datasets.register_all()
    return score_prompts([*prompts, None], cfg, tasks)


def configuration_of(folder: Path, root: str = ""):
    """The configuration of the run in `folder`, with a data root. Raises FileNotFoundError where there is no run."""
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(f"{folder} holds no run (no config.yaml)")
    datasets.register_all()
    trainers.register_all()
    return resolve("", [str(folder / "config.yaml")], {"DATASET.ROOT": root} if root else {}, [])


def _digest(folder: Path) -> str:
    path = folder / "prompts.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no prompt (no prompts.safetensors)")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def _key(cfg, task: str, digests: list[str]) -> str:
    """What a column depends on: the prompts, how features are computed, the test images and the classes."""
    settings = [(key, value) for key, value in flatten(without_local_paths(cfg)) if key.startswith(SHARED)]
    built = build_task(with_overrides(cfg, DATASET__NUM_SHOTS=0), task)
    labels = [sample.labels for sample in built.test]
    parts = (digests, settings, fingerprints.of_images(built.test), labels, built.classnames, built.metric)
    return fingerprints.of_text(*parts)[:32]
