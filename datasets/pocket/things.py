"""Drawings of single things: shapes, objects, animals, food, flowers, pets, planes, cars, flags.

Every function draws one concept with a `Pen` in a main colour; the dictionaries name the concepts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .pen import COLORS, Color, Pen, Point, shade

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


def plane(pen: Pen, c: Color, sweep: float, engines: int, tail: str, length: float) -> None:
    """An aeroplane from above: wing sweep, engines a side, tail "low", "twin" or "wide", half length."""
    pen.oval(50, 50, 6, length, c)
    for side in (-1, 1):
        pen.poly([(50, 42), (50 + side * 44, 42 + sweep), (50 + side * 44, 50 + sweep), (50, 60)], shade(c, 0.8))
        for k in range(engines):
            x = 18 + 13 * k
            pen.oval(50 + side * x, 44 + sweep * x / 44, 3.4, 7, DARK)
        if tail == "twin":
            pen.rect(50 + side * 16 - 2, 76, 50 + side * 16 + 2, 96, shade(c, 0.6))
        span = {"low": 18, "twin": 18, "wide": 30}[tail]
        pen.poly([(50, 50 + length - 14), (50 + side * span, 50 + length - 6), (50, 50 + length - 4)], shade(c, 0.6))


PLANES: dict[str, dict] = {
    "Cessna 172": {"sweep": 0, "engines": 0, "tail": "low", "length": 30},
    "Boeing 737": {"sweep": 22, "engines": 1, "tail": "low", "length": 40},
    "Boeing 747": {"sweep": 26, "engines": 2, "tail": "low", "length": 46},
    "Airbus A380": {"sweep": 20, "engines": 2, "tail": "wide", "length": 46},
    "Dash 8": {"sweep": 0, "engines": 1, "tail": "wide", "length": 38},
    "C-130": {"sweep": 0, "engines": 2, "tail": "wide", "length": 40},
    "F-16": {"sweep": 34, "engines": 0, "tail": "low", "length": 42},
    "F-18": {"sweep": 30, "engines": 0, "tail": "twin", "length": 42},
    "Tornado": {"sweep": 40, "engines": 0, "tail": "wide", "length": 40},
    "P-38": {"sweep": 2, "engines": 1, "tail": "twin", "length": 34},
}


def car(pen: Pen, c: Color, body: str) -> None:
    """A vehicle from the side."""
    roof = {
        "sedan": [(24, 52), (36, 34), (64, 34), (78, 52)],
        "van": [(14, 52), (16, 26), (76, 26), (90, 52)],
        "truck": [(60, 52), (60, 28), (82, 28), (90, 52)],
        "bus": [(6, 52), (6, 20), (94, 20), (94, 52)],
        "pickup": [(46, 52), (52, 32), (74, 32), (84, 52)],
        "convertible": [(52, 52), (62, 38), (65, 38), (60, 52)],
    }[body]
    pen.rect(6, 50, 94, 70, c)
    pen.poly(roof, c if body in ("van", "bus") else shade(c, 0.75))
    if body == "truck":
        pen.rect(6, 22, 54, 54, shade(c, 1.5))
    if body == "bus":
        for k in range(4):
            pen.rect(12 + 20 * k, 28, 26 + 20 * k, 44, (190, 220, 240))
    for x in (26, 74):
        pen.oval(x, 72, 10, 10, DARK)
        pen.oval(x, 72, 4, 4, COLORS["gray"])


CARS: dict[str, tuple[str, str]] = {
    f"{color} {body}": (color, body)
    for color, body in (
        ("red", "sedan"),
        ("blue", "sedan"),
        ("yellow", "sedan"),
        ("red", "van"),
        ("white", "van"),
        ("blue", "truck"),
        ("green", "truck"),
        ("yellow", "bus"),
        ("red", "bus"),
        ("black", "pickup"),
        ("blue", "pickup"),
        ("red", "convertible"),
    )
}

FLOWERS: dict[str, tuple[str, str, int, float]] = {  # petal colour, heart colour, petals, width of a petal
    "daisy": ("white", "yellow", 12, 5),
    "sunflower": ("yellow", "brown", 16, 5),
    "rose": ("red", "red", 5, 17),
    "violet": ("purple", "yellow", 5, 12),
    "tulip": ("pink", "pink", 3, 16),
    "lily": ("white", "orange", 6, 8),
    "poppy": ("red", "black", 4, 18),
    "iris": ("blue", "yellow", 3, 13),
    "marigold": ("orange", "brown", 14, 7),
    "cornflower": ("blue", "purple", 9, 6),
}


def flower(pen: Pen, name: str, rng: np.random.Generator) -> None:
    """A flower from above."""
    petal, heart, count, width = FLOWERS[name]
    turn = rng.uniform(0, 360)
    for k in range(count):
        a = turn + 360 * k / count
        x, y = 50 + 24 * math.cos(math.radians(a)), 50 + 24 * math.sin(math.radians(a))
        pen.oval(x, y, 21, width, shade(COLORS[petal], 0.85 + 0.3 * (k % 2)), a)
    pen.oval(50, 50, 13, 13, COLORS[heart])


def _pizza(pen, rng):
    pen.poly([(50, 92), (10, 18), (90, 18)], COLORS["yellow"])
    pen.line([(10, 18), (90, 18)], COLORS["brown"], 10)
    for x, y in ((36, 34), (62, 36), (50, 60)):
        pen.oval(x, y, 8, 8, COLORS["red"])


def _burger(pen, rng):
    pen.poly([(12, 46), (20, 24), (50, 14), (80, 24), (88, 46)], COLORS["orange"])
    pen.rect(10, 46, 90, 54, COLORS["green"])
    pen.rect(12, 54, 88, 66, COLORS["brown"])
    pen.rect(14, 66, 86, 84, COLORS["orange"])


def _donut(pen, rng):
    pen.oval(50, 50, 40, 40, COLORS["pink"])
    pen.oval(50, 50, 14, 14, LIGHT)
    for k in range(9):
        pen.oval(50 + 27 * math.cos(k * 0.7), 50 + 27 * math.sin(k * 0.7), 3, 3, list(COLORS.values())[k])


def _icecream(pen, rng):
    pen.poly([(28, 48), (72, 48), (50, 96)], COLORS["orange"])
    pen.oval(50, 32, 24, 24, COLORS["pink"])


def _sushi(pen, rng):
    pen.oval(50, 52, 38, 32, DARK)
    pen.oval(50, 48, 32, 26, LIGHT)
    pen.oval(50, 48, 12, 10, COLORS["orange"])


def _egg(pen, rng):
    pen.oval(46, 52, 40, 32, LIGHT, rng.uniform(-30, 30))
    pen.oval(50, 50, 15, 15, COLORS["yellow"])


def _pancakes(pen, rng):
    for k in range(4):
        pen.oval(50, 76 - 12 * k, 40, 13, shade(COLORS["orange"], 0.7 + 0.1 * (k % 2)))
    pen.rect(42, 30, 58, 40, COLORS["yellow"])


def _salad(pen, rng):
    pen.poly([(8, 46), (92, 46), (70, 88), (30, 88)], COLORS["gray"])
    for _ in range(9):
        color = COLORS[str(rng.choice(["green", "green", "red"]))]
        pen.oval(rng.uniform(18, 82), rng.uniform(28, 44), 10, 8, color)


def _cake(pen, rng):
    pen.poly([(10, 40), (90, 28), (90, 80), (10, 84)], COLORS["brown"])
    pen.poly([(10, 40), (90, 28), (60, 18)], LIGHT)
    pen.line([(10, 62), (90, 54)], LIGHT, 6)


def _hotdog(pen, rng):
    pen.oval(50, 50, 44, 20, COLORS["orange"])
    pen.oval(50, 48, 46, 9, COLORS["red"])
    pen.line([(10 + 8 * k, 45 + 6 * (k % 2)) for k in range(11)], COLORS["yellow"], 3)


FOODS: dict[str, Callable[[Pen, np.random.Generator], None]] = {
    "pizza": _pizza,
    "hamburger": _burger,
    "donut": _donut,
    "ice cream": _icecream,
    "sushi": _sushi,
    "fried egg": _egg,
    "pancakes": _pancakes,
    "salad": _salad,
    "chocolate cake": _cake,
    "hot dog": _hotdog,
}

PETS: dict[str, tuple[str, Color, str, str]] = {  # ears, coat, marking, muzzle
    "siamese": ("cat", (225, 205, 175), "mask", "short"),
    "bengal": ("cat", (200, 140, 70), "spots", "short"),
    "russian blue": ("cat", (120, 130, 150), "none", "short"),
    "tuxedo": ("cat", (40, 40, 45), "bib", "short"),
    "ginger": ("cat", (230, 130, 50), "stripes", "short"),
    "beagle": ("dog", (170, 100, 50), "bib", "long"),
    "pug": ("dog", (215, 180, 130), "mask", "short"),
    "husky": ("prick", (130, 135, 145), "bib", "long"),
    "dalmatian": ("dog", (235, 235, 235), "spots", "long"),
    "corgi": ("prick", (220, 140, 70), "bib", "long"),
}


def pet(pen: Pen, name: str, rng: np.random.Generator) -> None:
    """The face of a cat or a dog."""
    ears, coat, marking, muzzle = PETS[name]
    for side in (-1, 1):
        if ears == "dog":
            pen.oval(50 + 34 * side, 50, 10, 26, shade(coat, 0.55))
        else:
            height = 6 if ears == "cat" else 2
            pen.poly([(50 + 32 * side, 40), (50 + 30 * side, height), (50 + 8 * side, 26)], shade(coat, 0.7))
    pen.oval(50, 54, 33, 32, coat)
    if marking == "mask":
        pen.oval(50, 64, 18, 18, (55, 45, 40))
    elif marking == "bib":
        pen.poly([(44, 24), (56, 24), (68, 84), (32, 84)], LIGHT)
    elif marking == "spots":
        for _ in range(9):
            pen.oval(rng.uniform(26, 74), rng.uniform(32, 80), 4, 4, DARK)
    elif marking == "stripes":
        for k in range(3):
            pen.line([(38 + 12 * k, 24), (38 + 12 * k, 40)], shade(coat, 0.5), 4)
            pen.line([(18, 56 + 8 * k), (32, 58 + 8 * k)], shade(coat, 0.5), 3)
    for side in (-1, 1):
        pen.oval(50 + 14 * side, 48, 5, 6, DARK if marking != "mask" or ears == "dog" else (70, 130, 220))
    if muzzle == "long":
        pen.oval(50, 70, 13, 12, shade(coat, 1.6))
    pen.oval(50, 66, 5, 4, DARK)


FLAGS: dict[str, tuple[str, tuple[str, ...]]] = {  # kind, colours
    "France": ("vertical", ("blue", "white", "red")),
    "Italy": ("vertical", ("green", "white", "red")),
    "Ireland": ("vertical", ("green", "white", "orange")),
    "Belgium": ("vertical", ("black", "yellow", "red")),
    "Romania": ("vertical", ("blue", "yellow", "red")),
    "Nigeria": ("vertical", ("green", "white", "green")),
    "Peru": ("vertical", ("red", "white", "red")),
    "Germany": ("horizontal", ("black", "red", "yellow")),
    "Netherlands": ("horizontal", ("red", "white", "blue")),
    "Russia": ("horizontal", ("white", "blue", "red")),
    "Hungary": ("horizontal", ("red", "white", "green")),
    "Bulgaria": ("horizontal", ("white", "green", "red")),
    "Estonia": ("horizontal", ("blue", "black", "white")),
    "Poland": ("horizontal", ("white", "red")),
    "Ukraine": ("horizontal", ("blue", "yellow")),
    "Austria": ("horizontal", ("red", "white", "red")),
    "Sweden": ("cross", ("blue", "yellow")),
    "Finland": ("cross", ("white", "blue")),
    "Denmark": ("cross", ("red", "white")),
    "Japan": ("disc", ("white", "red")),
}


def flag(pen: Pen, name: str) -> None:
    """A flag that fills most of the square."""
    kind, names = FLAGS[name]
    colors = [COLORS[color] for color in names]
    pen.rect(4, 18, 96, 82, colors[0])
    if kind == "cross":
        pen.rect(28, 18, 40, 82, colors[1])
        pen.rect(4, 44, 96, 56, colors[1])
    elif kind == "disc":
        pen.oval(50, 50, 18, 18, colors[1])
    else:
        for k, color in enumerate(colors):
            lo, hi = k / len(colors), (k + 1) / len(colors)
            if kind == "vertical":
                pen.rect(4 + 92 * lo, 18, 4 + 92 * hi, 82, color)
            else:
                pen.rect(4, 18 + 64 * lo, 96, 18 + 64 * hi, color)
