"""Consistency of a task's parts over seeds, which are merged, and of all tasks."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elevater_eval.entry import COUNTS, PredictionFile, seed_list
from elevater_eval.issues import Issues, error, errors

SAME_OVER_TASKS = ("model_name", "n_shot")
# the mean of the trainable ones is taken
SAME_OVER_SEEDS = ("model_name", *COUNTS[1:], "n_shot")


def merge(parts: Sequence[PredictionFile]) -> tuple[PredictionFile | None, Issues]:
    """Return the parts of one task as one entry, None if they conflict; and issues."""
    issues = []
    for part in parts[1:]:
        issues += errors(part.where(), _conflicts(parts[0], part))
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


def _conflicts(first: PredictionFile, other: PredictionFile) -> Iterator[str]:
    source = first.sources[0]
    for key in SAME_OVER_SEEDS:
        usual = getattr(first, key)
        value = getattr(other, key)
        if value != usual:
            yield f"{key} is {value!r}, but {usual!r} in {source}: two experiments are mixed"
    size = first.predictions[0].shape
    other_size = other.predictions[0].shape
    if size != other_size:
        sizes = "{} x {}, but {} x {}".format(*other_size, *size)
        yield f"predictions are {sizes} in {source}"


def _repeated_seeds(parts: Sequence[PredictionFile]) -> Issues:
    issues = []
    seen: dict[int, str] = {}
    for part in parts:
        for i, seed in enumerate(part.rnd_seeds):
            if seed in seen:
                message = f"seed {seed} is also in {seen[seed]}"
                issues.append(error(part.where(i), message))
            seen.setdefault(seed, part.sources[i])
    return issues


def one_experiment(entries: Sequence[PredictionFile]) -> Issues:
    """Return errors for repeated tasks, and for those of another experiment."""
    issues = []
    seen: set[str] = set()
    for entry in entries:
        if entry.dataset_name in seen:
            message = f"task {entry.dataset_name!r} occurs more than once"
            issues.append(error(entry.where(), message))
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
    for entry, taken in zip(entries, seeds, strict=True):
        missing = sorted(set(usual).difference(taken))
        surplus = sorted(set(taken).difference(usual))
        parts = []
        if missing:
            parts.append(f"{_seeds(missing)} missing")
        if surplus:
            parts.append(f"{_seeds(surplus)} too many")
        if parts:
            example = entries[seeds.index(usual)]
            others = f"{example.dataset_name} has {_seeds(usual)}"
            message = f"{' and '.join(parts)}; {others} ({example.sources[0]})"
            found.append((entry.where(), message))
    return found


def _most_frequent(values: list[Any]) -> Any:
    """Return the most frequent value; of several, the longest tuple, then the first."""
    counts = Counter(values)

    def rank(value: Any) -> tuple[int, int]:
        length = len(value) if isinstance(value, tuple) else 0
        return counts[value], length

    return max(counts, key=rank, default=None)


def _seeds(seeds: Sequence[int]) -> str:
    word = "seeds" if len(seeds) > 1 else "seed"
    return f"{word} {seed_list(seeds).replace(',', ', ')}"
