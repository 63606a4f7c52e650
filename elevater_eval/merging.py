"""What belongs together: the parts of one task over seeds, and the tasks of one experiment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elevater_eval.entry import PredictionFile
from elevater_eval.problems import ERROR, Problem

SAME_OVER_SEEDS = ("model_name", "num_params", "num_visual_params", "num_backbone_params", "n_shot")
SAME_OVER_TASKS = ("model_name", "n_shot")


def merge(parts: Sequence[PredictionFile]) -> tuple[PredictionFile | None, list[Problem]]:
    """One entry of the parts of one task, its seeds ascending; None with the problems where the parts conflict."""
    problems = [problem for part in parts[1:] for problem in _conflicts(parts[0], part)] + _repeated_seeds(parts)
    if problems:
        return None, problems
    folds = [fold for part in parts for fold in zip(part.rnd_seeds, part.predictions, part.sources, strict=True)]
    seeds, predictions, sources = zip(*sorted(folds, key=lambda fold: fold[0]), strict=True)
    trainable = float(np.mean([part.num_trainable_params for part in parts]))
    return replace(
        parts[0], num_trainable_params=trainable, rnd_seeds=seeds, predictions=predictions, sources=sources
    ), []


def _conflicts(first: PredictionFile, other: PredictionFile) -> list[Problem]:
    problems = []
    for key in SAME_OVER_SEEDS:
        mine, theirs = getattr(first, key), getattr(other, key)
        if mine != theirs:
            message = f"{key} is {theirs!r}, but {mine!r} in {first.sources[0]}: two experiments are mixed"
            problems.append(Problem(ERROR, other.where(), message))
    shape, shape_of_other = first.predictions[0].shape, other.predictions[0].shape
    if shape != shape_of_other:
        message = f"predictions are {_size(shape_of_other)}, but {_size(shape)} in {first.sources[0]}"
        problems.append(Problem(ERROR, other.where(), message))
    return problems


def _repeated_seeds(group: Sequence[PredictionFile]) -> list[Problem]:
    problems, seen = [], {}
    for part in group:
        for i, seed in enumerate(part.rnd_seeds):
            if seed in seen:
                problems.append(Problem(ERROR, part.where(i), f"seed {seed} is also in {seen[seed]}"))
            seen.setdefault(seed, part.sources[i])
    return problems


def one_experiment(entries: Sequence[PredictionFile]) -> list[Problem]:
    """Errors for tasks that occur twice, and for those whose model_name or n_shot is not that of most tasks."""
    problems, seen = [], set()
    for entry in entries:
        if entry.dataset_name in seen:
            problems.append(Problem(ERROR, entry.where(), f"task {entry.dataset_name!r} occurs more than once"))
        seen.add(entry.dataset_name)
    for key in SAME_OVER_TASKS:
        usual = _usual([getattr(entry, key) for entry in entries])
        for entry in entries:
            value = getattr(entry, key)
            if value != usual:
                example = next(entry for entry in entries if getattr(entry, key) == usual)
                message = f"{key} is {value!r}, but {usual!r} in {example.where()}: two experiments are mixed"
                problems.append(Problem(ERROR, entry.where(), message))
    return problems


def uneven_seeds(entries: Sequence[PredictionFile]) -> list[tuple[str, str]]:
    """(where, message) for each task whose seeds are not those of most tasks."""
    found = []
    usual = _usual([tuple(sorted(entry.rnd_seeds)) for entry in entries])
    for entry in entries:
        absent = [seed for seed in usual if seed not in entry.rnd_seeds]
        surplus = [seed for seed in entry.rnd_seeds if seed not in usual]
        if absent or surplus:
            example = next(entry for entry in entries if set(entry.rnd_seeds) == set(usual))
            what = [f"{_seeds(absent)} missing"] * bool(absent) + [f"{_seeds(surplus)} too many"] * bool(surplus)
            others = f"{example.dataset_name} has {_seeds(usual)} ({example.sources[0]})"
            found.append((entry.where(), f"{' and '.join(what)}; {others}"))
    return found


def _usual(values: list[Any]) -> Any:
    """The most frequent value; of several, the longest tuple, then the first. None where there is no value."""
    counts = Counter(values)
    return max(counts, key=lambda value: (counts[value], len(value) if isinstance(value, tuple) else 0), default=None)


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"
