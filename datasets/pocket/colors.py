"""Colours with names, and tables of the objects drawn in them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.common.structured import read_yaml

Color = tuple[int, int, int]
Paint = Color | str  # a colour or its name
Rng = np.random.Generator

DRAWINGS = read_yaml(Path(__file__).with_name("drawings.yaml"))
CONCEPTS = read_yaml(Path(__file__).with_name("concepts.yaml"))
# those that captions name
COLORS: dict[str, Color] = {
    name: tuple(rgb) for name, rgb in DRAWINGS["colors"].items()
}
PAINTS = COLORS | {name: tuple(rgb) for name, rgb in DRAWINGS["paints"].items()}


def rgb(paint: Paint) -> Color:
    """Return the colour of a name (KeyError if unknown), or a colour as it is."""
    return PAINTS[paint] if isinstance(paint, str) else paint


def shade(paint: Paint, factor: float) -> Color:
    """Return the colour darkened (factor < 1) or lightened towards white (factor > 1)."""
    color = rgb(paint)
    if factor <= 1:
        return tuple(int(channel * factor) for channel in color)  # type: ignore[return-value]
    lighter = [255 - (255 - channel) * (2 - factor) for channel in color]
    return tuple(int(channel) for channel in lighter)  # type: ignore[return-value]


def vary(paint: Paint, rng: Rng, amount: float = 18) -> Color:
    """Return the colour with a little noise in each channel."""
    channels = rgb(paint)
    noisy = [channel + rng.normal(0, amount) for channel in channels]
    clipped = [min(max(channel, 0), 255) for channel in noisy]
    return tuple(int(channel) for channel in clipped)  # type: ignore[return-value]


def pick(rng: Rng, names: Sequence[str] = tuple(COLORS)) -> str:
    """Return one of the names, of the colours' by default, at random."""
    return names[int(rng.integers(len(names)))]
