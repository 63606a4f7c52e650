"""Scores of every prompt on every task: computed column by column, and kept."""

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
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
    plain CLIP, (T,). cfg: with backbone and data root, by default the first run's.
    jobs: processes. kept: a JSON file of columns, taken from it if true, else added.
    done: called with the number of columns that are ready. Raises ValueError or
    FileNotFoundError.
    """
    if cfg is None:
        cfg = configuration_of(Path(run_folders[0]))
    keys = _column_keys(run_folders, tasks, cfg)
    known = read_json(kept) if kept and Path(kept).is_file() else {}
    columns = {}
    for name, key in keys.items():
        if known.get(name, {}).get("key") == key:
            columns[name] = known[name]
    done(len(columns))
    missing = [task for task in tasks if task_name(task) not in columns]
    for task, column in _score_tasks(run_folders, missing, cfg, jobs):
        name = task_name(task)
        plain = column.pop()
        columns[name] = {"key": keys[name], "zero_shot": plain}
        columns[name]["scores"] = column
        if kept:
            ordered = {name: columns[name] for name in keys if name in columns}
            write_json(kept, ordered, indent=1)
        done(len(columns))
    scores = [columns[name]["scores"] for name in keys]
    zero_shot = [columns[name]["zero_shot"] for name in keys]
    return np.array(scores).T, np.array(zero_shot)


def configuration_of(folder: Path, root: str = ""):
    """Return the configuration of a run, or raise FileNotFoundError."""
    file = folder / "config.yaml"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} holds no run (no config.yaml)")
    datasets.register_all()
    trainers.register_all()
    flags = {"DATASET.ROOT": root} if root else {}
    return resolve("", [str(file)], flags, [])


def _score_tasks(
    run_folders: Sequence[str | Path], tasks: Sequence[str], cfg, jobs: int
) -> Iterator[tuple[str, list[float]]]:
    """Yield each task with the scores of all prompts on it; that of plain CLIP is last."""
    if not tasks:
        return
    prompts = [read_run(folder, cfg) for folder in run_folders]
    contexts = [prompt.contexts() for prompt in prompts if prompt is not None]
    if all(context.visual is None for context in contexts):
        # text prompts share the images' features: starting processes takes longer than
        # the rest
        jobs = 1
    size = 1
    if jobs > 1:
        most_shares = 4 * jobs
        size = math.ceil(len(tasks) / most_shares)
    starts = range(0, len(tasks), size)
    shares = [tasks[first : first + size] for first in starts]
    score = partial(_score_share, prompts, cfg)
    for index, scores in each(score, shares, jobs):
        if isinstance(scores, Exception):
            raise scores
        columns = scores.T.tolist()
        yield from zip(shares[index], columns, strict=True)


def _score_share(prompts: list[Prompt | None], cfg, tasks: list[str]) -> np.ndarray:
    """Return scores (P + 1, tasks of this share); plain CLIP is last."""
    datasets.register_all()
    return score_prompts([*prompts, None], cfg, tasks)


def _column_keys(run_folders: Sequence[str | Path], tasks: Sequence[str], cfg):
    """Return for each task's name a fingerprint of what its column depends on."""
    prompts = []
    for folder in run_folders:
        path = Path(folder) / "prompts.safetensors"
        if not path.is_file():
            raise FileNotFoundError(f"{folder} holds no prompt (no {path.name})")
        fingerprint = hashlib.sha256(path.read_bytes()).hexdigest()
        prompts.append(fingerprint[:16])
    settings = []
    for key, value in flatten(without_local_paths(cfg)):
        if key.startswith(SHARED):
            settings.append((key, value))
    cfg = with_overrides(cfg, DATASET__NUM_SHOTS=0)
    keys = {}
    for name in tasks:
        task = build_task(cfg, name)
        for folder in run_folders:
            check_class_list(folder, task.classnames)
        labels = [sample.labels for sample in task.test]
        images = fingerprints.of_images(task.test)
        test = (images, labels, task.classnames, task.metric)
        key = fingerprints.of_text(prompts, settings, *test)
        keys[task_name(name)] = key[:32]
    return keys
