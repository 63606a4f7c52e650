"""Drawings of kinds that are told apart by colours and details: flowers, food, pets, flags."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .pen import COLORS, Color, Pen, shade

DARK, LIGHT = COLORS["black"], COLORS["white"]

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
