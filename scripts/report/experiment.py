"""Read a run's folder: records, configuration, curves, predictions, tasks."""

import csv
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from yacs.config import CfgNode

from datasets import Task, build_task, is_custom, task_name
from elevater_eval import read_predictions
from trainers.engine import tables
from trainers.engine.config import load
from trainers.engine.settings import task_names

log = logging.getLogger(__name__)

Series = list[tuple[int, float]]  # (epoch, counted from 1; value)


@dataclass(frozen=True)
class Curves:
    """Learning curves: training loss, and validation score in percent by task."""

    loss: Series = field(default_factory=list)
    val: dict[str, Series] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """One training: its folder, configuration, results.json's records and curves."""

    folder: Path
    cfg: CfgNode
    records: list[dict]
    curves: Curves

    def has_shots(self, label: str) -> bool:
        """Return True if the run has recorded a task's training images."""
        return (self.folder / "fewshot" / f"{label}.json").is_file()

    def probabilities(self, record: dict) -> np.ndarray | None:
        """Return those (N, C) of a record, None without a file; ValueError if damaged."""
        name = f"seed{record.get('seed', 0)}_{record['task']}.json"
        path = self.folder / "predictions" / name
        if not path.is_file():
            return None
        return read_predictions(path).predictions[0]

    def zero_shot_of_classes(self, task: str) -> dict[int, float]:
        """Return label -> zero-shot's percent of a task's classes; {} if unknown."""
        path = self.folder / tables.FOLDER / f"classes_{task}.csv"
        if not path.is_file():
            return {}
        found = {}
        try:
            with open(path, newline="", encoding="utf-8") as file:
                for label, row in enumerate(csv.DictReader(file)):
                    if row.get("zero_shot"):
                        found[label] = float(row["zero_shot"])
        except (ValueError, csv.Error) as error:
            log.warning("%s is damaged: %s", path, error)
            return {}
        return found

    def task(self, label: str, root: str) -> Task:
        """Return the task with the run's own few-shot images. Raises FileNotFoundError
        or ValueError without its data.
        """
        cfg = self.cfg.clone()
        cfg.defrost()
        cfg.DATASET.ROOT = root
        cfg.DATASET.FEWSHOT = str(self.folder) if self.has_shots(label) else ""
        for name in task_names(cfg):
            place = self._find_custom(name, root)
            if task_name(place) == label:
                return build_task(cfg, place)
        return build_task(cfg, label)

    def _find_custom(self, name: str, root: str) -> str:
        """Return a custom task's name with its path below `root`, or near the run."""
        kind, _, path = name.partition(":")
        if not is_custom(name):
            return name
        folders = [Path(), *self.folder.resolve().parents]
        if root:
            folders.insert(0, Path(root))
        for folder in folders:
            if (folder / path).exists():
                return f"{kind}:{folder / path}"
        return name


@dataclass(frozen=True)
class Experiment:
    """The content of a run's folder."""

    folder: Path
    cfg: CfgNode
    records: list[dict]
    stages: list[Stage]  # evaluate the records' tasks
    source: Stage | None = None  # made the prompt that they start from

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def tasks(self) -> list[str]:
        return [record["task"] for record in self.records]

    def common(self, key: str, default=None):
        """Return an entry that all records have alike, such as "seed"."""
        return self.records[0].get(key, default)

    def scores(self, key: str = "score") -> list[float]:
        """Return a score of every task in percent; none if a task lacks it."""
        values = [record.get(key) for record in self.records]
        if None in values:
            return []
        return [float(value) for value in values]

    def units(self) -> list[tuple[Stage, dict]]:
        """Return (stage, record) of every task in the records' order."""
        by_task = {}
        for stage in self.stages:
            by_task |= {record["task"]: stage for record in stage.records}
        return [(by_task[record["task"]], record) for record in self.records]


def read_experiment(folder: str | Path) -> Experiment:
    """Read a run's folder. Raise FileNotFoundError or ValueError naming the fault."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    records, cfg = _read_records(folder), _read_config(folder)
    if not (folder / "adapt").is_dir():
        return Experiment(folder, cfg, records, [_read_stage(folder)])
    stages = []
    for record in records:
        stage = _read_stage(folder / "adapt" / record["task"])
        if record["task"] not in [known["task"] for known in stage.records]:
            path = stage.folder / "results.json"
            raise ValueError(f"{path} has no record of {record['task']}")
        stages.append(stage)
    source = None
    if (folder / "source" / "results.json").is_file():
        source = _read_stage(folder / "source")
    return Experiment(folder, cfg, records, stages, source)


def check_seeds(runs: Sequence[Experiment]) -> None:
    """Raise ValueError if the runs are not one experiment with several seeds."""
    first = runs[0]
    for run in runs[1:]:
        for key in ("trainer", "shots", "backbone"):
            one = first.common(key)
            other = run.common(key)
            if one != other:
                values = f"{key} {other!r}, {first.folder} has {one!r}"
                raise ValueError(f"{run.folder} has {values}")
        odd = sorted(set(run.tasks) ^ set(first.tasks))
        if odd:
            both = f"{run.folder} and {first.folder}"
            raise ValueError(f"{both} do not have the same tasks: {', '.join(odd[:5])}")
    seeds = [run.common("seed") for run in runs]
    for seed in seeds:
        if seeds.count(seed) > 1:
            differ = "runs of one experiment differ in their seeds"
            raise ValueError(f"seed {seed} is given twice: {differ}")


def _read_stage(folder: Path) -> Stage:
    cfg, records = _read_config(folder), _read_records(folder)
    return Stage(folder, cfg, records, _read_curves(folder / "tensorboard"))


def _read_records(folder: Path) -> list[dict]:
    path = folder / "results.json"
    if not path.is_file():
        below = sorted(found.parent.name for found in folder.glob("*/results.json"))
        hint = "is it the --output-dir of a finished run?"
        if below:
            hint = f"there are results in {', '.join(below[:4])}"
        raise FileNotFoundError(f"{folder} holds no results (no results.json); {hint}")
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    if not isinstance(records, list) or not records:
        raise ValueError(f"{path} holds no records")
    for record in records:
        _check_record(record, path)
    return records


def _check_record(record: object, path: Path) -> None:
    needs = f"{path}: a record needs task, metric and scores in percent"
    if not isinstance(record, dict):
        raise ValueError(needs)
    names = [record.get("task"), record.get("metric")]
    others = [record.get("zero_shot", 0.0), record.get("source", 0.0)]
    if not all(isinstance(name, str) for name in names) or not all(
        map(_is_score, others)
    ):
        raise ValueError(needs)
    task = record["task"]
    split = record.get("split", "test")
    if "score" not in record and "trainer" in record:
        reason = "was not scored (TEST.NO_TEST True): a report needs scores of a test"
        raise ValueError(f"{path}: {task} {reason}")
    if split != "test":
        images = f"{split} images (TEST.SPLIT {split}), not of a test"
        raise ValueError(f"{path}: the score of {task} is of its {images}")
    if not _is_score(record.get("score")):
        value = f"{record.get('score')!r}, no number of percent"
        raise ValueError(f"{path}: the score of {task} is {value}")


def _is_score(value: object) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 100


def _read_config(folder: Path) -> CfgNode:
    path = folder / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no configuration (no config.yaml)")
    cfg = load(path)
    try:
        _ = cfg.TRAINER.NAME, cfg.DATASET.DATASET, cfg.MODEL.BACKBONE.NAME
    except (AttributeError, TypeError) as error:
        raise ValueError(f"{path} is no configuration of a run: {error}") from None
    return cfg


def _read_curves(folder: Path) -> Curves:
    """Read TensorBoard's event files; of a resumed epoch the last value counts."""
    if not any(folder.glob("events.*")):
        return Curves()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    curves = Curves()
    for name in events.Tags()["scalars"]:
        values = {event.step + 1: event.value for event in events.Scalars(name)}
        series = sorted(values.items())
        if name == "train/loss":
            curves.loss.extend(series)
        elif name.startswith("val/"):
            curves.val[name.removeprefix("val/")] = series
    return curves
