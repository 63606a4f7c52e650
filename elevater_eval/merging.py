"""Consistency: the parts of one task over seeds, merged, and the tasks of one
experiment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elevater_eval.entry import PredictionFile, seed_list
from elevater_eval.issues import Issues, error

SAME_OVER_SEEDS = (
    "model_name",
    "num_params",
    "num_visual_params",
    "num_backbone_params",
    "n_shot",
)
SAME_OVER_TASKS = ("model_name", "n_shot")


def merge(parts: Sequence[PredictionFile]) -> tuple[PredictionFile | None, Issues]:
    """Return one entry of the parts of one task, its seeds ascending; None with the
    issues if the parts conflict.
    """
    issues = []
    for part in parts[1:]:
        issues += _conflicts(parts[0], part)
    issues += _repeated_seeds(parts)
    if issues:
        return None, issues
    folds: list[tuple[int, np.ndarray, str]] = []
    for part in parts:
        folds += zip(part.rnd_seeds, part.predictions, part.sources, strict=True)
    folds.sort(key=lambda fold: fold[0])
    seeds, predictions, sources = zip(*folds, strict=True)
    trainable = float(np.mean([part.num_trainable_params for part in parts]))
    merged = replace(
        parts[0],
        num_trainable_params=trainable,
        rnd_seeds=seeds,
        predictions=predictions,
        sources=sources,
    )
    return merged, []


def _conflicts(first: PredictionFile, other: PredictionFile) -> Issues:
    issues = []
    for key in SAME_OVER_SEEDS:
        usual, value = getattr(first, key), getattr(other, key)
        if value != usual:
            message = f"{key} is {value!r}, but {usual!r} in {first.sources[0]}: two experiments are mixed"
            issues.append(error(other.where(), message))
    size, other_size = _size(first), _size(other)
    if size != other_size:
        issues.append(
            error(
                other.where(),
                f"predictions are {other_size}, but {size} in {first.sources[0]}",
            )
        )
    return issues


def _repeated_seeds(parts: Sequence[PredictionFile]) -> Issues:
    issues = []
    seen: dict[int, str] = {}
    for part in parts:
        for i, seed in enumerate(part.rnd_seeds):
            if seed in seen:
                issues.append(
                    error(part.where(i), f"seed {seed} is also in {seen[seed]}")
                )
            seen.setdefault(seed, part.sources[i])
    return issues


def one_experiment(entries: Sequence[PredictionFile]) -> Issues:
    """Return errors for repeated tasks, and for those whose model_name or n_shot is not
    that of most tasks.
    """
    issues = []
    seen: set[str] = set()
    for entry in entries:
        if entry.dataset_name in seen:
            issues.append(
                error(
                    entry.where(), f"task {entry.dataset_name!r} occurs more than once"
                )
            )
        seen.add(entry.dataset_name)
    for key in SAME_OVER_TASKS:
        values = [getattr(entry, key) for entry in entries]
        usual = _most_frequent(values)
        for entry, value in zip(entries, values, strict=True):
            if value != usual:
                example = entries[values.index(usual)]
                message = f"{key} is {value!r}, but {usual!r} in {example.where()}: two experiments are mixed"
                issues.append(error(entry.where(), message))
    return issues


def uneven_seeds(entries: Sequence[PredictionFile]) -> list[tuple[str, str]]:
    """Return (where, message) for each task whose seeds are not those of most tasks."""
    found = []
    seeds = [tuple(sorted(entry.rnd_seeds)) for entry in entries]
    usual = _most_frequent(seeds)
    for entry in entries:
        parts = []
        missing = sorted(set(usual).difference(entry.rnd_seeds))
        if missing:
            parts.append(f"{_seeds(missing)} missing")
        surplus = sorted(set(entry.rnd_seeds).difference(usual))
        if surplus:
            parts.append(f"{_seeds(surplus)} too many")
        if parts:
            example = entries[seeds.index(usual)]
            others = (
                f"{example.dataset_name} has {_seeds(usual)} ({example.sources[0]})"
            )
            found.append((entry.where(), f"{' and '.join(parts)}; {others}"))
    return found


def _most_frequent(values: list[Any]) -> Any:
    """Return the most frequent value; of several, the longest tuple, then the first.

    None if there is no value.
    """
    counts = Counter(values)

    def rank(value: Any) -> tuple[int, int]:
        length = len(value) if isinstance(value, tuple) else 0
        return counts[value], length

    return max(counts, key=rank, default=None)


def _seeds(seeds: Sequence[int]) -> str:
    word = "seeds" if len(seeds) > 1 else "seed"
    return f"{word} {seed_list(seeds).replace(',', ', ')}"


def _size(entry: PredictionFile) -> str:
    images, classes = entry.predictions[0].shape
    return f"{images} x {classes}"
