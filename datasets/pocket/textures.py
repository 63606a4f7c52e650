"""Textures of two colours that fill the image."""

import math

import numpy as np
from PIL import Image

from .colors import COLORS, CONCEPTS, Rng, pick, vary
from .pen import CANVAS
from .styles import from_array

PATTERNS = CONCEPTS["patterns"]


class Pattern:
    """A pattern of random direction and period; each of PATTERNS is a method that
    returns (CANVAS, CANVAS), above 0 in the first colour. x, y: all pixels, (CANVAS,
    CANVAS) float32. u, v: turned by `angle`. wave: 2 pi / period.
    """

    def __init__(self, rng: Rng):
        self.rng = rng
        self.angle = rng.uniform(0, math.pi)
        self.period = rng.uniform(12, 22)
        self.wave = 2 * math.pi / self.period
        self.y, self.x = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32)
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        self.u = self.x * cos + self.y * sin
        self.v = -self.x * sin + self.y * cos

    def striped(self) -> np.ndarray:
        return np.sin(self.u * self.wave)

    def dotted(self) -> np.ndarray:
        period = self.period
        du = (self.u % period) - period / 2
        dv = (self.v % period) - period / 2
        return -(np.hypot(du, dv) - period * 0.28)

    def checkered(self) -> np.ndarray:
        first = np.sin(self.u * self.wave)
        return first * np.sin(self.v * self.wave)

    def zigzagged(self) -> np.ndarray:
        phase = (self.v / self.period) % 2
        bend = self.period * np.abs(phase - 1)
        bent = self.u + bend
        return np.sin(bent * self.wave)

    def wavy(self) -> np.ndarray:
        bend = 0.35 * self.period * np.sin(self.v * self.wave * 0.6)
        bent = self.u + bend
        return np.sin(bent * self.wave)

    def grid(self) -> np.ndarray:
        return np.maximum(np.cos(self.u * self.wave), np.cos(self.v * self.wave)) - 0.85

    def cracked(self) -> np.ndarray:
        nearest = self._two_nearest(12)
        gap = nearest[..., 1] - nearest[..., 0]
        return 2.0 - gap

    def marbled(self) -> np.ndarray:
        field = smooth_field(self.rng, 5) * 9
        field = field + self.u * self.wave * 0.35
        return np.sin(field) - 0.5

    def bubbly(self) -> np.ndarray:
        inside = 9 - self._two_nearest(16)[..., 0]
        return 3 - np.abs(inside)

    def woven(self) -> np.ndarray:
        half = self.period / 2
        is_even = (np.floor(self.u / half) + np.floor(self.v / half)) % 2 == 0
        along = np.where(is_even, self.u, self.v)
        return np.sin(along * self.wave * 3)

    def spiralled(self) -> np.ndarray:
        x, y = self.x - 48, self.y - 48
        radius = np.hypot(x, y)
        direction = np.arctan2(y, x)
        return np.sin(radius * self.wave * 0.8 + direction * 2 + self.angle)

    def smeared(self) -> np.ndarray:
        smooth_field(self.rng, 5)  # not used; the random numbers after it depend on it
        return smooth_field(self.rng, 4)

    def sprinkled(self) -> np.ndarray:
        return 2.4 - self._two_nearest(60)[..., 0]

    def scaly(self) -> np.ndarray:
        half = self.period / 2
        row = np.floor(self.v / self.period * 2)
        across = ((self.u + half * (row % 2)) % self.period) - half
        return np.hypot(across, self.v % half) - self.period * 0.42

    def _two_nearest(self, count: int) -> np.ndarray:
        """Return distances to the two nearest of random points, on the last axis."""
        x, y = self.rng.uniform(-5, CANVAS + 5, (count, 2)).T
        distance = np.hypot(self.x[..., None] - x, self.y[..., None] - y)
        distance.partition(1, axis=-1)
        return distance


def texture(name: str, rng: Rng, mode: str):
    """Return a texture over the whole image and its attributes."""
    first = pick(rng)
    second = pick(rng, [color for color in COLORS if color != first])
    one = np.array(vary(first, rng))
    two = np.array(vary(second, rng))
    mask = getattr(Pattern(rng), name)()
    sharpness = 2 if name == "smeared" else 1.2
    weight = np.clip(mask * sharpness + 0.5, 0, 1)[..., None]
    array = one * weight + two * (1 - weight)
    return from_array(array + rng.normal(0, 5, array.shape)), {f"texture:{name}"}


def smooth_field(rng: Rng, cells: int) -> np.ndarray:
    """Return a smooth random field (CANVAS, CANVAS) in about [-1, 1]."""
    small = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(small.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC))
