"""Results of scoring and comparing as text of aligned columns, scores in percent."""

from collections.abc import Sequence
from typing import Any

from elevater_eval.entry import PredictionFile, Record, seed_list
from toolkit.common.text import aligned_table

DIFFERENCE_COLUMNS = "task|metric|images|seeds|A|B|B - A|from|to|p|test".split("|")


def scores(result: Record) -> str:
    """Return the result of `score`: tasks and each suite's mean, a column a seed."""
    seeds = sorted({seed for record in result["tasks"] for seed in record["seeds"]})
    rows = []
    for record in result["tasks"]:
        by_seed = dict(zip(record["seeds"], record["scores"], strict=True))
        cells = [_percent(by_seed.get(seed)) for seed in seeds]
        mean = _percent(record["score"])
        rows.append([record["task"], record["metric"], *cells, mean])
    empty = [""] * len(seeds)
    for suite in result["suites"]:
        rows.append([*_mean_of(suite), *empty, _percent(suite["score"])])
    columns = [f"seed {seed}" for seed in seeds]
    return _table(["task", "metric", *columns, "mean"], rows)


def extras(result: Record, names: Sequence[str]) -> str:
    """Return `score`'s extra metrics; of lists over classes the lowest value."""
    rows = []
    for record in result["tasks"]:
        cells = [_extra(record["extra"][name]) for name in names]
        rows.append([record["task"], *cells])
    return _table(["task", *names], rows)


def differences(result: Record) -> str:
    """Return the result of `compare`: a row for each task and each suite's mean."""
    rows = []
    for record in result["tasks"]:
        seeds = seed_list(record["seeds"])
        about = [record[key] for key in ("task", "metric", "images")]
        rows.append([*about, seeds, *_difference(record)])
    for suite in result["suites"]:
        rows.append([*_mean_of(suite), "", "", *_difference(suite)])
    return _table(DIFFERENCE_COLUMNS, rows)


def outlines(entries: Sequence[PredictionFile]) -> str:
    """Return the sizes, shots and seeds of entries: a row for each."""
    rows = []
    for entry in entries:
        images, classes = entry.predictions[0].shape
        seeds = seed_list(entry.rnd_seeds)
        rows.append([entry.dataset_name, images, classes, entry.n_shot, seeds])
    return _table(["task", "images", "classes", "n_shot", "seeds"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    return aligned_table(head, rows, range(1, len(head)))


def _mean_of(suite: Record) -> list[str]:
    return [f"mean of {suite['suite']}", f"{suite['tasks']} of {suite['of']} tasks"]


def _difference(record: Record) -> list[str]:
    levels = [_percent(record[key]) for key in ("a", "b")]
    signed = [f"{100 * record[key]:+.2f}" for key in ("difference", "low", "high")]
    return [*levels, *signed, f"{record['p']:.2g}", record["test"]]


def _extra(found: Record | None) -> str:
    if found is None:
        return "-"
    score = found["score"]
    if not isinstance(score, list):
        return _percent(score)
    known = [(value, label) for label, value in enumerate(score) if value is not None]
    lowest, label = min(known)
    return f"lowest {_percent(lowest)} (class {label})"


def _percent(fraction: float | None) -> str:
    if fraction is None:
        return "-"
    return f"{100 * fraction:.2f}"
