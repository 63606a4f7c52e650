"""A pen that draws in a unit square, the styles an image is finished in, and the colours that have names."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

CANVAS = 96  # pixels a side that everything is drawn at, before an image is stored or resized

COLORS: dict[str, tuple[int, int, int]] = {
    "red": (214, 40, 40),
    "orange": (240, 140, 30),
    "yellow": (245, 215, 60),
    "green": (50, 150, 70),
    "blue": (40, 90, 200),
    "purple": (130, 60, 170),
    "pink": (240, 140, 180),
    "brown": (130, 85, 50),
    "black": (30, 30, 30),
    "white": (240, 240, 240),
    "gray": (135, 135, 140),
}

Point = tuple[float, float]
Color = tuple[int, int, int]


def shade(color: Color, factor: float) -> Color:
    """The colour darkened (factor < 1) or lightened towards white (factor > 1)."""
    if factor <= 1:
        return tuple(int(channel * factor) for channel in color)  # type: ignore[return-value]
    return tuple(int(255 - (255 - channel) * (2 - factor)) for channel in color)  # type: ignore[return-value]


def vary(color: Color, rng: np.random.Generator, amount: float = 18) -> Color:
    """The colour with a little noise in each channel."""
    return tuple(int(np.clip(channel + rng.normal(0, amount), 0, 255)) for channel in color)  # type: ignore[return-value]


class Pen:
    """Draws shapes given in the unit square [0, 100] x [0, 100] (y down) under one similarity transform.

    `mode` is "fill", "outline" (a sketch: edges only) or "silhouette" (every shape in one dark colour).
    """

    def __init__(self, background: Color, mode: str = "fill", ink: Color = (25, 25, 25)) -> None:
        self.image = Image.new("RGB", (CANVAS, CANVAS), background)
        self.draw = ImageDraw.Draw(self.image)
        self.mode, self.ink = mode, ink
        self.place()

    def place(self, x: float = 50, y: float = 50, scale: float = 1.0, angle: float = 0.0, flip: bool = False) -> None:
        """What is drawn next is centred at (x, y), scaled, turned by `angle` degrees and perhaps mirrored."""
        self._x, self._y, self._flip = x, y, flip
        self._cos, self._sin = scale * math.cos(math.radians(angle)), scale * math.sin(math.radians(angle))
        self._scale = scale

    def _map(self, point: Point) -> Point:
        u, v = point[0] - 50, point[1] - 50
        u = -u if self._flip else u
        unit = CANVAS / 100
        return ((self._x + self._cos * u - self._sin * v) * unit, (self._y + self._sin * u + self._cos * v) * unit)

    def poly(self, points: Sequence[Point], color: Color) -> None:
        """A filled polygon."""
        mapped = [self._map(point) for point in points]
        if self.mode == "outline":
            self.draw.line([*mapped, mapped[0]], fill=self.ink, width=2)
        else:
            self.draw.polygon(mapped, fill=self.ink if self.mode == "silhouette" else color)

    def oval(self, x: float, y: float, rx: float, ry: float, color: Color, turn: float = 0.0) -> None:
        """A filled ellipse with radii rx, ry, turned by `turn` degrees."""
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        circle = [(math.cos(t * math.pi / 12), math.sin(t * math.pi / 12)) for t in range(24)]
        self.poly([(x + rx * a * c - ry * b * s, y + rx * a * s + ry * b * c) for a, b in circle], color)

    def rect(self, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
        """A filled rectangle."""
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color)

    def line(self, points: Sequence[Point], color: Color, width: float = 4) -> None:
        """A line through the points, `width` in units of the square."""
        pixels = max(1, round(width * self._scale * CANVAS / 100))
        if self.mode == "outline":
            pixels = min(pixels, 2)
        ink = color if self.mode == "fill" else self.ink
        self.draw.line([self._map(point) for point in points], fill=ink, width=pixels, joint="curve")

    def text(self, words: str, color: Color, size: float = 30, x: float = 50, y: float = 50) -> None:
        """Text centred at (x, y), letters about `size` units high."""
        font = ImageFont.load_default(max(6, size * self._scale * CANVAS / 100))
        self.draw.text(self._map((x, y)), words, fill=color, font=font, anchor="mm")


def _noise(array: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    return array + rng.normal(0, amount, array.shape)


def finish(image: Image.Image, style: str, rng: np.random.Generator) -> Image.Image:
    """The image in a named style: what a camera, a scan or a compression does to a picture."""
    if style == "plain":
        return image
    if style == "gray":
        return image.convert("L").convert("RGB")
    if style == "blur":
        return image.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 3.0)))
    if style == "lowres":
        side = int(rng.integers(14, 20))
        return image.resize((side, side), Image.Resampling.BILINEAR).resize(image.size, Image.Resampling.NEAREST)
    array = np.asarray(image, dtype=np.float32)
    if style == "noise":
        array = _noise(array, rng, rng.uniform(20, 45))
    elif style == "night":
        array = _noise(array * rng.uniform(0.25, 0.45) * np.array([0.7, 0.8, 1.3]), rng, 8)
    elif style == "faded":
        array = 160 + (array - 128) * rng.uniform(0.25, 0.4)
    elif style == "invert":
        array = 255 - array
    elif style == "infrared":
        array = array[..., [1, 2, 0]] * np.array([1.1, 0.9, 0.8])
    elif style == "warm":
        array = _noise(array * np.array([1.1, 0.9, 0.65]), rng, 10)
    else:
        raise ValueError(f"unknown style {style!r}")
    return Image.fromarray(np.clip(array, 0, 255).astype(np.uint8))


STYLES = ("plain", "gray", "blur", "lowres", "noise", "night", "faded", "invert", "infrared", "warm")
