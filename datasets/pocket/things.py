"""Drawings of single things: shapes, objects, animals.

Every function draws one concept with a `Pen` in a main colour; the dictionaries name the concepts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .pen import COLORS, Color, Pen, Point, shade
from .vehicles import car, plane

Draw = Callable[[Pen, Color, np.random.Generator], None]
DARK, LIGHT = COLORS["black"], COLORS["white"]


def _ngon(n: int, r: float, inner: float | None = None, turn: float = -90) -> list[Point]:
    """A regular polygon, or a star when `inner` gives the radius of every second corner."""
    steps = n if inner is None else 2 * n
    radii = [r if inner is None or k % 2 == 0 else inner for k in range(steps)]
    angles = [math.radians(turn + 360 * k / steps) for k in range(steps)]
    return [(50 + q * math.cos(a), 50 + q * math.sin(a)) for q, a in zip(radii, angles, strict=True)]


def _heart() -> list[Point]:
    ts = [2 * math.pi * k / 40 for k in range(40)]
    return [
        (
            50 + 2.3 * 16 * math.sin(t) ** 3,
            48 - 2.3 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
        )
        for t in ts
    ]


def _polygon(points: list[Point]) -> Draw:
    return lambda pen, color, rng: pen.poly(points, color)


def _ring(pen: Pen, color: Color, rng: np.random.Generator) -> None:
    pen.line(
        [(50 + 32 * math.cos(t / 16 * math.pi), 50 + 32 * math.sin(t / 16 * math.pi)) for t in range(33)], color, 11
    )


def _crescent() -> list[Point]:
    outer = [(50 + 38 * math.cos(t), 50 + 38 * math.sin(t)) for t in np.linspace(0.9, 2 * math.pi - 0.9, 20)]
    return outer + [(66 + 30 * math.cos(t), 50 + 30 * math.sin(t)) for t in np.linspace(2 * math.pi - 1.3, 1.3, 20)]


SHAPES: dict[str, Draw] = {
    "circle": lambda pen, color, rng: pen.oval(50, 50, 38, 38, color),
    "square": lambda pen, color, rng: pen.rect(16, 16, 84, 84, color),
    "triangle": _polygon(_ngon(3, 44)),
    "star": _polygon(_ngon(5, 45, 18)),
    "cross": _polygon(
        [
            (38, 10),
            (62, 10),
            (62, 38),
            (90, 38),
            (90, 62),
            (62, 62),
            (62, 90),
            (38, 90),
            (38, 62),
            (10, 62),
            (10, 38),
            (38, 38),
        ]
    ),
    "heart": _polygon(_heart()),
    "diamond": _polygon([(50, 6), (80, 50), (50, 94), (20, 50)]),
    "ring": _ring,
    "hexagon": _polygon(_ngon(6, 42)),
    "crescent": _polygon(_crescent()),
    "arrow": _polygon([(8, 40), (55, 40), (55, 20), (92, 50), (55, 80), (55, 60), (8, 60)]),
}


def _house(pen, c, rng):
    pen.rect(22, 45, 78, 88, c)
    pen.poly([(14, 47), (50, 12), (86, 47)], shade(c, 0.6))
    pen.rect(43, 62, 57, 88, shade(c, 0.35))


def _tree(pen, c, rng):
    pen.rect(44, 58, 56, 92, COLORS["brown"])
    for x, y, r in ((36, 46, 20), (64, 46, 20), (50, 28, 22)):
        pen.oval(x, y, r, r, COLORS["green"])


def _boat(pen, c, rng):
    pen.poly([(10, 64), (90, 64), (76, 86), (24, 86)], c)
    pen.line([(50, 64), (50, 12)], DARK, 4)
    pen.poly([(54, 16), (84, 56), (54, 56)], LIGHT)


def _fish(pen, c, rng):
    pen.oval(44, 50, 34, 20, c)
    pen.poly([(72, 50), (94, 30), (94, 70)], shade(c, 0.7))
    pen.oval(24, 45, 4, 4, DARK)


def _bird(pen, c, rng):
    pen.oval(48, 55, 27, 18, c)
    pen.oval(74, 36, 13, 13, c)
    pen.poly([(85, 34), (98, 39), (85, 42)], COLORS["orange"])
    pen.poly([(24, 52), (4, 40), (8, 62)], shade(c, 0.7))
    pen.poly([(38, 52), (62, 50), (34, 80)], shade(c, 0.6))
    pen.oval(77, 33, 2.5, 2.5, DARK)


def _cat(pen, c, rng):
    pen.oval(42, 66, 27, 20, c)
    pen.oval(70, 40, 17, 16, c)
    pen.poly([(56, 34), (58, 12), (68, 26)], c)
    pen.poly([(72, 26), (82, 12), (86, 34)], c)
    pen.line([(18, 66), (8, 50), (14, 34)], c, 6)
    for x in (30, 54):
        pen.rect(x - 4, 78, x + 4, 94, c)


def _dog(pen, c, rng):
    pen.rect(18, 44, 66, 68, c)
    pen.oval(74, 38, 16, 14, c)
    pen.oval(88, 43, 9, 6, c)
    pen.oval(66, 40, 6, 14, shade(c, 0.5))
    pen.line([(20, 48), (6, 30)], c, 6)
    for x in (24, 58):
        pen.rect(x - 4, 66, x + 4, 92, c)


def _cup(pen, c, rng):
    pen.poly([(22, 28), (70, 28), (64, 82), (28, 82)], c)
    pen.line([(69, 38), (88, 42), (84, 62), (66, 64)], c, 6)


def _key(pen, c, rng):
    _place = [(24 + 15 * math.cos(t / 8 * math.pi), 50 + 15 * math.sin(t / 8 * math.pi)) for t in range(17)]
    pen.line(_place, c, 8)
    pen.line([(38, 50), (92, 50)], c, 8)
    pen.line([(78, 50), (78, 68)], c, 7)
    pen.line([(90, 50), (90, 64)], c, 7)


def _umbrella(pen, c, rng):
    pen.poly([(8, 50), (16, 28), (34, 14), (50, 10), (66, 14), (84, 28), (92, 50), (71, 43), (50, 50), (29, 43)], c)
    pen.line([(50, 48), (50, 84), (44, 92), (36, 86)], DARK, 4)


def _hammer(pen, c, rng):
    pen.rect(45, 34, 55, 94, COLORS["brown"])
    pen.rect(22, 12, 78, 36, c)


def _chair(pen, c, rng):
    pen.rect(26, 10, 36, 92, c)
    pen.rect(26, 52, 74, 62, c)
    pen.rect(66, 60, 74, 92, c)
    pen.rect(26, 10, 42, 50, shade(c, 0.8))


def _lamp(pen, c, rng):
    pen.poly([(34, 14), (66, 14), (84, 50), (16, 50)], c)
    pen.line([(50, 50), (50, 84)], DARK, 5)
    pen.oval(50, 88, 22, 6, DARK)


def _clock(pen, c, rng):
    pen.oval(50, 50, 40, 40, c)
    pen.oval(50, 50, 32, 32, LIGHT)
    angle = rng.uniform(0, 2 * math.pi)
    pen.line([(50, 50), (50, 26)], DARK, 4)
    pen.line([(50, 50), (50 + 18 * math.cos(angle), 50 + 18 * math.sin(angle))], DARK, 5)


def _book(pen, c, rng):
    pen.poly([(8, 24), (48, 32), (48, 86), (8, 76)], c)
    pen.poly([(92, 24), (52, 32), (52, 86), (92, 76)], c)
    for k in range(3):
        pen.line([(15, 40 + 11 * k), (42, 45 + 11 * k)], LIGHT, 2)
        pen.line([(85, 40 + 11 * k), (58, 45 + 11 * k)], LIGHT, 2)


def _airplane(pen, c, rng):
    plane(pen, c, sweep=20, engines=1, tail="low", length=44)


def _car(pen, c, rng):
    car(pen, c, "sedan")


def _guitar(pen, c, rng):
    pen.oval(34, 70, 22, 20, c)
    pen.oval(46, 54, 16, 15, c)
    pen.oval(38, 66, 7, 7, DARK)
    pen.line([(48, 52), (88, 12)], COLORS["brown"], 6)


def _mushroom(pen, c, rng):
    pen.poly([(40, 50), (60, 50), (64, 90), (36, 90)], LIGHT)
    pen.poly([(8, 52), (18, 26), (50, 10), (82, 26), (92, 52)], c)
    for x, y in ((34, 34), (60, 28), (70, 44)):
        pen.oval(x, y, 6, 5, LIGHT)


def _butterfly(pen, c, rng):
    for side in (-1, 1):
        pen.oval(50 + 22 * side, 34, 20, 17, c, 25 * side)
        pen.oval(50 + 17 * side, 66, 15, 14, shade(c, 0.7))
    pen.line([(50, 22), (50, 82)], DARK, 5)


def _bicycle(pen, c, rng):
    for x in (24, 76):
        pen.line(
            [(x + 18 * math.cos(t / 8 * math.pi), 66 + 18 * math.sin(t / 8 * math.pi)) for t in range(17)], DARK, 4
        )
    pen.line([(24, 66), (44, 36), (68, 36), (76, 66), (50, 66), (24, 66)], c, 4)
    pen.line([(68, 36), (66, 24), (78, 24)], c, 4)


def _bottle(pen, c, rng):
    pen.poly([(43, 8), (57, 8), (57, 32), (68, 46), (68, 92), (32, 92), (32, 46), (43, 32)], c)
    pen.rect(32, 58, 68, 76, LIGHT)


OBJECTS: dict[str, Draw] = {
    "house": _house,
    "tree": _tree,
    "boat": _boat,
    "fish": _fish,
    "bird": _bird,
    "cat": _cat,
    "dog": _dog,
    "cup": _cup,
    "key": _key,
    "umbrella": _umbrella,
    "hammer": _hammer,
    "chair": _chair,
    "lamp": _lamp,
    "clock": _clock,
    "book": _book,
    "airplane": _airplane,
    "car": _car,
    "guitar": _guitar,
    "mushroom": _mushroom,
    "butterfly": _butterfly,
    "bicycle": _bicycle,
    "bottle": _bottle,
}
