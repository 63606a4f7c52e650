"""Reads a run's folder, of one stage or of two: records, configuration, learning curves, predictions, tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from yacs.config import CfgNode

from datasets import Task, build_task, task_name
from elevater_eval import read_predictions
from trainers.engine.config import load
from trainers.engine.settings import task_names

Series = list[tuple[int, float]]  # (epoch, counted from 1; value)


@dataclass(frozen=True)
class Curves:
    """Learning curves: the training loss, and the validation score in percent of each task and of their mean."""

    loss: Series = field(default_factory=list)
    val: dict[str, Series] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One training: its folder, configuration, results.json's records and curves."""

    folder: Path
    cfg: CfgNode
    records: list[dict]
    curves: Curves

    def probabilities(self, record: dict) -> np.ndarray | None:
        """(N, C) of a record's test images; None where the file is not there. Raises ValueError where it is damaged."""
        path = self.folder / "predictions" / f"seed{record.get('seed', 0)}_{record['task']}.json"
        return read_predictions(path).predictions[0] if path.is_file() else None

    def task(self, label: str, root: str) -> Task:
        """The task with the run's own few-shot images. Raises FileNotFoundError or ValueError where data are missing."""
        cfg = self.cfg.clone()
        cfg.defrost()
        drawn = (self.folder / "fewshot" / f"{label}.json").is_file()
        cfg.DATASET.ROOT, cfg.DATASET.FEWSHOT = root, str(self.folder) if drawn else ""
        name = next((name for name in task_names(cfg) if task_name(name) == label), label)
        return build_task(cfg, name)


@dataclass(frozen=True)
class Experiment:
    """What the folder of a run holds. `stages` evaluate the records' tasks; `source` made the prompt they start from."""

    folder: Path
    cfg: CfgNode
    records: list[dict]
    stages: list[Stage]
    source: Stage | None = None

    @property
    def tasks(self) -> list[str]:
        return [record["task"] for record in self.records]

    def fact(self, key: str, default=None):
        """What all records say alike, such as "trainer", "shots", "seed"."""
        return self.records[0].get(key, default)

    def units(self) -> list[tuple[Stage, dict]]:
        """(stage, record) of every task in the records' order."""
        own = {record["task"]: stage for stage in self.stages for record in stage.records}
        return [(own[record["task"]], record) for record in self.records]


def read_experiment(folder: str | Path) -> Experiment:
    """Read a run's folder.

    Raises:
        FileNotFoundError: the folder, its results or its configuration is not there.
        ValueError: a file of it is damaged.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    records, cfg = _records(folder), _config(folder)
    if not (folder / "adapt").is_dir():
        return Experiment(folder, cfg, records, [_stage(folder)])
    stages = [_stage(folder / "adapt" / record["task"]) for record in records]
    for record, stage in zip(records, stages, strict=True):
        if record["task"] not in [own["task"] for own in stage.records]:
            raise ValueError(f"{stage.folder / 'results.json'} has no record of {record['task']}")
    source = _stage(folder / "source") if (folder / "source" / "results.json").is_file() else None
    return Experiment(folder, cfg, records, stages, source)


def check_seeds(runs: Sequence[Experiment]) -> None:
    """Raise ValueError where the runs are not one experiment with several seeds."""
    first = runs[0]
    for run in runs[1:]:
        for key in ("trainer", "shots", "backbone"):
            if run.fact(key) != first.fact(key):
                raise ValueError(f"{run.folder} has {key} {run.fact(key)!r}, {first.folder} has {first.fact(key)!r}")
        other = sorted(set(run.tasks) ^ set(first.tasks))
        if other:
            raise ValueError(f"{run.folder} and {first.folder} do not have the same tasks: {', '.join(other[:5])}")
    seeds = [run.fact("seed") for run in runs]
    for seed in seeds:
        if seeds.count(seed) > 1:
            raise ValueError(f"seed {seed} is given twice: runs of one experiment differ in their seeds")


def _stage(folder: Path) -> Stage:
    return Stage(folder, _config(folder), _records(folder), _curves(folder / "tensorboard"))


def _records(folder: Path) -> list[dict]:
    path = folder / "results.json"
    if not path.is_file():
        below = sorted(found.parent.name for found in folder.glob("*/results.json"))
        hint = (
            f"; there are results in {', '.join(below[:4])}" if below else "; is it the --output-dir of a finished run?"
        )
        raise FileNotFoundError(f"{folder} holds no results (no results.json){hint}")
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(records, list) or not records:
        raise ValueError(f"{path} holds no records")
    for record in records:
        complete = isinstance(record, dict) and all(isinstance(record.get(key), str) for key in ("task", "metric"))
        if not complete or not all(_is_score(record.get(key, 0.0)) for key in ("zero_shot", "source")):
            raise ValueError(f"{path}: a record needs task, metric and scores in percent")
        if not _is_score(record.get("score")):
            raise ValueError(f"{path}: the score of {record['task']} is {record.get('score')!r}, no number of percent")
    return records


def _is_score(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 100


def _config(folder: Path) -> CfgNode:
    path = folder / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no configuration (no config.yaml)")
    cfg = load(path)
    try:
        _ = cfg.TRAINER.NAME, cfg.DATASET.DATASET, cfg.MODEL.BACKBONE.NAME
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{path} is no configuration of a run: {error}") from None
    return cfg


def _curves(folder: Path) -> Curves:
    """From TensorBoard's event files; where a run was resumed, an epoch's last value counts."""
    if not any(folder.glob("events.*")):
        return Curves()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()

    def series(name: str) -> Series:
        return sorted({event.step + 1: event.value for event in events.Scalars(name)}.items())

    names = events.Tags()["scalars"]
    val = {name.removeprefix("val/"): series(name) for name in names if name.startswith("val/")}
    return Curves(series("train/loss") if "train/loss" in names else [], val)
