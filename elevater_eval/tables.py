"""Results of scoring and comparing as text of aligned columns, scores in percent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def scores(result: dict[str, Any]) -> str:
    """The result of ``score``: a row for each task and for the mean of each suite, a column for each seed."""
    seeds = sorted({seed for record in result["tasks"] for seed in record["seeds"]})
    rows = []
    for record in result["tasks"]:
        by_seed = dict(zip(record["seeds"], record["scores"], strict=True))
        cells = [_percent(by_seed.get(seed)) for seed in seeds]
        rows.append([record["task"], record["metric"], *cells, _percent(record["score"])])
    for suite in result["suites"]:
        rows.append([*_mean_of(suite), *[""] * len(seeds), _percent(suite["score"])])
    return aligned(["task", "metric", *[f"seed {seed}" for seed in seeds], "mean"], rows)


def extras(result: dict[str, Any], names: Sequence[str]) -> str:
    """The extra metrics of the result of ``score``; of one with a value for each class, the lowest and its class."""
    rows = [[record["task"], *[_extra(record["extra"][name]) for name in names]] for record in result["tasks"]]
    return aligned(["task", *names], rows)


def differences(result: dict[str, Any]) -> str:
    """The result of ``compare``: a row for each task and for the mean of each suite."""
    rows = [
        [record["task"], record["metric"], record["images"], ",".join(map(str, record["seeds"])), *_difference(record)]
        for record in result["tasks"]
    ]
    rows += [[*_mean_of(suite), "", "", *_difference(suite)] for suite in result["suites"]]
    return aligned(["task", "metric", "images", "seeds", "A", "B", "B - A", "from", "to", "p", "test"], rows)


def aligned(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Lines of equal columns: the first column to the left, the others to the right."""
    lines = [[str(cell) for cell in line] for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines)


def _mean_of(suite: dict[str, Any]) -> list[str]:
    return [f"mean of {suite['suite']}", f"{suite['tasks']} of {suite['of']} tasks"]


def _difference(record: dict[str, Any]) -> list[str]:
    signed = [f"{100 * record[key]:+.2f}" for key in ("difference", "low", "high")]
    return [_percent(record["a"]), _percent(record["b"]), *signed, f"{record['p']:.2g}", record["test"]]


def _extra(found: dict[str, Any] | None) -> str:
    if found is None:
        return "-"
    if isinstance(found["score"], list):
        lowest, place = min((value, c) for c, value in enumerate(found["score"]) if value is not None)
        return f"lowest {_percent(lowest)} (class {place})"
    return _percent(found["score"])


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.2f}"
