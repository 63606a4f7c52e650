"""A pen that draws in a square of 100 x 100 units."""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from .colors import Color, Paint, Rng, pick, rgb, vary

# pixels a side that everything is drawn at, before an image is stored or resized
CANVAS = 96
CIRCLE = [(math.cos(t * math.pi / 12), math.sin(t * math.pi / 12)) for t in range(24)]
GROUNDS = ("white", "gray", "green", "blue", "yellow", "pink", "black")

Point = tuple[float, float]


class Pen:
    """Draws shapes given in the square [0, 100] x [0, 100] (y down) under one
    similarity transform.

    `mode` is "fill", "outline" (a sketch: edges only) or "silhouette" (every shape in
    one dark colour).
    """

    def __init__(
        self, background: Paint, mode: str = "fill", ink: Color = (25, 25, 25)
    ) -> None:
        self.image = Image.new("RGB", (CANVAS, CANVAS), rgb(background))
        self.draw = ImageDraw.Draw(self.image)
        self.mode = mode
        self.ink = ink
        self.place()

    def place(
        self,
        x: float = 50,
        y: float = 50,
        scale: float = 1.0,
        angle: float = 0.0,
        flip: bool = False,
    ) -> None:
        """Move the origin of the next shapes to (x, y), scaled, turned by `angle`
        degrees and mirrored if `flip`.
        """
        self._x, self._y, self._flip = x, y, flip
        self._cos = scale * math.cos(math.radians(angle))
        self._sin = scale * math.sin(math.radians(angle))
        self._scale = scale

    def settle(
        self,
        rng: Rng,
        turn: float,
        low: float = 0.62,
        high: float = 0.95,
        flip: bool = False,
    ) -> None:
        """Place the next shapes at random: scaled by `low` to `high`, turned by up to
        `turn` degrees.
        """
        scale = rng.uniform(low, high)
        margin = max(3.0, 50 * (1 - scale))
        mirrored = flip and rng.random() < 0.5
        x = 50 + rng.uniform(-margin, margin)
        y = 50 + rng.uniform(-margin, margin)
        self.place(x, y, scale, rng.uniform(-turn, turn), mirrored)

    def _map(self, point: Point) -> Point:
        u, v = point[0] - 50, point[1] - 50
        if self._flip:
            u = -u
        unit = CANVAS / 100
        x = self._x + self._cos * u - self._sin * v
        y = self._y + self._sin * u + self._cos * v
        return x * unit, y * unit

    def poly(self, points: Sequence[Point], color: Paint) -> None:
        """Draw a filled polygon."""
        mapped = [self._map(point) for point in points]
        if self.mode == "outline":
            self.draw.line([*mapped, mapped[0]], fill=self.ink, width=2)
        elif self.mode == "silhouette":
            self.draw.polygon(mapped, fill=self.ink)
        else:
            self.draw.polygon(mapped, fill=rgb(color))

    def oval(
        self, x: float, y: float, rx: float, ry: float, color: Paint, turn: float = 0.0
    ) -> None:
        """Draw a filled ellipse with radii rx, ry, turned by `turn` degrees."""
        c = math.cos(math.radians(turn))
        s = math.sin(math.radians(turn))
        points = []
        for a, b in CIRCLE:
            u, v = rx * a, ry * b
            points.append((x + u * c - v * s, y + u * s + v * c))
        self.poly(points, color)

    def rect(self, x0: float, y0: float, x1: float, y1: float, color: Paint) -> None:
        """Draw a filled rectangle."""
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color)

    def line(self, points: Sequence[Point], color: Paint, width: float = 4) -> None:
        """Draw a line through the points, `width` in units of the square."""
        pixels = max(1, round(width * self._scale * CANVAS / 100))
        if self.mode == "outline":
            pixels = min(pixels, 2)
        ink = rgb(color) if self.mode == "fill" else self.ink
        mapped = [self._map(point) for point in points]
        self.draw.line(mapped, fill=ink, width=pixels, joint="curve")

    def text(
        self, words: str, color: Paint, size: float = 30, x: float = 50, y: float = 50
    ) -> None:
        """Write words centred at (x, y), letters about `size` units high."""
        font = ImageFont.load_default(max(6, size * self._scale * CANVAS / 100))
        self.draw.text(
            self._map((x, y)), words, fill=rgb(color), font=font, anchor="mm"
        )


def canvas(rng: Rng, mode: str, avoid: str = "") -> Pen:
    """Return a pen on a background of another colour than `avoid`; sketches are on
    white.
    """
    if mode != "fill":
        return Pen(vary("sketch-paper", rng, 6), mode)
    grounds = [name for name in GROUNDS if name != avoid]
    ground = pick(rng, grounds)
    return Pen(vary(ground, rng, 14))
