"""One entry of a submission: the predictions of one task, and the checks of its form."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elevater_eval.folds import Defect, fold_faults, kind, show
from elevater_eval.problems import ERROR, WARNING, Problem, errors_of

KEYS = (
    "model_name",
    "dataset_name",
    "num_trainable_params",
    "num_params",
    "num_visual_params",
    "num_backbone_params",
    "n_shot",
    "rnd_seeds",
    "predictions",
)
LARGEST_COUNT = 2**63
FOLDS_NAMED = 3  # of those without a seed
COUNTS = ("num_trainable_params", "num_params", "num_visual_params", "num_backbone_params")


@dataclass(frozen=True, eq=False)
class PredictionFile:
    """Predictions of one task: the content of one prediction file, or of several seeds merged."""

    model_name: str
    dataset_name: str
    num_trainable_params: int | float  # a mean over seeds once merged
    num_params: int
    num_visual_params: int
    num_backbone_params: int
    n_shot: int  # 0: zero-shot, -1: the whole training set
    rnd_seeds: tuple[int, ...]
    predictions: tuple[np.ndarray, ...]  # probabilities (N, C) float64, one array a seed
    sources: tuple[str, ...]  # where each seed was read, for messages; not part of the format

    def where(self, seed_index: int | None = None) -> str:
        """The place of this entry, or of one of its seeds, as messages name it."""
        if seed_index is None:
            return f"{self.sources[0]}: {self.dataset_name}"
        return f"{self.sources[seed_index]}: {self.dataset_name}, seed {self.rnd_seeds[seed_index]}"

    def outline(self) -> PredictionFile:
        """The same with arrays that have the folds' shapes and hold nothing, to keep when the folds need not be kept."""
        return replace(self, predictions=tuple(np.broadcast_to(np.nan, fold.shape) for fold in self.predictions))


def parse_entry(record: Any, where: str) -> tuple[PredictionFile | None, list[Problem]]:
    """Check the form of a decoded JSON object, whose predictions ``read_folds`` has read, and make an entry of it.

    Returns the entry, None where a part of it cannot be read, and all that is wrong with its form. Sizes and row sums
    depend on the task and are judged by ``validation``.
    """
    if not isinstance(record, dict):
        return None, [Problem(ERROR, where, f"an object with the nine keys is expected, got {kind(record)}")]
    name = record.get("dataset_name")
    place = f"{where}: {name}" if is_name(name) else where

    problems = _key_problems(record, place)
    complete = not any(key not in record for key in KEYS)
    for key in ("model_name", "dataset_name"):
        if key in record and not is_name(record[key]):
            message = f"{key} must be a non-empty string of printable characters, got {show(record[key])}"
            problems.append(Problem(ERROR, place, message))
            complete = False
    seeds = record.get("rnd_seeds")
    if "rnd_seeds" in record:
        found = _seed_problems(seeds, place)
        problems += found
        complete &= not found
    found = _count_problems(record, place)
    problems += found
    complete &= not errors_of(found)
    if "n_shot" in record and not (type(record["n_shot"]) is int and record["n_shot"] >= -1):
        message = f"n_shot must be -1, 0 or a positive integer, got {show(record['n_shot'])}"
        problems.append(Problem(ERROR, place, message))
        complete = False
    folds: tuple[np.ndarray, ...] | None = None
    if "predictions" in record:
        folds, found = _folds(record["predictions"], seeds, place)
        problems += found
    if not complete or folds is None:
        return None, problems
    fields = {key: record[key] for key in KEYS}
    fields |= {"rnd_seeds": tuple(seeds), "predictions": folds}
    return PredictionFile(**fields, sources=(where,) * len(folds)), problems


def is_name(value: Any) -> bool:
    """Can ``value`` name a task or a model, also in a message of one line?"""
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


def _key_problems(record: dict[str, Any], where: str) -> list[Problem]:
    problems = [Problem(ERROR, where, f"key {key!r} is missing") for key in KEYS if key not in record]
    for key in record:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(KEYS)}"
            problems.append(Problem(ERROR, where, f"unknown key {key!r}; {hint}"))
    return problems


def _count_problems(record: dict[str, Any], where: str) -> list[Problem]:
    problems, counts = [], {}
    for key in COUNTS:
        if key not in record:
            continue
        value = record[key]
        # A merge writes the mean over seeds, which is a float and may fall between two integers.
        averaged = key == "num_trainable_params" and type(value) is float and math.isfinite(value)
        several = isinstance(record.get("rnd_seeds"), list) and len(record["rnd_seeds"]) > 1
        if not (type(value) is int or averaged and (value.is_integer() or several)):
            problems.append(Problem(ERROR, where, f"{key} must be an integer, got {show(value)}"))
        elif value < 0:
            problems.append(Problem(ERROR, where, f"{key} must not be negative, got {show(value)}"))
        elif value >= LARGEST_COUNT:
            problems.append(Problem(ERROR, where, f"{key} is too large for a number of parameters"))
        else:
            counts[key] = value
    if problems or len(counts) < len(COUNTS):
        return problems
    trainable, total, visual, backbone = (counts[key] for key in COUNTS)
    if total < visual:
        problems.append(Problem(ERROR, where, f"num_params ({total}) is less than num_visual_params ({visual})"))
    if backbone < visual:
        problems.append(
            Problem(ERROR, where, f"num_backbone_params ({backbone}) is less than num_visual_params ({visual})")
        )
    if visual <= total < backbone:
        problems.append(Problem(WARNING, where, f"num_params ({total}) is less than num_backbone_params ({backbone})"))
    if trainable > total:
        problems.append(
            Problem(WARNING, where, f"num_trainable_params ({trainable}) is more than num_params ({total})")
        )
    return problems


def _seed_problems(seeds: Any, where: str) -> list[Problem]:
    if not isinstance(seeds, list) or not seeds or any(type(seed) is not int for seed in seeds):
        return [Problem(ERROR, where, f"rnd_seeds must be a non-empty list of integers, got {show(seeds)}")]
    repeated = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if repeated:
        return [Problem(ERROR, where, f"rnd_seeds {seeds} holds seed {repeated[0]} more than once")]
    return []


def _folds(predictions: Any, seeds: Any, where: str) -> tuple[tuple[np.ndarray, ...] | None, list[Problem]]:
    if not isinstance(predictions, list):
        return None, [Problem(ERROR, where, f"predictions must be a list, got {kind(predictions)}")]
    seeds = seeds if isinstance(seeds, list) else []
    problems = []
    if len(predictions) != len(seeds) or not predictions:
        message = f"predictions hold {len(predictions)} folds, rnd_seeds name {len(seeds)} seeds"
        problems.append(Problem(ERROR, where, message))
    for i, fold in enumerate(predictions[: max(len(seeds), FOLDS_NAMED)]):
        place = f"{where}, seed {seeds[i]}" if i < len(seeds) else f"{where}, fold {i}"
        faults = [fold.message] if isinstance(fold, Defect) else fold_faults(fold)
        problems += [Problem(ERROR, place, fault) for fault in faults]
    if len(predictions) != len(seeds) or any(isinstance(fold, Defect) for fold in predictions):
        return None, problems
    return tuple(predictions) or None, problems
