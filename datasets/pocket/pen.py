"""A pen that draws in a square of 100 x 100 units, and the drawings of drawings.yaml."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

from .colors import DRAWINGS, Color, Paint, Rng, pick, rgb, shade, vary

# pixels a side that everything is drawn at, before an image is stored or resized
CANVAS = 96
GROUNDS = ("white", "gray", "green", "blue", "yellow", "pink", "black")

Point = tuple[float, float]


def pairs(numbers: Sequence[float]) -> list[Point]:
    """Return the points that alternate x and y give."""
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def circle(
    x: float, y: float, radius: float, steps: int, turn: float = 0
) -> list[Point]:
    """Return points of a circle, the first in the direction `turn` (degrees)."""
    angles = [math.radians(turn + 360 * k / steps) for k in range(steps)]
    return [(x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles]


CIRCLE = circle(0, 0, 1, 24)


class Stroke(NamedTuple):
    """A method of `Pen`, a colour or "main", its shade, and other arguments."""

    method: str
    color: str
    factor: float
    arguments: dict[str, Any]


class Pen:
    """Draws shapes given in the square [0, 100] x [0, 100] (y down) under one
    similarity transform. `mode` is "fill", "outline" (a sketch: edges only) or
    "silhouette" (every shape in one dark colour).
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
        """Place the next shapes at (x, y), turned by `angle` degrees."""
        self._x = x
        self._y = y
        self._flip = flip
        turn = math.radians(angle)
        self._cos = scale * math.cos(turn)
        self._sin = scale * math.sin(turn)
        self._scale = scale

    def settle(
        self,
        rng: Rng,
        turn: float,
        low: float = 0.62,
        high: float = 0.95,
        flip: bool = False,
    ) -> None:
        """Place the next shapes at random, turned by up to `turn` degrees."""
        scale = rng.uniform(low, high)
        margin = max(3.0, 50 * (1 - scale))
        mirrored = flip and rng.random() < 0.5
        x = 50 + rng.uniform(-margin, margin)
        y = 50 + rng.uniform(-margin, margin)
        self.place(x, y, scale, rng.uniform(-turn, turn), mirrored)

    def _map(self, point: Point) -> Point:
        u = point[0] - 50
        v = point[1] - 50
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
            mapped.append(mapped[0])
            self.draw.line(mapped, fill=self.ink, width=2)
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
            across = x + u * c - v * s
            points.append((across, y + u * s + v * c))
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

    def strokes(self, drawing: Sequence[Stroke], main: Paint = "black") -> None:
        """Draw a drawing of drawings.yaml in its "main" colour."""
        for method, name, factor, arguments in drawing:
            paint = main if name == "main" else name
            getattr(self, method)(color=shade(paint, factor), **arguments)


def canvas(rng: Rng, mode: str, avoid: str = "") -> Pen:
    """Return a pen on a background other than `avoid`; sketches are on white."""
    if mode != "fill":
        return Pen(vary("sketch-paper", rng, 6), mode)
    grounds = [name for name in GROUNDS if name != avoid]
    ground = pick(rng, grounds)
    return Pen(vary(ground, rng, 14))


def read_drawings(group: str) -> dict[str, list[Stroke]]:
    """Return the drawings of a group by name."""
    return {name: read_drawing(lines) for name, lines in DRAWINGS[group].items()}


def read_drawing(lines: list[str]) -> list[Stroke]:
    """Return the strokes of the lines of one drawing."""
    strokes = []
    for line in lines:
        verb, color, *words = line.split()
        name, _, factor = color.partition("*")
        method, arguments = _read_arguments(verb, words)
        strokes.append(Stroke(method, name, float(factor or 1), arguments))
    return strokes


def _read_arguments(verb: str, words: list[str]) -> tuple[str, dict[str, Any]]:
    """Return a method of `Pen` and its arguments; rings and polygons become points."""
    if verb == "text":
        return "text", {"size": float(words[0]), "words": words[1]}
    numbers = [float(word) for word in words]
    if verb == "rect":
        return "rect", dict(zip(("x0", "y0", "x1", "y1"), numbers, strict=True))
    if verb == "oval":
        return "oval", dict(zip(("x", "y", "rx", "ry", "turn"), numbers, strict=False))
    if verb == "ngon":
        corners, radius, *turn = numbers
        return "poly", {"points": circle(50, 50, radius, int(corners), *turn or (-90,))}
    if verb == "ring":
        width, x, y, radius, steps = numbers
        points = circle(x, y, radius, int(steps))
        return "line", {"width": width, "points": [*points, points[0]]}
    if verb == "line":
        return "line", {"width": numbers[0], "points": pairs(numbers[1:])}
    return "poly", {"points": pairs(numbers)}
