"""The drawings of drawings.yaml: how their lines are read and drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .colors import DRAWINGS, PAINTS, Color, Paint, shade
from .pen import Pen, Point


@dataclass(frozen=True)
class Stroke:
    """One line of a drawing.

    Attributes:
        verb: "poly", "line", "oval" or "text".
        color: None is the drawing's main colour; shaded by `factor`.
        numbers: of a line the width; of an oval x, y, rx, ry and perhaps an angle; of a
            text its size.
    """

    verb: str
    color: Color | None
    factor: float
    numbers: tuple[float, ...] = ()
    points: tuple[Point, ...] = ()
    word: str = ""


def read_stroke(line: str) -> Stroke:
    """Return the stroke that a line of drawings.yaml states; rectangles, circles and
    regular polygons become points.
    """
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
    """Return the colour of a name; None is the drawing's main colour."""
    if text == "main":
        return None
    return PAINTS[text]


def pairs(numbers: Sequence[float]) -> tuple[Point, ...]:
    """Return the points that alternate x and y give."""
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def circle(x: float, y: float, radius: float, steps: int) -> tuple[Point, ...]:
    """Return the points of a closed circle."""
    angles = [t / (steps / 2) * math.pi for t in range(steps + 1)]
    return tuple((x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles)


def ngon(corners: int, radius: float, turn: float = -90) -> tuple[Point, ...]:
    """Return a regular polygon around the middle, its first corner in the direction
    `turn` (degrees).
    """
    angles = [math.radians(turn + 360 * k / corners) for k in range(corners)]
    return tuple((50 + radius * math.cos(a), 50 + radius * math.sin(a)) for a in angles)


def read_drawings(group: str) -> dict[str, list[Stroke]]:
    """Return the drawings of a group by name."""
    return {name: read_drawing(lines) for name, lines in DRAWINGS[group].items()}


def read_drawing(lines: list[str]) -> list[Stroke]:
    """Return the strokes of one drawing."""
    return [read_stroke(line) for line in lines]


def draw(pen: Pen, drawing: Sequence[Stroke], main: Paint = "black") -> None:
    """Draw a drawing of drawings.yaml with its "main" colour."""
    for stroke in drawing:
        color = shade(stroke.color or main, stroke.factor)
        if stroke.verb == "poly":
            pen.poly(stroke.points, color)
        elif stroke.verb == "line":
            pen.line(stroke.points, color, stroke.numbers[0])
        elif stroke.verb == "oval":
            pen.oval(*stroke.numbers[:4], color, *stroke.numbers[4:])
        else:
            pen.text(stroke.word, color, stroke.numbers[0])
