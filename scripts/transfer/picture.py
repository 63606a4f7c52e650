"""A heat map of the transfer matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

NUMBERED = 20  # up to so many tasks, cells hold their values


def heat_map(paths: Sequence[Path], names: Sequence[str], values: np.ndarray, title: str) -> None:
    """Draw the column-normalised matrix (N, N), sources down and targets across, into files such as PNG and PDF."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    count = len(names)
    side = max(4.0, 0.42 * count + 2.0)
    figure, axes = plt.subplots(figsize=(side + 0.8, side), layout="constrained")
    image = axes.imshow(values, cmap="viridis", vmin=float(values.min()), vmax=1.0)
    axes.set_xticks(range(count), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=9)
    axes.set_yticks(range(count), names, fontsize=9)
    axes.set_xlabel("target task")
    axes.set_ylabel("prompt learnt on")
    axes.set_title(title, fontsize=11)
    if count <= NUMBERED:
        middle = (float(values.min()) + 1.0) / 2
        for row in range(count):
            for column in range(count):
                value = float(values[row, column])
                colour = "black" if value > middle else "white"
                text = f"{value:.2f}".replace("0.", ".", 1) if value < 0.995 else "1"
                weight = "bold" if row == column else "normal"
                axes.text(column, row, text, ha="center", va="center", fontsize=7, color=colour, fontweight=weight)
    figure.colorbar(image, ax=axes, shrink=0.8, label="score / best score on the target")
    for path in paths:
        kept = {"CreationDate": None} if path.suffix == ".pdf" else {}
        temporary = path.with_name(f".{path.stem}.tmp{path.suffix}")
        figure.savefig(temporary, dpi=150, metadata=kept)
        temporary.replace(path)
    plt.close(figure)
