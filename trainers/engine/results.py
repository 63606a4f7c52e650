"""What a run leaves: prediction files, results.json, and where checkpoints lie."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path

import numpy as np
from torch import Tensor

from datasets import Task
from elevater_eval import metrics, write_predictions
from prompting.checkpoints.foreign import checkpoint_path, read_checkpoint
from prompting.model import count_parameters
from toolkit.common.files import atomic_write

from . import provenance


def score(task: Task, targets: Tensor, probabilities: Tensor) -> float:
    """The task's official metric in percent, on probabilities (N, C) of six decimals, as a prediction file holds
    them."""
    values = np.round(probabilities.numpy().astype(np.float64), 6)
    truth = targets.numpy()
    if task.metric == "accuracy" and truth.ndim == 2:
        raise ValueError(f"{task.name} is multilabel; it can't be scored by accuracy")
    return 100.0 * metrics.compute(task.metric, truth, values)


def backbone_name(cfg) -> str:
    """What the backbone is called in results: its name; of a checkpoint, the file's."""
    name = cfg.MODEL.BACKBONE.NAME
    return os.path.basename(name) if os.path.isabs(name) or os.path.isfile(name) else name


def write(trainer, probabilities: dict[str, Tensor], scores: dict[str, float]) -> list[dict]:
    """Write predictions/seed<seed>_<task>.json for every task, and results.json; return its records."""
    cfg, folder = trainer.cfg, Path(trainer.output_dir)
    seed, shots = max(cfg.SEED, 0), int(cfg.DATASET.NUM_SHOTS)
    counts = count_parameters(trainer.backbone.clip, trainer.model.prompt)
    name = backbone_name(cfg)
    for task, values in probabilities.items():
        write_predictions(
            folder / "predictions" / f"seed{seed}_{task}.json",
            model_name=f"{cfg.TRAINER.NAME}-{name}",
            dataset_name=task,
            n_shot=shots,
            seed=seed,
            probabilities=values.numpy(),
            **counts,
        )
    by_name = {task.name: task for task in trainer.tasks}
    records = [
        {
            "task": task,
            "metric": by_name[task].metric,
            "score": round(value, 6),
            "trainer": cfg.TRAINER.NAME,
            "shots": shots,
            "seed": seed,
            **{column: round(values[task], 6) for column, values in trainer.reference_scores.items() if task in values},
            "backbone": name,
            **trainer.context.metadata,
            **_validation(trainer),
            "classes": by_name[task].num_classes,
            "test_images": len(by_name[task].test),
            **counts,
            "data": provenance.of_data(by_name[task]),
            **provenance.of_program(),
        }
        for task, value in scores.items()
    ]
    write_json(folder / "results.json", records)
    return records


def _validation(trainer) -> dict[str, float]:
    """The validation score in percent of the epoch that a training run keeps: of several tasks, their mean."""
    best = float(getattr(trainer, "best_result", float("-inf")))
    return {"val_score": round(best, 6)} if math.isfinite(best) else {}


def write_json(path: Path, value) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(value, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, making its folder."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def digest(directory: str, epoch: int | None = None) -> str:
    """A fingerprint of the prompt in a run's folder: 16 hexadecimal digits over its tensors."""
    state = read_checkpoint(checkpoint_path(directory, epoch)).state
    total = hashlib.sha256()
    for name in sorted(state):
        total.update(name.encode())
        total.update(state[name].float().cpu().numpy().tobytes())
    return total.hexdigest()[:16]


def read_json(path: Path):
    """The content of a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


COLUMNS = {"zero_shot": "zero-shot", "source": "source prompt", "score": "adapted"}


def one_line(record: dict) -> str:
    """A record's scores in a line."""
    return f"{record['task']}: " + ", ".join(
        f"{label} {record[column]:.1f}" for column, label in COLUMNS.items() if column in record
    )


def markdown(records: list[dict]) -> str:
    """A table of records: task, metric, and the scores that there are, in percent; the mean last."""
    columns = [column for column in COLUMNS if any(column in record for record in records)]
    lines = [["task", "metric", *(COLUMNS[column] for column in columns)]]
    for record in records:
        lines.append([record["task"], record["metric"], *(f"{record[c]:.1f}" if c in record else "" for c in columns)])
    means = ["mean", ""]
    for column in columns:
        values = [record[column] for record in records if column in record]
        means.append(f"{sum(values) / len(values):.1f}" if len(values) == len(records) else "")
    lines.append(means)
    widths = [max(len(line[k]) for line in lines) for k in range(len(lines[0]))]
    aligned = [
        "| "
        + " | ".join(
            cell.ljust(w) if k < 2 else cell.rjust(w) for k, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (w + 2) if k < 2 else "-" * (w + 1) + ":" for k, w in enumerate(widths)) + "|"
    return "\n".join([aligned[0], rule, *aligned[1:]]) + "\n"
