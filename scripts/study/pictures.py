"""The pictures of a study: averages as bars, as lines over what is varied."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .tables import AVERAGE, Table

COLOURS = {
    "CoOp": "#9ecae1",
    "VPT": "#a1d99b",
    "UPT": "#fdae6b",
    "MCoOp": "#3182bd",
    "MVPT": "#31a354",
    "MUPT": "#e6550d",
}


def _save(path: Path, draw: Callable, size: tuple[float, float], columns: int = 1) -> None:
    """Draw into a figure of `columns` axes and write it whole."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(1, columns, figsize=size, squeeze=False)
    try:
        draw(figure, axes[0])
        for axis in axes[0]:
            axis.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        temporary = path.with_name(f".{os.getpid()}.{path.name}")
        figure.savefig(temporary, dpi=130)
        os.replace(temporary, path)
    finally:
        plt.close(figure)


def _average(line) -> tuple[float, float]:
    cell = line.cells[AVERAGE]
    return (float("nan"), 0.0) if cell.mean is None else (cell.mean, cell.std)


def bars(table: Table, path: Path) -> None:
    """The average of every row, with its deviation; the paper's as a hollow mark."""
    lines = table.lines[::-1]
    values = [_average(line) for line in lines]
    known = [value for value, _ in values if value == value]

    def draw(figure, axes):
        (axis,) = axes
        y = np.arange(len(lines))
        colours = [next((COLOURS[label] for label in line.labels if label in COLOURS), "#969696") for line in lines]
        axis.barh(y, [v for v, _ in values], xerr=[s for _, s in values], color=colours, ecolor="#444444", capsize=2)
        for k, line in enumerate(lines):
            paper = line.cells[AVERAGE].paper
            if paper is not None:
                axis.plot(paper, k, "o", mfc="none", mec="black", ms=5, label="the paper's")
            if values[k][0] == values[k][0]:
                axis.annotate(f"{values[k][0]:.1f}", (values[k][0] + values[k][1], k), (4, 0), textcoords="offset points",
                              va="center", fontsize=7)  # fmt: skip
        axis.set_yticks(y, [", ".join(line.labels) for line in lines], fontsize=8)
        axis.set_xlabel(f"mean of {len(table.columns) - 1} tasks (%), ± standard deviation over seeds", fontsize=8)
        if known:
            axis.set_xlim(max(0, min(known) - 5), min(100, max(known) + 3))
        handles, labels = axis.get_legend_handles_labels()
        if handles:
            axis.legend(handles[:1], labels[:1], frameon=False, fontsize=8)
        axis.set_title(table.title, fontsize=10)

    _save(path, draw, (7.2, 0.8 + 0.24 * len(lines)))


def lines(table: Table, path: Path, group: int, x: int) -> None:
    """Averages over the numbers in label column `x`, a line or a panel for each value of label column `group`."""
    groups = list(dict.fromkeys(line.labels[group] for line in table.lines))
    panels = table.label_names[group] == "varied"

    def draw(figure, axes):
        for k, name in enumerate(groups):
            axis = axes[k if panels else 0]
            points = [(float(line.labels[x]), *_average(line)) for line in table.lines if line.labels[group] == name]
            numbers, means, deviations = zip(*points, strict=True)
            axis.errorbar(
                numbers, means, deviations, marker="o", capsize=2, label=name, color=COLOURS.get(name, "#e6550d")
            )
            axis.set_xticks(numbers, [f"{n:g}" for n in numbers])
            axis.set_xlabel(name if panels else table.label_names[x])
        axes[0].set_ylabel(f"mean of {len(table.columns) - 1} tasks (%)")
        if panels:
            low, high = min(a.get_ylim()[0] for a in axes), max(a.get_ylim()[1] for a in axes)
            for axis in axes:
                axis.set_ylim(low, high)
        else:
            axes[0].legend(frameon=False, fontsize=8)
        figure.suptitle(table.title, fontsize=10)

    _save(path, draw, (2.6 * len(groups), 3) if panels else (5, 3.4), len(groups) if panels else 1)


def sizes(table: Table, costs: Sequence[dict], path: Path) -> None:
    """Accuracy of the models that there are; parameters and step time of real sizes with random weights."""

    def draw(figure, axes):
        backbones = list(dict.fromkeys(line.labels[0] for line in table.lines))
        methods = list(dict.fromkeys(line.labels[1] for line in table.lines))
        for k, method in enumerate(methods):
            points = [_average(line) for line in table.lines if line.labels[1] == method]
            x = np.arange(len(points)) + (k - (len(methods) - 1) / 2) * 0.13
            axes[0].errorbar(x, [p[0] for p in points], [p[1] for p in points], marker="o", ls="-", capsize=2,
                             color=COLOURS[method], label=method)  # fmt: skip
        axes[0].set_xticks(range(len(backbones)), backbones)
        axes[0].set_xlim(-0.6, len(backbones) - 0.4)
        axes[0].set_ylabel(f"mean of {len(table.columns) - 1} tasks (%)")
        axes[0].legend(frameon=False, fontsize=7, ncols=2)
        axes[0].set_title("accuracy of the models that were run", fontsize=9)
        if costs:
            names = {row["backbone"]: f"{row['backbone']}\n{row['parameters'] / 1e6:.0f} M" for row in costs}
            for method in dict.fromkeys(row["method"] for row in costs):
                own = {row["backbone"]: row["seconds_per_image"] for row in costs if row["method"] == method}
                axes[1].plot(
                    range(len(names)), [own[name] for name in names], "o-", color=COLOURS[method], label=method
                )
            axes[1].set_xticks(range(len(names)), names.values(), fontsize=8)
            axes[1].set_xlabel("parameters of the backbone")
            axes[1].set_ylabel("training step, seconds an image")
            axes[1].set_yscale("log")
            axes[1].set_title("cost only, random weights of the real sizes", fontsize=9)
            axes[1].legend(frameon=False, fontsize=7)

    _save(path, draw, (8.4, 3.6) if costs else (5, 3.6), 2 if costs else 1)
