"""The output of a run: prediction files, the records of results.json, and their table."""

import hashlib
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from torch import Tensor

from datasets import Task
from elevater_eval import metrics, write_predictions
from prompting.checkpoints.foreign import checkpoint_path, read_checkpoint
from prompting.model import count_parameters
from toolkit.common.structured import write_json
from toolkit.common.text import printable
from trainers.features.extraction import rows_at_once

from . import provenance, tables

TOLERATED_LOSS = 1.0  # percent points below zero-shot
SPLITS = ("train", "val", "test")
COLUMNS = {"zero_shot": "zero-shot", "source": "source prompt", "score": "adapted"}


def score(
    task: Task, targets: Tensor, probabilities: Tensor | Iterable[Tensor]
) -> float:
    """Return the task's official metric in percent, on probabilities of six decimals.
    probabilities: (N, C), or parts of it, of which one is held at a time if the metric
    is of the best class.
    """
    truth = targets.numpy()
    if task.metric == "accuracy" and truth.ndim == 2:
        raise ValueError(f"{task.name} is multilabel; it can't be scored by accuracy")
    if isinstance(probabilities, Tensor):
        rows = rows_at_once(probabilities.shape[1])
        probabilities = probabilities.split(rows)
    parts = map(tables.six_decimals, probabilities)
    if task.metric not in ("accuracy", "mean-per-class") or truth.ndim == 2:
        return 100.0 * metrics.compute(task.metric, truth, np.concatenate(list(parts)))
    unlabelled = int((truth < 0).sum())
    if unlabelled:
        raise ValueError(
            f"{task.name}: {unlabelled} image without a label can't be scored by {task.metric}"
        )
    present = slice(None)
    # classes without an image are left out before the best is taken
    if task.metric == "mean-per-class":
        present = np.unique(truth)
    best = []
    for values in parts:
        if not np.isfinite(values).all():
            raise ValueError("probabilities hold NaN or infinity")
        of_present = values[:, present]
        best.append(of_present.argmax(axis=1))
    classes = np.arange(task.num_classes)[present]
    hits = classes[np.concatenate(best)] == truth
    if task.metric == "accuracy":
        return 100.0 * float(np.mean(hits))
    _, position = np.unique(truth, return_inverse=True)
    recalls = np.bincount(position, weights=hits) / np.bincount(position)
    return 100.0 * float(np.mean(recalls))


def backbone_name(cfg) -> str:
    """Return the name of the backbone in results: of a checkpoint, the file's."""
    name = cfg.MODEL.BACKBONE.NAME
    if os.path.isabs(name) or os.path.isfile(name):
        return os.path.basename(name)
    return name


def write(
    trainer,
    probabilities: Mapping[str, Tensor],
    scores: Mapping[str, float],
    split: str = "test",
) -> list[dict]:
    """Write the files of a run of our trainers; return the records of results.json.
    Predictions and tables are of the test split alone. Without scores (TEST.NO_TEST)
    the records have none.
    """
    cfg = trainer.cfg
    counts = count_parameters(trainer.backbone.clip, trainer.model.prompt)
    tested: list[tables.Tested] = []
    records = []
    for position, task in enumerate(trainer.tasks):
        found: dict = {}
        if task.name in scores:
            targets = trainer.sets[split].targets(position)
            tested.append((task, targets, probabilities[task.name]))
            found = judged(*tested[-1], scores[task.name])
            found |= tables.asked_for(cfg, *tested[-1])
        elif scores:
            continue
        record = begin_record(cfg, task, found, split)
        for column, values in trainer.reference_scores.items():
            if task.name in values:
                record[column] = round(values[task.name], 6)
        record |= {"backbone": backbone_name(cfg), **trainer.context.metadata}
        sizes = [trainer.sets[name].sizes[position] for name in SPLITS]
        records.append(record | origin(trainer, task, sizes, counts))
    if split != "test":
        tested = []
    write_files(cfg, tested, records, counts, trainer.zero_shot_classes)
    return records


def write_files(
    cfg,
    tested: Sequence[tables.Tested],
    records: Sequence[dict],
    counts: Mapping[str, int],
    zero_shot: Mapping[str, Sequence[dict]],
) -> None:
    """Write predictions/seed<seed>_<task>.json, the tables, and results.json."""
    folder, seed = Path(cfg.OUTPUT_DIR), max(cfg.SEED, 0)
    for task, _, probabilities in tested:
        write_predictions(
            folder / "predictions" / f"seed{seed}_{task.name}.json",
            model_name=f"{cfg.TRAINER.NAME}-{backbone_name(cfg)}",
            dataset_name=task.name,
            n_shot=int(cfg.DATASET.NUM_SHOTS),
            seed=seed,
            probabilities=probabilities.numpy(),
            **counts,
        )
    if tested:
        tables.write(folder, tested, zero_shot)
    write_json(folder / "results.json", records, indent=1)


def judged(task: Task, targets: Tensor, probabilities: Tensor, score: float) -> dict:
    """Return the part of a record about scores in percent."""
    found = {"score": round(score, 6)}
    if task.metric == "accuracy":
        predicted = tables.six_decimals(probabilities).argmax(axis=1)
        found["macro_f1"] = round(macro_f1(targets.numpy(), predicted), 6)
    return found


def begin_record(cfg, task: Task, judged: Mapping, split: str) -> dict:
    """Return the first part of a record: task, scores and run."""
    record = {"task": task.name, "metric": task.metric, **judged}
    if split != "test":
        record["split"] = split
    record |= {"trainer": cfg.TRAINER.NAME, "shots": int(cfg.DATASET.NUM_SHOTS)}
    record["seed"] = max(cfg.SEED, 0)
    return record


def origin(
    trainer,
    task: Task,
    sizes: Sequence[int],
    counts: Mapping[str, int],
    validation: float | None = None,
) -> dict:
    """Return the last part of a record: validation score, images, program, machine.
    sizes: of `SPLITS`. validation: the score if training has kept no epoch by one.
    """
    record: dict = {}
    best = float(getattr(trainer, "best_result", -math.inf))
    # in percent, of the epoch that training keeps; of several tasks, their mean
    if math.isfinite(best):
        validation = best
    if validation is not None:
        record["val_score"] = round(validation, 6)
    record["classes"] = task.num_classes
    for name, size in zip(SPLITS, sizes, strict=True):
        record[f"{name}_images"] = size
    record |= {**counts, "data": provenance.of_data(task), **provenance.of_program()}
    record["machine"] = provenance.of_machine(trainer.device.type)
    return record


def has_predictions(records: Sequence[dict]) -> bool:
    """Return True for results on test sets, False with TEST.NO_TEST or TEST.SPLIT val."""
    return all("score" in record and "split" not in record for record in records)


def digest(directory: str, epoch: int | None = None) -> str:
    """Return a fingerprint of a run's prompt: 16 hexadecimal digits of tensors."""
    path = Path(checkpoint_path(directory, epoch))
    written = path.stat()
    return _digest_once(path, written.st_mtime_ns, written.st_size)


@lru_cache(maxsize=128)
def _digest_once(path: Path, written: int, size: int) -> str:
    """Return the digest of a checkpoint, computed once a version of the file."""
    state = read_checkpoint(path).state
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(name.encode())
        total.update(state[name].float().cpu().numpy().tobytes())
    return total.hexdigest()[:16]


def macro_f1(targets: np.ndarray, predicted: np.ndarray) -> float:
    """Return F1 in percent of predictions (N,), the mean over labels that occur."""
    scores = []
    for label in np.unique(targets):
        true, found = targets == label, predicted == label
        hits = np.sum(true & found)
        scores.append(2 * hits / (np.sum(true) + np.sum(found)))
    return 100.0 * float(np.mean(scores))


def parsed_lines(records: Sequence[dict], trained: bool) -> str:
    """Return the lines that CoOp's parse_test_res.py reads from a log, or ""."""
    f1 = [record["macro_f1"] for record in records if "macro_f1" in record]
    if not f1 or len(f1) < len(records):
        return ""
    accuracy = sum(record["score"] for record in records) / len(records)
    mean_f1 = sum(f1) / len(f1)
    lines = ["=> result", f"* accuracy: {accuracy:.1f}%", f"* macro_f1: {mean_f1:.1f}%"]
    if trained:
        lines.insert(0, "Finish training")
    return "\n".join(lines) + "\n"


def one_line(record: dict) -> str:
    """Return a record's scores in a line."""
    scores = [
        f"{label} {record[column]:.1f}"
        for column, label in COLUMNS.items()
        if column in record
    ]
    if "score" not in record:
        scores.append("not tested (TEST.NO_TEST)")
    return f"{printable(record['task'])}: {', '.join(scores)}"


def markdown(records: Sequence[dict]) -> str:
    """Return a table of scores in percent, and below it the tasks under zero-shot."""
    rows = [["task", "metric"]]
    for record in records:
        name = printable(record["task"]).replace("|", "\\|")
        rows.append([name, record["metric"]])
    rows.append(["mean", ""])
    for column, label in COLUMNS.items():
        values = [record[column] for record in records if column in record]
        if not values:
            continue
        rows[0].append(label)
        for row, record in zip(rows[1:-1], records, strict=True):
            row.append(f"{record[column]:.1f}" if column in record else "")
        complete = len(values) == len(records)
        rows[-1].append(f"{sum(values) / len(values):.1f}" if complete else "")
    if len(records) == 1:
        del rows[-1]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    rule = [f"{'-' * (width + 2)}" for width in widths[:2]]
    rule += [f"{'-' * (width + 1)}:" for width in widths[2:]]
    lines = []
    for row in rows:
        left = map(str.ljust, row[:2], widths)
        numbers = map(str.rjust, row[2:], widths[2:])
        lines.append(f"| {' | '.join([*left, *numbers])} |")
    lines.insert(1, f"|{'|'.join(rule)}|")
    worse = below_zero_shot(records)
    if worse:
        lines += ["", worse]
    return "\n".join(lines) + "\n"


def below_zero_shot(records: Sequence[dict]) -> str:
    """Return a sentence about tasks `TOLERATED_LOSS` below zero-shot, or ""."""
    compared, worse = 0, []
    for record in records:
        if "zero_shot" in record and "score" in record:
            compared += 1
            if record["score"] < record["zero_shot"] - TOLERATED_LOSS:
                worse.append(printable(record["task"]))
    if not compared:
        return ""
    if not worse:
        return "No task is more than a point below zero-shot"
    count = f"{len(worse)} of {compared} tasks are"
    if len(worse) == 1:
        count = f"1 of {compared} tasks is"
    if compared == 1:
        count = "The task is"
    return f"{count} more than a point below zero-shot: {', '.join(worse)}"
