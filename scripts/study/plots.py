"""The plots of a study: averages, scores before and after, settings and sizes."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from toolkit.common.files import atomic_write
from toolkit.common.grouping import grouped

from .tables import AVERAGE, Line, Table

COLOURS = {
    "CoOp": "#56b4e9",
    "VPT": "#66c2a5",
    "UPT": "#e69f00",
    "MCoOp": "#0072b2",
    "MVPT": "#00714f",
    "MUPT": "#d55e00",
    "APT": "#cc79a7",
    "MAPT": "#882255",
}  # after Okabe and Ito: colour-blind readers can tell them apart; a multitask form is the darker one
GREY = "#808080"
BETTER, WORSE = COLOURS["MCoOp"], COLOURS["MUPT"]
POINT = 1.0  # scores that are nearer than this are as good


@contextmanager
def _figure(path: Path, size: tuple[float, float], columns: int = 1) -> Iterator[tuple]:
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


def _scale_label(table: Table) -> str:
    count = table.averaged or len(table.columns) - 1
    return f"mean of {count} tasks (%)"


def dots(table: Table, path: Path) -> None:
    """Draw the average of every row as a dot; the paper's as a hollow mark."""
    lines = table.lines[::-1]
    means, deviations = _averages(lines)
    with _figure(path, (7.2, 0.8 + 0.24 * len(lines))) as (_, (axis,)):
        style = {"fmt": "o", "ms": 6, "capsize": 3}
        of_paper = {"mfc": "none", "mec": "black", "ms": 5}
        for k, line in enumerate(lines):
            colours = [COLOURS[label] for label in line.labels if label in COLOURS]
            colour = next(iter(colours), GREY)
            axis.errorbar(means[k], k, xerr=deviations[k], color=colour, **style)
            paper = line.cells[AVERAGE].paper
            if paper is not None:
                axis.plot(paper, k, "o", label="the paper's", **of_paper)
            if np.isfinite(means[k]):
                end = means[k] + deviations[k]
                _note(axis, f"{means[k]:.1f}", (end, k), 4, 7)
        names = [", ".join(line.labels) for line in lines]
        _name_rows(axis, names, 8)
        label = f"{_scale_label(table)}, ± standard deviation over seeds"
        axis.set_xlabel(label, fontsize=8)
        if np.isfinite(means).any():
            left = max(0, np.nanmin(means) - 5)
            right = min(100, np.nanmax(means) + 3)
            axis.set_xlim(left, right)
        handles, labels = axis.get_legend_handles_labels()
        if handles:
            axis.legend(handles[:1], labels[:1], frameon=False, fontsize=8)
        axis.set_title(table.title, fontsize=10)


def _note(axis, text: str, position: tuple[float, float], shift: int, size: int):
    style = {"textcoords": "offset points", "va": "center", "fontsize": size}
    axis.annotate(text, position, (shift, 0), **style)


def _name_rows(axis, names: Sequence[str], size: int) -> None:
    axis.set_yticks(range(len(names)), names, fontsize=size)
    axis.grid(axis="x", color="#dddddd", lw=0.8)
    axis.set_axisbelow(True)


def dumbbells(
    scores: Mapping[str, tuple[float, float]], title: str, path: Path
) -> None:
    """Draw two dots for each task, the largest gain on top. scores: task -> (zero-shot,
    adapted) in percent.
    """
    gains = {task: end - start for task, (start, end) in scores.items()}
    names = sorted(scores, key=gains.get)
    hollow = {"marker": "o", "ls": "", "mfc": "white", "mec": "#444444", "ms": 6}
    size = (5.2, 1.2 + 0.27 * len(names))
    with _figure(path, size) as (figure, (axis,)):
        for k, name in enumerate(names):
            start, end = scores[name]
            colour = GREY
            if end - start > POINT:
                colour = BETTER
            elif start - end > POINT:
                colour = WORSE
            axis.plot([start, end], [k, k], "-", color=colour, lw=2, zorder=1)
            axis.plot(start, k, zorder=2, **hollow)
            axis.plot(end, k, "o", color=colour, ms=7, zorder=3)
            gain = f"{round(end - start):+d}"
            right = max(start, end)
            _note(axis, gain, (right, k), 8, 9)
        worse = f"more than {POINT:g} point worse"
        axis.plot([], [], label="zero-shot", **hollow)
        axis.plot([], [], "o", color=BETTER, ms=7, label="adapted")
        axis.plot([], [], "o", color=WORSE, ms=7, label=worse)
        _name_rows(axis, names, 10)
        axis.set_xlim(0, 106)
        axis.set_xticks(range(0, 101, 20))
        axis.set_xlabel("score on the test set (%)", fontsize=10)
        axis.legend(loc="lower left", frameon=False, fontsize=9)
        figure.suptitle(title, fontsize=11)


def _errorbar(axis, lines: Sequence[Line], positions: Sequence[float], label: str):
    style = {"marker": "o", "capsize": 2, "color": COLOURS.get(label, GREY)}
    axis.errorbar(positions, *_averages(lines), label=label, **style)


def _over_numbers(axis, lines: Sequence[Line], label: str) -> None:
    numbers = [int(line.labels[1]) for line in lines]
    _errorbar(axis, lines, numbers, label)
    axis.set_xticks(numbers)


def lengths(table: Table, path: Path) -> None:
    """Draw averages over a number, the second label, with a line for each first label."""
    with _figure(path, (5, 3.4)) as (figure, (axis,)):
        for method, lines in _by_label(table, 0).items():
            _over_numbers(axis, lines, method)
        axis.set_xlabel(table.label_names[1])
        axis.set_ylabel(_scale_label(table))
        axis.legend(frameon=False, fontsize=8)
        figure.suptitle(table.title, fontsize=10)


def variations(table: Table, path: Path) -> None:
    """Draw as `lengths`, with a panel for each first label, the varied setting."""
    groups = _by_label(table, 0)
    size = (2.6 * len(groups), 3)
    with _figure(path, size, len(groups)) as (figure, axes):
        for axis, varied in zip(axes, groups, strict=True):
            _over_numbers(axis, groups[varied], "MUPT")
            axis.set_xlabel(varied)
        limits = [axis.get_ylim() for axis in axes]
        lows, highs = zip(*limits, strict=True)
        for axis in axes:
            axis.set_ylim(min(lows), max(highs))
        axes[0].set_ylabel(_scale_label(table))
        figure.suptitle(table.title, fontsize=10)


def sizes(table: Table, costs: Sequence[dict], path: Path) -> None:
    """Draw the accuracy of models that were run, and the steps' times in `costs`."""
    size = (8.4, 3.6) if costs else (5, 3.6)
    columns = 2 if costs else 1
    with _figure(path, size, columns) as (_, axes):
        axis = axes[0]
        backbones = list(_by_label(table, 0))
        groups = _by_label(table, 1)
        middle = (len(groups) - 1) / 2
        for k, (method, lines) in enumerate(groups.items()):
            shift = 0.13 * (k - middle)
            positions = np.arange(len(lines)) + shift
            _errorbar(axis, lines, positions, method)
        axis.set_xticks(range(len(backbones)), backbones)
        axis.set_xlim(-0.6, len(backbones) - 0.4)
        axis.set_ylabel(_scale_label(table))
        axis.legend(frameon=False, fontsize=7, ncols=2)
        axis.set_title("accuracy of the models that were run", fontsize=9)
        if costs:
            _draw_costs(axes[1], costs)


def _draw_costs(axis, costs: Sequence[dict]) -> None:
    names: dict[str, str] = {}
    seconds: dict[str, list[float]] = defaultdict(list)  # method -> by backbone
    for row in costs:
        size = f"{row['parameters'] / 1e6:.0f} M"
        names[row["backbone"]] = f"{row['backbone']}\n{size}"
        seconds[row["method"]].append(row["seconds_per_image"])
    for method, heights in seconds.items():
        colour = COLOURS[method]
        axis.plot(heights, "o-", color=colour, label=method)
    axis.set_xticks(range(len(names)), names.values(), fontsize=8)
    axis.set_xlabel("parameters of the backbone")
    axis.set_ylabel("training step, seconds an image")
    axis.set_yscale("log")
    axis.set_title("cost only, random weights of the real sizes", fontsize=9)
    axis.legend(frameon=False, fontsize=7)


def _by_label(table: Table, position: int) -> dict[str, list[Line]]:
    return grouped(table.lines, lambda line: line.labels[position])
