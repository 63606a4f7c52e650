"""Heat maps of transfer matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from toolkit.common.files import atomic_write

MOST_NUMBERED = 20  # tasks up to which the cells hold their values


def heat_maps(
    paths: Sequence[Path],
    names: Sequence[str],
    maps: Mapping[str, np.ndarray],
    title: str,
) -> None:
    """Draw column-normalised matrices (T, T) below each other into files such as PNG
    and PDF; sources down, targets across.

    All have one scale of colours.

    maps: title of a matrix -> its values, of which 1 is the best.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    side = max(4.0, 0.42 * len(names) + 2.0)
    size = (side + 0.8, side * len(maps))
    minima = [float(values.min()) for values in maps.values()]
    lowest = min(minima)
    figure, axes = plt.subplots(
        len(maps), 1, figsize=size, layout="constrained", squeeze=False
    )
    ticks = (range(len(names)), names)
    column = axes[:, 0]
    for axis, name in zip(column, maps, strict=True):
        values = maps[name]
        image = axis.imshow(values, cmap="viridis", vmin=lowest, vmax=1.0)
        turned = {"rotation": 60, "ha": "right", "rotation_mode": "anchor"}
        axis.set_xticks(*ticks, fontsize=9, **turned)
        axis.set_yticks(*ticks, fontsize=9)
        axis.set_xlabel("target task")
        axis.set_title(name, fontsize=11)
        if len(names) <= MOST_NUMBERED:
            _write_numbers(axis, values, lowest)
        axis.set_ylabel("prompt learned on")
        label = "score / best score on the target"
        figure.colorbar(image, ax=axis, shrink=0.8, label=label)
    figure.suptitle(title, fontsize=11)
    for path in paths:
        metadata = {}
        if path.suffix == ".pdf":
            metadata["CreationDate"] = None  # the same matrix gives the same file
        with atomic_write(path) as temporary:
            kind = path.suffix[1:]
            figure.savefig(temporary, format=kind, dpi=150, metadata=metadata)
    plt.close(figure)


def _write_numbers(axis, values: np.ndarray, lowest: float) -> None:
    """Write each value into its cell, the diagonal in bold."""
    middle = (lowest + 1.0) / 2
    for row, column in np.ndindex(values.shape):
        value = float(values[row, column])
        text = "1"
        if value < 0.995:
            text = f"{value:.2f}".replace("0.", ".", 1)
        colour = "black" if value > middle else "white"
        style = {"color": colour, "fontsize": 7}
        weight = "bold" if row == column else "normal"
        centred = {"ha": "center", "va": "center"}
        style |= {"fontweight": weight, **centred}
        axis.text(column, row, text, **style)
