"""Scores of every prompt on every task: computed column by column, and kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

import datasets
import trainers
from datasets import build_task, task_name
from prompting.prompts import Prompt
from scripts.jobs.local_executor import each
from toolkit.common.structured import read_json, write_json
from trainers.engine.config import flatten, resolve, with_overrides, without_local_paths
from trainers.engine.scoring import SHARED, read_run, score_prompts
from trainers.engine.start import check_class_list
from trainers.features import fingerprints


def transfer_matrix(
    run_folders: Sequence[str | Path],
    tasks: Sequence[str],
    cfg=None,
    jobs: int = 1,
    kept: str | Path | None = None,
    done: Callable[[int], None] = lambda count: None,
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores in percent of the runs' prompts on `tasks`, (P, T), and those of
    plain CLIP, (T,).

    Args:
        cfg: a configuration with the backbone and data root; by default that of the
            first run, which is enough if neither is a path.
        jobs: worker processes.
        kept: a JSON file of columns; those that are still true are taken from it, new
            ones are added as they come.
        done: called with the number of columns that are ready.

    Raises ValueError or FileNotFoundError.
    """
    if cfg is None:
        cfg = configuration_of(Path(run_folders[0]))
    keys = _column_keys(run_folders, tasks, cfg)
    columns = _read_columns(kept, keys)
    done(len(columns))
    missing = [task for task in tasks if task_name(task) not in columns]
    for task, column in _score_tasks(run_folders, missing, cfg, jobs):
        name = task_name(task)
        columns[name] = {"key": keys[name], "zero_shot": column.pop(), "scores": column}
        if kept:
            ordered = {name: columns[name] for name in keys if name in columns}
            write_json(Path(kept), ordered, indent=1)
        done(len(columns))
    matrix = np.array([columns[name]["scores"] for name in keys]).T
    zero_shot = np.array([columns[name]["zero_shot"] for name in keys])
    return matrix, zero_shot


def configuration_of(folder: Path, root: str = ""):
    """Return the configuration of the run in `folder`, with a data root.

    Raises FileNotFoundError without a run.
    """
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(f"{folder} holds no run (no config.yaml)")
    datasets.register_all()
    trainers.register_all()
    flags = {"DATASET.ROOT": root} if root else {}
    return resolve("", [str(folder / "config.yaml")], flags, [])


def _score_tasks(
    run_folders: Sequence[str | Path], tasks: Sequence[str], cfg, jobs: int
) -> Iterator[tuple[str, list[float]]]:
    """Yield each task with the scores of all prompts on it; that of plain CLIP is last."""
    if not tasks:
        return
    prompts = [read_run(folder, cfg) for folder in run_folders]
    size = 1
    if not any(_is_visual(prompt) for prompt in prompts):
        # text prompts share the images' features: starting processes takes longer than
        # the rest
        jobs = 1
    if jobs > 1:
        size = math.ceil(len(tasks) / (4 * jobs))
    shares = [tasks[first : first + size] for first in range(0, len(tasks), size)]
    for index, scores in each(
        _score_share, [(prompts, cfg, share) for share in shares], jobs
    ):
        if isinstance(scores, Exception):
            raise scores
        yield from zip(shares[index], scores.T.tolist(), strict=True)


def _score_share(share: tuple[list[Prompt | None], object, list[str]]) -> np.ndarray:
    """Return scores (P + 1, tasks of this share); plain CLIP is last."""
    prompts, cfg, tasks = share
    datasets.register_all()
    return score_prompts([*prompts, None], cfg, tasks)


def _is_visual(prompt: Prompt | None) -> bool:
    return prompt is not None and prompt.contexts().visual is not None


def _read_columns(kept: str | Path | None, keys: dict[str, str]) -> dict[str, dict]:
    """Return the kept columns whose keys are still the same."""
    if not kept or not Path(kept).is_file():
        return {}
    known = read_json(Path(kept))
    return {
        name: known[name]
        for name, key in keys.items()
        if known.get(name, {}).get("key") == key
    }


def _column_keys(
    run_folders: Sequence[str | Path], tasks: Sequence[str], cfg
) -> dict[str, str]:
    """Return for each task's name the dependencies of its column: prompts, settings,
    test images and classes.
    """
    prompts = [_digest(Path(folder)) for folder in run_folders]
    settings = [
        (key, value)
        for key, value in flatten(without_local_paths(cfg))
        if key.startswith(SHARED)
    ]
    cfg = with_overrides(cfg, DATASET__NUM_SHOTS=0)
    keys = {}
    for name in tasks:
        task = build_task(cfg, name)
        for folder in run_folders:
            check_class_list(folder, task.classnames)
        labels = [sample.labels for sample in task.test]
        parts = (
            prompts,
            settings,
            fingerprints.of_images(task.test),
            labels,
            task.classnames,
            task.metric,
        )
        keys[task_name(name)] = fingerprints.of_text(*parts)[:32]
    return keys


def _digest(folder: Path) -> str:
    path = folder / "prompts.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no prompt (no prompts.safetensors)")
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
