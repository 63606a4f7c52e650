"""Concepts that differ in colours and details: flowers, food, pets, flags."""

import math

from .colors import COLORS, CONCEPTS, Color, Rng, shade, vary
from .pen import Pen, canvas, circle, read_drawings

FLOWERS = CONCEPTS["flowers"]
FOODS = read_drawings("foods")
PETS = CONCEPTS["pets"]
FLAGS = CONCEPTS["flags"]


def flower(name: str, rng: Rng, mode: str):
    """Return a flower from above and its attributes."""
    pen = Pen(vary("meadow", rng, 22), mode)
    pen.settle(rng, 20, 0.7, 1.05)
    petal, heart, count, width = FLOWERS[name]
    turn = rng.uniform(0, 360)
    for k, (x, y) in enumerate(circle(50, 50, 24, count, turn)):
        color = shade(petal, 0.85 + 0.3 * (k % 2))
        pen.oval(x, y, 21, width, color, turn + 360 * k / count)
    pen.oval(50, 50, 13, 13, heart)
    return pen.image, {f"flower:{name}"}


def food(name: str, rng: Rng, mode: str):
    """Return food on a plate and its attributes."""
    pen = canvas(rng, mode)
    pen.oval(50, 56, 49, 43, "plate")
    pen.settle(rng, 16, 0.65, 0.85)
    pen.strokes(FOODS[name])
    if name == "donut":
        for k, color in enumerate(list(COLORS)[:9]):
            x = 50 + 27 * math.cos(k * 0.7)
            y = 50 + 27 * math.sin(k * 0.7)
            pen.oval(x, y, 3, 3, color)
    elif name == "fried egg":
        turn = rng.uniform(-30, 30)
        pen.oval(46, 52, 40, 32, "white", turn)
        pen.oval(50, 50, 15, 15, "yellow")
    elif name == "salad":
        for _ in range(9):
            color = str(rng.choice(["green", "green", "red"]))
            x = rng.uniform(18, 82)
            y = rng.uniform(28, 44)
            pen.oval(x, y, 10, 8, color)
    return pen.image, {f"food:{name}"}


def pet(name: str, rng: Rng, mode: str):
    """Return the face of a cat or a dog and its attributes."""
    pen = canvas(rng, mode)
    pen.settle(rng, 12, 0.75, 1.0)
    kind = PETS[name]
    ears, marking = kind["ears"], kind["marking"]
    coat = tuple(kind["coat"])
    tip = 6 if ears == "cat" else 2
    for side in (-1, 1):
        if ears == "dog":
            pen.oval(50 + 34 * side, 50, 10, 26, shade(coat, 0.55))
        else:
            outer, inner = 50 + 32 * side, 50 + 8 * side
            corners = [(outer, 40), (50 + 30 * side, tip), (inner, 26)]
            pen.poly(corners, shade(coat, 0.7))
    pen.oval(50, 54, 33, 32, coat)
    _marking(pen, marking, coat, rng)
    eyes = "black"
    if marking == "mask" and ears != "dog":
        eyes = "siamese-eye"
    pen.oval(36, 48, 5, 6, eyes)
    pen.oval(64, 48, 5, 6, eyes)
    if kind["muzzle"] == "long":
        pen.oval(50, 70, 13, 12, shade(coat, 1.6))
    pen.oval(50, 66, 5, 4, "black")
    animal = "cat" if ears == "cat" else "dog"
    return pen.image, {f"pet:{name}", f"kind:{animal}"}


def _marking(pen: Pen, marking: str, coat: Color, rng: Rng) -> None:
    if marking == "mask":
        pen.oval(50, 64, 18, 18, "mask")
    elif marking == "bib":
        pen.poly([(44, 24), (56, 24), (68, 84), (32, 84)], "white")
    elif marking == "spots":
        for _ in range(9):
            x = rng.uniform(26, 74)
            y = rng.uniform(32, 80)
            pen.oval(x, y, 4, 4, "black")
    elif marking == "stripes":
        dark = shade(coat, 0.5)
        for k in range(3):
            x, y = 38 + 12 * k, 56 + 8 * k
            pen.line([(x, 24), (x, 40)], dark, 4)
            pen.line([(18, y), (32, y + 2)], dark, 3)


def flag(name: str, rng: Rng, mode: str):
    """Return a flag that fills most of the square, and its attributes."""
    pen = Pen(vary("pale-sky", rng, 18))
    pen.settle(rng, 7, 0.8, 1.0)
    kind, *colors = FLAGS[name]
    first, last = colors[0], colors[-1]
    pen.rect(4, 18, 96, 82, first)
    if kind == "cross":
        pen.rect(28, 18, 40, 82, last)
        pen.rect(4, 44, 96, 56, last)
    elif kind == "disc":
        pen.oval(50, 50, 18, 18, last)
    else:
        for k, color in enumerate(colors):
            low = k / len(colors)
            high = (k + 1) / len(colors)
            if kind == "vertical":
                pen.rect(4 + 92 * low, 18, 4 + 92 * high, 82, color)
            else:
                pen.rect(4, 18 + 64 * low, 96, 18 + 64 * high, color)
    return pen.image, {f"flag:{name}"}
