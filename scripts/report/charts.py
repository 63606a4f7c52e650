"""Geometry of the page's charts, which the templates draw as HTML and SVG."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .experiment import Series, Stage

# of a panel of curves: its width, the height of a strip, the space between two
WIDTH, STRIP, GAP = 180, 44, 14


@dataclass(frozen=True)
class Gain:
    """A line of the gains chart, in percent."""

    task: str
    score: float
    zero_shot: float | None
    interval: tuple[float, float] | None

    def values(self) -> list[float]:
        """Return all numbers that the line shows."""
        values = [self.score, *(self.interval or ())]
        if self.zero_shot is not None:
            values.append(self.zero_shot)
        return values

    def rank(self) -> float:
        """Return the key of the order: largest gain, or score, first."""
        if self.zero_shot is None:
            return -self.score
        return self.zero_shot - self.score


@dataclass(frozen=True)
class Axis:
    """Percent from `start` to 100."""

    start: int
    step: int

    def place(self, value: float) -> str:
        """Return how far from the left a value is, in percent of the width."""
        return f"{100 * (value - self.start) / (100 - self.start):.2f}%"

    def span(self, one: float, other: float) -> str:
        """Return the width between two values."""
        return f"{100 * abs(other - one) / (100 - self.start):.2f}%"

    def ticks(self) -> range:
        """Return the numbered values."""
        return range(self.start, 101, self.step)


def axis_of(gains: Sequence[Gain]) -> Axis:
    """Return an axis that holds all values."""
    lowest = min(min(gain.values()) for gain in gains)
    step = 10 if lowest >= 50 else 20
    return Axis(min(90, step * math.floor(lowest / step)), step)


@dataclass(frozen=True)
class Strip:
    """A curve of a panel."""

    kind: str  # "val" or "loss"
    words: str
    top: int
    path: str  # of SVG
    dot: tuple[str, str, int] | None  # x, y, radius


@dataclass(frozen=True)
class Panel:
    """The curves of one training."""

    title: str
    strips: list[Strip]
    first: int
    last: int
    best: int | None  # the epoch kept, None for the last
    width = WIDTH

    @property
    def height(self) -> int:
        return len(self.strips) * (STRIP + GAP)


def panels_of(stage: Stage, title: str) -> tuple[list[Panel], list[Panel]]:
    """Return the panel of a training, and one for each task of a shared prompt."""
    loss, val = stage.curves.loss, stage.curves.val
    mean = val.get("mean", [])
    if not loss and not mean:
        return [], []
    best = None
    if mean and stage.cfg.TEST.FINAL_MODEL == "best_val":
        best = max(mean, key=lambda point: (point[1], -point[0]))[0]
    shared = []
    if len(stage.records) > 1:
        tasks = [task for task in val if task != "mean"]
        shared = [panel(task, val[task], [], best) for task in tasks]
    return [panel(title, mean, loss, best)], shared


def panel(title: str, val: Series, loss: Series, best: int | None) -> Panel:
    """Return a panel by epoch: the validation score above the training loss."""
    epochs = [epoch for epoch, _ in [*val, *loss]]
    span = min(epochs), max(epochs)
    strips = []
    if val:
        words = f"validation {val[0][1]:.1f} to {val[-1][1]:.1f} %"
        strips.append(_strip("val", words, val, span, GAP, best))
    if loss:
        words = f"loss {loss[0][1]:.2f} to {loss[-1][1]:.2f}"
        top = len(strips) * (STRIP + GAP) + GAP
        strips.append(_strip("loss", words, loss, span, top))
    return Panel(title, strips, *span, best)


def _strip(
    kind: str,
    words: str,
    series: Series,
    epochs: tuple[int, int],
    top: int,
    best: int | None = None,
) -> Strip:
    first, last = epochs
    finite = [(epoch, value) for epoch, value in series if math.isfinite(value)]
    values = [value for _, value in finite] or [0.0]
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 1, high + 1
    points, dot = [], None
    for epoch, value in finite:
        x = 4 + (WIDTH - 8) * (epoch - first) / max(1, last - first)
        y = top + 4 + (STRIP - 8) * (high - value) / (high - low)
        points.append(f"{x:.1f} {y:.1f}")
        if epoch == best or len(finite) == 1:
            radius = 3 if epoch == best else 2
            dot = (f"{x:.1f}", f"{y:.1f}", radius)
    path = "M" + "L".join(points) if points else ""
    return Strip(kind, words, top, path, dot)


def column_shares(scores: np.ndarray) -> np.ndarray:
    """Return scores (S, T) scaled to 0..1, worst to best of a column; NaN stays."""
    low = np.nanmin(scores, axis=0)
    high = np.nanmax(scores, axis=0)
    shares = np.where(np.isnan(scores), np.nan, 0.5)
    return np.divide(scores - low, high - low, out=shares, where=high > low)


def row_shares(counts: np.ndarray) -> np.ndarray:
    """Return the share of each count in its row; NaN stays."""
    return counts / np.nansum(counts, axis=1, keepdims=True)
