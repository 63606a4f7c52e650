"""One entry of a submission: the predictions of one task, and the checks of its form."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elevater_eval.folds import fold_faults, kind, show
from elevater_eval.issues import ERROR, WARNING, Issue, Issues, error, errors, errors_of
from toolkit.common.text import printable

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
COUNTS = tuple(key for key in KEYS if key.startswith("num_"))
LARGEST_COUNT = 2**63
LONGEST_NAME = 1000
FOLDS_NAMED = 3  # of those without a seed
SEEDS_NAMED = 10

Record = dict[str, Any]  # a decoded JSON object
Folds = tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class PredictionFile:
    """Predictions of one task: of one prediction file, or of several seeds merged."""

    model_name: str
    dataset_name: str
    num_trainable_params: int | float  # a mean over seeds once merged
    num_params: int
    num_visual_params: int
    num_backbone_params: int
    n_shot: int  # 0: zero-shot, -1: the whole training set
    rnd_seeds: tuple[int, ...]
    predictions: Folds  # probabilities (N, C) float64, one array a seed
    # the file of each seed, for messages; not part of the format
    sources: tuple[str, ...]

    def where(self, seed_index: int | None = None) -> str:
        """Return the name of this entry, or of one of its seeds, for messages."""
        if seed_index is None:
            return f"{self.sources[0]}: {self.dataset_name}"
        return f"{self.sources[seed_index]}: {self.dataset_name}, seed {self.rnd_seeds[seed_index]}"

    def outline(self) -> PredictionFile:
        """Return a copy whose arrays have the shapes of the folds and take no memory."""
        empty = [np.broadcast_to(np.nan, fold.shape) for fold in self.predictions]
        return replace(self, predictions=tuple(empty))


def parse_entry(record: Any, where: str) -> tuple[PredictionFile | None, Issues]:
    """Return an entry made of a decoded JSON object, whose predictions `read_folds` has
    read, None if a part of it cannot be read; and all that is wrong with its form.
    Sizes and row sums depend on the task and are checked by `validation`.
    """
    if not isinstance(record, dict):
        message = f"an object with the nine keys is expected, got {kind(record)}"
        return None, [error(where, message)]
    place = place_of(record, where)
    field_issues = errors(place, _name_and_seed_faults(record))
    field_issues += _count_issues(record, place)
    shots = record.get("n_shot", 0)
    if type(shots) is not int or shots < -1:
        message = f"n_shot must be -1, 0 or a positive integer, got {show(shots)}"
        field_issues.append(error(place, message))
    folds, fold_issues = _folds(record, place)
    issues = errors(place, _key_faults(record)) + field_issues + fold_issues
    complete = all(key in record for key in KEYS)
    if not complete or errors_of(field_issues) or folds is None:
        return None, issues
    values = {key: record[key] for key in KEYS}
    values["rnd_seeds"] = tuple(record["rnd_seeds"])
    values["predictions"] = folds
    return PredictionFile(**values, sources=(where,) * len(folds)), issues


def place_of(record: Record, where: str) -> str:
    """Return a file and the task that a record names, if it names one, for messages."""
    name = record.get("dataset_name")
    if is_name(name):
        return f"{where}: {name}"
    return where


def is_name(value: Any) -> bool:
    """Return if a value can name a task or a model, also in a message of one line."""
    if not isinstance(value, str) or len(value) > LONGEST_NAME:
        return False
    return value.isprintable() and bool(value.strip())


def seed_list(seeds: Sequence[int]) -> str:
    """Return seeds as text, "0,1,2", the first ones if there are many."""
    text = ",".join(map(str, seeds[:SEEDS_NAMED]))
    if len(seeds) > SEEDS_NAMED:
        text += f",... ({len(seeds)} in all)"
    return text


def _key_faults(record: Record) -> Iterator[str]:
    for key in KEYS:
        if key not in record:
            yield f"key {key!r} is missing"
    for key in record:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(KEYS)}"
            yield f"unknown key {printable(repr(key), 100)}; {hint}"


def _name_and_seed_faults(record: Record) -> Iterator[str]:
    for key in ("model_name", "dataset_name"):
        if key in record and not is_name(record[key]):
            yield f"{key} must be a non-empty string of printable characters, got {show(record[key])}"
    if "rnd_seeds" not in record:
        return
    seeds = record["rnd_seeds"]
    if not isinstance(seeds, list) or not seeds or set(map(type, seeds)) != {int}:
        yield f"rnd_seeds must be a non-empty list of integers, got {show(seeds)}"
        return
    repeated = [seed for seed, count in Counter(seeds).items() if count > 1]
    if repeated:
        yield f"rnd_seeds {show(seeds)} holds seed {show(min(repeated))} more than once"


def _count_issues(record: Record, where: str) -> Issues:
    seeds = record.get("rnd_seeds")
    several = isinstance(seeds, list) and len(seeds) > 1
    present = [key for key in COUNTS if key in record]
    faults = [_count_fault(key, record[key], several) for key in present]
    issues = errors(where, filter(None, faults))
    if issues or len(present) < len(COUNTS):
        return issues
    trainable, total, visual, backbone = [record[key] for key in COUNTS]
    first, second, third, last = COUNTS
    for is_wrong, level, key, relation, other in (
        (total < visual, ERROR, second, "less", third),
        (backbone < visual, ERROR, last, "less", third),
        (visual <= total < backbone, WARNING, second, "less", last),
        (trainable > total, WARNING, first, "more", second),
    ):
        if is_wrong:
            message = (
                f"{key} ({record[key]}) is {relation} than {other} ({record[other]})"
            )
            issues.append(Issue(level, where, message))
    return issues


def _count_fault(key: str, value: Any, several_seeds: bool) -> str:
    if key == "num_trainable_params" and type(value) is float:
        # A merge writes the mean over seeds, which is a float and may fall between two
        # integers.
        integer = math.isfinite(value) and (several_seeds or value.is_integer())
    else:
        integer = type(value) is int
    if not integer:
        return f"{key} must be an integer, got {show(value)}"
    if value < 0:
        return f"{key} must not be negative, got {show(value)}"
    if value >= LARGEST_COUNT:
        return f"{key} is too large for a number of parameters"
    return ""


def _folds(record: Record, where: str) -> tuple[Folds | None, Issues]:
    if "predictions" not in record:
        return None, []
    folds = record["predictions"]
    if not isinstance(folds, list):
        message = f"predictions must be a list, got {kind(folds)}"
        return None, [error(where, message)]
    seeds = record.get("rnd_seeds")
    if not isinstance(seeds, list):
        seeds = []
    issues = []
    complete = len(folds) == len(seeds) > 0
    if not complete:
        message = (
            f"predictions hold {len(folds)} folds, rnd_seeds name {len(seeds)} seeds"
        )
        issues.append(error(where, message))
    named = max(len(seeds), FOLDS_NAMED)
    for i, fold in enumerate(folds[:named]):
        faults = [fold] if isinstance(fold, str) else fold_faults(fold)
        issues += errors(fold_place(where, seeds, i), faults)
    if not complete or any(isinstance(fold, str) for fold in folds):
        return None, issues
    return tuple(folds), issues


def fold_place(where: str, seeds: Any, fold: int) -> str:
    """Return a fold's name by its seed, or else by its position, for messages."""
    if isinstance(seeds, list) and fold < len(seeds):
        seed = seeds[fold]
        if type(seed) is int:
            return f"{where}, seed {show(seed)}"
    return f"{where}, fold {fold}"
