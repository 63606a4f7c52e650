"""The plots of a study: averages as bars, as lines over what is varied, and over the size of the model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from toolkit.common.files import atomic_write

from .tables import AVERAGE, Line, Table

COLOURS = {
    "CoOp": "#9ecae1",
    "VPT": "#a1d99b",
    "UPT": "#fdae6b",
    "MCoOp": "#3182bd",
    "MVPT": "#31a354",
    "MUPT": "#e6550d",
}
GREY = "#969696"


@contextmanager
def _figure(path: Path, size: tuple[float, float], columns: int = 1) -> Iterator[tuple]:
    """Yield a figure and its axes, and write it at the end."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, columns, figsize=size, squeeze=False)
    try:
        yield figure, axes[0]
        for axis in axes[0]:
            axis.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        with atomic_write(path) as temporary:
            figure.savefig(temporary, format="png", dpi=130)
    finally:
        plt.close(figure)


def _averages(lines: Sequence[Line]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and deviation of each line's average; NaN and 0 without runs."""
    cells = [line.cells[AVERAGE] for line in lines]
    means = np.array([cell.mean for cell in cells], dtype=float)  # None becomes NaN
    deviations = np.array([cell.std for cell in cells])
    return means, deviations


def _colour(line: Line) -> str:
    for label in line.labels:
        if label in COLOURS:
            return COLOURS[label]
    return GREY


def _scale_label(table: Table) -> str:
    count = table.averaged or len(table.columns) - 1
    return f"mean of {count} tasks (%)"


def bars(table: Table, path: Path) -> None:
    """Draw the average of every row with its deviation; the paper's as a hollow mark."""
    lines = table.lines[::-1]
    means, deviations = _averages(lines)
    size = (7.2, 0.8 + 0.24 * len(lines))
    with _figure(path, size) as (_, (axis,)):
        colours = [_colour(line) for line in lines]
        positions = np.arange(len(lines))
        axis.barh(positions, means, xerr=deviations, color=colours, ecolor="#444444", capsize=2)
        for k, line in enumerate(lines):
            paper = line.cells[AVERAGE].paper
            if paper is not None:
                axis.plot(paper, k, "o", mfc="none", mec="black", ms=5, label="the paper's")
            if np.isfinite(means[k]):
                end = (means[k] + deviations[k], k)
                axis.annotate(f"{means[k]:.1f}", end, (4, 0), textcoords="offset points", va="center", fontsize=7)
        names = [", ".join(line.labels) for line in lines]
        axis.set_yticks(positions, names, fontsize=8)
        axis.set_xlabel(f"{_scale_label(table)}, ± standard deviation over seeds", fontsize=8)
        if np.isfinite(means).any():
            low, high = np.nanmin(means), np.nanmax(means)
            axis.set_xlim(max(0, low - 5), min(100, high + 3))
        handles, labels = axis.get_legend_handles_labels()
        if handles:
            axis.legend(handles[:1], labels[:1], frameon=False, fontsize=8)
        axis.set_title(table.title, fontsize=10)


def _errorbar(axis, lines: Sequence[Line], positions: Sequence[float], label: str) -> None:
    means, deviations = _averages(lines)
    colour = COLOURS.get(label, GREY)
    axis.errorbar(positions, means, deviations, marker="o", capsize=2, label=label, color=colour)


def lengths(table: Table, path: Path) -> None:
    """Draw averages over a number, the second label, with a line for each first label."""
    with _figure(path, (5, 3.4)) as (figure, (axis,)):
        for method, lines in _by_label(table, 0).items():
            numbers = [int(line.labels[1]) for line in lines]
            _errorbar(axis, lines, numbers, method)
            axis.set_xticks(numbers)
        axis.set_xlabel(table.label_names[1])
        axis.set_ylabel(_scale_label(table))
        axis.legend(frameon=False, fontsize=8)
        figure.suptitle(table.title, fontsize=10)


def variations(table: Table, path: Path) -> None:
    """Draw averages over a number, the second label, with a panel for each first label, which is what varies."""
    groups = _by_label(table, 0)
    size = (2.6 * len(groups), 3)
    with _figure(path, size, len(groups)) as (figure, axes):
        for axis, (varied, lines) in zip(axes, groups.items(), strict=True):
            numbers = [int(line.labels[1]) for line in lines]
            _errorbar(axis, lines, numbers, "MUPT")
            axis.set_xticks(numbers)
            axis.set_xlabel(varied)
        lows, highs = zip(*(axis.get_ylim() for axis in axes), strict=True)
        for axis in axes:
            axis.set_ylim(min(lows), max(highs))
        axes[0].set_ylabel(_scale_label(table))
        figure.suptitle(table.title, fontsize=10)


def sizes(table: Table, costs: Sequence[dict], path: Path) -> None:
    """Draw the accuracy of the models that there are, and what a step of the models in `costs` takes."""
    if not costs:
        with _figure(path, (5, 3.6)) as (_, (axis,)):
            _draw_accuracies(axis, table)
        return
    with _figure(path, (8.4, 3.6), columns=2) as (_, axes):
        _draw_accuracies(axes[0], table)
        _draw_costs(axes[1], costs)


def _draw_accuracies(axis, table: Table) -> None:
    backbones = list(_by_label(table, 0))
    groups = _by_label(table, 1)
    for k, (method, lines) in enumerate(groups.items()):
        shift = 0.13 * (k - (len(groups) - 1) / 2)
        positions = np.arange(len(lines)) + shift
        _errorbar(axis, lines, positions, method)
    axis.set_xticks(range(len(backbones)), backbones)
    axis.set_xlim(-0.6, len(backbones) - 0.4)
    axis.set_ylabel(_scale_label(table))
    axis.legend(frameon=False, fontsize=7, ncols=2)
    axis.set_title("accuracy of the models that were run", fontsize=9)


def _draw_costs(axis, costs: Sequence[dict]) -> None:
    names = {row["backbone"]: f"{row['backbone']}\n{row['parameters'] / 1e6:.0f} M" for row in costs}
    seconds: dict[str, list[float]] = {}  # method -> in the order of backbones
    for row in costs:
        seconds.setdefault(row["method"], []).append(row["seconds_per_image"])
    for method, heights in seconds.items():
        axis.plot(heights, "o-", color=COLOURS[method], label=method)
    axis.set_xticks(range(len(names)), names.values(), fontsize=8)
    axis.set_xlabel("parameters of the backbone")
    axis.set_ylabel("training step, seconds an image")
    axis.set_yscale("log")
    axis.set_title("cost only, random weights of the real sizes", fontsize=9)
    axis.legend(frameon=False, fontsize=7)


def _by_label(table: Table, position: int) -> dict[str, list[Line]]:
    """Return the table's lines by one of their labels."""
    groups: dict[str, list[Line]] = {}
    for line in table.lines:
        group = groups.setdefault(line.labels[position], [])
        group.append(line)
    return groups
