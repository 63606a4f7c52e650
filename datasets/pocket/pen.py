"""A pen that draws in a square of 100 x 100 units, the drawings of drawings.yaml, and the styles of finished images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from toolkit.common.yaml_files import read_yaml

CANVAS = 96  # pixels a side that everything is drawn at, before an image is stored or resized
CIRCLE = [(math.cos(t * math.pi / 12), math.sin(t * math.pi / 12)) for t in range(24)]

Point = tuple[float, float]
Color = tuple[int, int, int]
Rng = np.random.Generator

DRAWINGS = read_yaml(Path(__file__).with_name("drawings.yaml"))
CONCEPTS = read_yaml(Path(__file__).with_name("concepts.yaml"))
COLORS: dict[str, Color] = {name: tuple(rgb) for name, rgb in DRAWINGS["colors"].items()}
DARK, LIGHT = COLORS["black"], COLORS["white"]


def shade(color: Color, factor: float) -> Color:
    """Return the colour darkened (factor < 1) or lightened towards white (factor > 1)."""
    if factor <= 1:
        return tuple(int(channel * factor) for channel in color)  # type: ignore[return-value]
    return tuple(int(255 - (255 - channel) * (2 - factor)) for channel in color)  # type: ignore[return-value]


def vary(color: Color, rng: Rng, amount: float = 18) -> Color:
    """Return the colour with a little noise in each channel."""
    noisy = (channel + rng.normal(0, amount) for channel in color)
    return tuple(int(min(max(channel, 0), 255)) for channel in noisy)  # type: ignore[return-value]


def pick(rng: Rng, names: Sequence[str] = tuple(COLORS)) -> str:
    """Return one of the names, of the colours' by default, at random."""
    return names[int(rng.integers(len(names)))]


class Pen:
    """Draws shapes given in the square [0, 100] x [0, 100] (y down) under one similarity transform.

    `mode` is "fill", "outline" (a sketch: edges only) or "silhouette" (every shape in one dark colour).
    """

    def __init__(self, background: Color, mode: str = "fill", ink: Color = (25, 25, 25)) -> None:
        self.image = Image.new("RGB", (CANVAS, CANVAS), background)
        self.draw = ImageDraw.Draw(self.image)
        self.mode = mode
        self.ink = ink
        self.place()

    def place(self, x: float = 50, y: float = 50, scale: float = 1.0, angle: float = 0.0, flip: bool = False) -> None:
        """Centre what is drawn next at (x, y), scaled, turned by `angle` degrees and mirrored if `flip`."""
        self._x, self._y, self._flip = x, y, flip
        self._cos = scale * math.cos(math.radians(angle))
        self._sin = scale * math.sin(math.radians(angle))
        self._scale = scale

    def settle(self, rng: Rng, turn: float, low: float = 0.62, high: float = 0.95, flip: bool = False) -> None:
        """Place what is drawn next at random: scaled by `low` to `high`, turned by up to `turn` degrees."""
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

    def poly(self, points: Sequence[Point], color: Color) -> None:
        """Draw a filled polygon."""
        mapped = [self._map(point) for point in points]
        if self.mode == "outline":
            self.draw.line([*mapped, mapped[0]], fill=self.ink, width=2)
        elif self.mode == "silhouette":
            self.draw.polygon(mapped, fill=self.ink)
        else:
            self.draw.polygon(mapped, fill=color)

    def oval(self, x: float, y: float, rx: float, ry: float, color: Color, turn: float = 0.0) -> None:
        """Draw a filled ellipse with radii rx, ry, turned by `turn` degrees."""
        c = math.cos(math.radians(turn))
        s = math.sin(math.radians(turn))
        self.poly([(x + rx * a * c - ry * b * s, y + rx * a * s + ry * b * c) for a, b in CIRCLE], color)

    def rect(self, x0: float, y0: float, x1: float, y1: float, color: Color) -> None:
        """Draw a filled rectangle."""
        self.poly([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], color)

    def line(self, points: Sequence[Point], color: Color, width: float = 4) -> None:
        """Draw a line through the points, `width` in units of the square."""
        pixels = max(1, round(width * self._scale * CANVAS / 100))
        if self.mode == "outline":
            pixels = min(pixels, 2)
        if self.mode != "fill":
            color = self.ink
        self.draw.line([self._map(point) for point in points], fill=color, width=pixels, joint="curve")

    def text(self, words: str, color: Color, size: float = 30, x: float = 50, y: float = 50) -> None:
        """Write words centred at (x, y), letters about `size` units high."""
        font = ImageFont.load_default(max(6, size * self._scale * CANVAS / 100))
        self.draw.text(self._map((x, y)), words, fill=color, font=font, anchor="mm")

    def strokes(self, drawing: Sequence[Stroke], main: Color = DARK) -> None:
        """Draw what a drawing of drawings.yaml says, its "main" colour given."""
        for stroke in drawing:
            color = shade(stroke.color or main, stroke.factor)
            if stroke.verb == "poly":
                self.poly(stroke.points, color)
            elif stroke.verb == "line":
                self.line(stroke.points, color, stroke.numbers[0])
            elif stroke.verb == "oval":
                self.oval(*stroke.numbers[:4], color, *stroke.numbers[4:])
            else:
                self.text(stroke.word, color, stroke.numbers[0])


@dataclass(frozen=True)
class Stroke:
    """One line of a drawing.

    Attributes:
        verb: "poly", "line", "oval" or "text".
        color: None is the drawing's main colour; shaded by `factor`.
        numbers: of a line the width; of an oval x, y, rx, ry and perhaps an angle; of a text its size.
    """

    verb: str
    color: Color | None
    factor: float
    numbers: tuple[float, ...] = ()
    points: tuple[Point, ...] = ()
    word: str = ""


def read_stroke(line: str) -> Stroke:
    """Return the stroke that a line of drawings.yaml states; rectangles, circles and regular polygons become points."""
    verb, color, *words = line.split()
    base, _, factor = color.partition("*")
    paint = read_color(base), float(factor or 1)
    if verb == "text":
        return Stroke("text", *paint, (float(words[0]),), word=words[1])
    numbers = tuple(map(float, words))
    if verb == "oval":
        return Stroke("oval", *paint, numbers)
    if verb == "ngon":
        return Stroke("poly", *paint, points=ngon(int(numbers[0]), *numbers[1:]))
    if verb == "ring":
        width, x, y, radius, steps = numbers
        return Stroke("line", *paint, (width,), points=circle(x, y, radius, int(steps)))
    if verb == "line":
        return Stroke("line", *paint, numbers[:1], points=pairs(numbers[1:]))
    if verb == "rect":
        x0, y0, x1, y1 = numbers
        numbers = (x0, y0, x1, y0, x1, y1, x0, y1)
    return Stroke("poly", *paint, points=pairs(numbers))


def read_color(text: str) -> Color | None:
    """Return the colour of a name or of "r,g,b"; None is the drawing's main colour."""
    if text == "main":
        return None
    if text in COLORS:
        return COLORS[text]
    red, green, blue = map(int, text.split(","))
    return red, green, blue


def pairs(numbers: Sequence[float]) -> tuple[Point, ...]:
    """Return the points that alternate x and y give."""
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def circle(x: float, y: float, radius: float, steps: int) -> tuple[Point, ...]:
    """Return the points of a closed circle."""
    angles = [t / (steps / 2) * math.pi for t in range(steps + 1)]
    return tuple((x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles)


def ngon(corners: int, radius: float, turn: float = -90) -> tuple[Point, ...]:
    """Return a regular polygon around the middle, its first corner in the direction `turn` (degrees)."""
    angles = [math.radians(turn + 360 * k / corners) for k in range(corners)]
    return tuple((50 + radius * math.cos(a), 50 + radius * math.sin(a)) for a in angles)


def read_drawings(group: str) -> dict[str, list[Stroke]]:
    """Return the drawings of a group by name."""
    return {name: read_drawing(lines) for name, lines in DRAWINGS[group].items()}


def read_drawing(lines: list[str]) -> list[Stroke]:
    """Return the strokes of one drawing."""
    return [read_stroke(line) for line in lines]


def canvas(rng: Rng, mode: str, avoid: str = "") -> Pen:
    """Return a pen on a background of another colour than `avoid`; sketches are on white."""
    if mode != "fill":
        return Pen(vary((244, 244, 244), rng, 6), mode)
    grounds = ("white", "gray", "green", "blue", "yellow", "pink", "black")
    ground = pick(rng, [name for name in grounds if name != avoid])
    return Pen(vary(COLORS[ground], rng, 14))


STYLES = ("plain", "gray", "blur", "lowres", "noise", "night", "faded", "invert", "infrared", "warm")


def finish(image: Image.Image, style: str, rng: Rng) -> Image.Image:
    """Return the image in one of STYLES: as a camera, a scan or a compression changes a picture."""
    if style == "plain":
        return image
    if style == "gray":
        return image.convert("L").convert("RGB")
    if style == "blur":
        return image.filter(ImageFilter.GaussianBlur(rng.uniform(1.5, 3.0)))
    if style == "lowres":
        side = int(rng.integers(14, 20))
        small = image.resize((side, side), Image.Resampling.BILINEAR)
        return small.resize(image.size, Image.Resampling.NEAREST)
    return from_array(_finish_array(np.asarray(image, dtype=np.float32), style, rng))


def _finish_array(array: np.ndarray, style: str, rng: Rng) -> np.ndarray:
    if style == "noise":
        return _noise(array, rng, rng.uniform(20, 45))
    if style == "night":
        dark = array * rng.uniform(0.25, 0.45)
        return _noise(dark * np.array([0.7, 0.8, 1.3]), rng, 8)
    if style == "faded":
        return 160 + (array - 128) * rng.uniform(0.25, 0.4)
    if style == "invert":
        return 255 - array
    if style == "infrared":
        return array[..., [1, 2, 0]] * np.array([1.1, 0.9, 0.8])
    if style == "warm":
        return _noise(array * np.array([1.1, 0.9, 0.65]), rng, 10)
    raise ValueError(f"unknown style {style!r}")


def _noise(array: np.ndarray, rng: Rng, amount: float) -> np.ndarray:
    return array + rng.normal(0, amount, array.shape)


def from_array(array: np.ndarray) -> Image.Image:
    """Return an image of values around [0, 255], clipped: (H, W, 3) -> RGB."""
    return Image.fromarray(np.clip(array, 0, 255).astype(np.uint8))
