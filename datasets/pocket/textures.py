"""Textures of two colours that fill the image."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from .colors import COLORS, Rng, pick, vary
from .pen import CANVAS
from .styles import from_array


@dataclass(frozen=True)
class Grid:
    """Coordinates of all pixels, (CANVAS, CANVAS) float32: x, y, and u, v turned by
    `angle`; `wave` is 2 pi / period.
    """

    x: np.ndarray
    y: np.ndarray
    u: np.ndarray
    v: np.ndarray
    angle: float
    period: float
    wave: float

    @classmethod
    def sample(cls, rng: Rng) -> Grid:
        """Return a grid of random direction and period."""
        angle = rng.uniform(0, math.pi)
        period = rng.uniform(12, 22)
        y, x = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32)
        u = x * math.cos(angle) + y * math.sin(angle)
        v = -x * math.sin(angle) + y * math.cos(angle)
        return cls(x, y, u, v, angle, period, 2 * math.pi / period)


Pattern = Callable[[Grid, Rng], np.ndarray]  # the first colour: values above 0


def striped(grid: Grid, rng: Rng) -> np.ndarray:
    return np.sin(grid.u * grid.wave)


def dotted(grid: Grid, rng: Rng) -> np.ndarray:
    period = grid.period
    du = (grid.u % period) - period / 2
    dv = (grid.v % period) - period / 2
    return -(np.hypot(du, dv) - period * 0.28)


def checkered(grid: Grid, rng: Rng) -> np.ndarray:
    return np.sin(grid.u * grid.wave) * np.sin(grid.v * grid.wave)


def zigzagged(grid: Grid, rng: Rng) -> np.ndarray:
    period = grid.period
    bend = period * np.abs((grid.v / period) % 2 - 1)
    return np.sin((grid.u + bend) * grid.wave)


def wavy(grid: Grid, rng: Rng) -> np.ndarray:
    bend = 0.35 * grid.period * np.sin(grid.v * grid.wave * 0.6)
    return np.sin((grid.u + bend) * grid.wave)


def crossed(grid: Grid, rng: Rng) -> np.ndarray:
    return np.maximum(np.cos(grid.u * grid.wave), np.cos(grid.v * grid.wave)) - 0.85


def cracked(grid: Grid, rng: Rng) -> np.ndarray:
    nearest = _two_nearest(grid, rng, 12)
    return 2.0 - (nearest[..., 1] - nearest[..., 0])


def marbled(grid: Grid, rng: Rng) -> np.ndarray:
    field = smooth_field(rng, 5) * 9 + grid.u * grid.wave * 0.35
    return np.sin(field) - 0.5


def bubbly(grid: Grid, rng: Rng) -> np.ndarray:
    inside = 9 - _two_nearest(grid, rng, 16)[..., 0]
    return 3 - np.abs(inside)


def woven(grid: Grid, rng: Rng) -> np.ndarray:
    cell = np.floor(grid.u / grid.period * 2) + np.floor(grid.v / grid.period * 2)
    return np.where(
        cell % 2 == 0, np.sin(grid.u * grid.wave * 3), np.sin(grid.v * grid.wave * 3)
    )


def spiralled(grid: Grid, rng: Rng) -> np.ndarray:
    radius = np.hypot(grid.x - 48, grid.y - 48)
    direction = np.arctan2(grid.y - 48, grid.x - 48)
    return np.sin(radius * grid.wave * 0.8 + direction * 2 + grid.angle)


def smeared(grid: Grid, rng: Rng) -> np.ndarray:
    smooth_field(rng, 5)  # not used; the random numbers after it depend on it
    return smooth_field(rng, 4)


def sprinkled(grid: Grid, rng: Rng) -> np.ndarray:
    return 2.4 - _two_nearest(grid, rng, 60)[..., 0]


def scaly(grid: Grid, rng: Rng) -> np.ndarray:
    period = grid.period
    row = np.floor(grid.v / period * 2)
    shifted = grid.u + period / 2 * (row % 2)
    return (
        np.hypot((shifted % period) - period / 2, (grid.v % (period / 2)))
        - period * 0.42
    )


PATTERNS: dict[str, Pattern] = {
    "striped": striped,
    "dotted": dotted,
    "checkered": checkered,
    "zigzagged": zigzagged,
    "wavy": wavy,
    "grid": crossed,
    "cracked": cracked,
    "marbled": marbled,
    "bubbly": bubbly,
    "woven": woven,
    "spiralled": spiralled,
    "smeared": smeared,
    "sprinkled": sprinkled,
    "scaly": scaly,
}


def texture(name: str, rng: Rng, mode: str) -> tuple[Image.Image, set[str]]:
    """Return a texture over the whole image and its attributes."""
    first = pick(rng)
    others = [color for color in COLORS if color != first]
    second = pick(rng, others)
    one = np.array(vary(first, rng))
    two = np.array(vary(second, rng))
    mask = PATTERNS[name](Grid.sample(rng), rng)
    sharpness = 2 if name == "smeared" else 1.2
    weight = np.clip(mask * sharpness + 0.5, 0, 1)[..., None]
    array = one * weight + two * (1 - weight)
    return from_array(array + rng.normal(0, 5, array.shape)), {f"texture:{name}"}


def smooth_field(rng: Rng, cells: int) -> np.ndarray:
    """Return a smooth random field (CANVAS, CANVAS) in about [-1, 1]."""
    small = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(small.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC))


def _two_nearest(grid: Grid, rng: Rng, count: int) -> np.ndarray:
    """Return the distances to the two nearest of `count` random points, (CANVAS,
    CANVAS, 2 or more).
    """
    points = rng.uniform(-5, CANVAS + 5, (count, 2))
    distance = np.hypot(
        grid.x[..., None] - points[:, 0], grid.y[..., None] - points[:, 1]
    )
    distance.partition(1, axis=-1)
    return distance
