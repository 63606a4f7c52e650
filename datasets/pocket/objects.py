"""Single things in one main colour: shapes, objects, vehicles, and scenes."""

import math

import numpy as np
from PIL import Image

from .colors import COLORS, CONCEPTS, DRAWINGS, Color, Rng, pick, shade, vary
from .pen import Pen, Point, Stroke, canvas, circle, pairs, read_drawing, read_drawings

SHAPES = read_drawings("shapes")
OBJECTS = read_drawings("objects")
BODIES = read_drawings("car bodies")
WHEELS = read_drawing(DRAWINGS["wheels"])
PLANES = CONCEPTS["planes"]
CARS = CONCEPTS["cars"]
SCENE_OBJECTS = ("bird", "boat", "bottle", "car", "cat", "chair", "dog", "tree")
HALF_SPANS = {"low": 18, "twin": 18, "wide": 30}  # of a plane's tail
CORNERS = ((30, 30), (70, 30), (30, 70), (70, 70))


def _star() -> list[Point]:
    outer = circle(50, 50, 45, 5, -90)
    inner = circle(50, 50, 18, 5, -54)
    return [point for two in zip(outer, inner, strict=True) for point in two]


def _heart() -> list[Point]:
    points = []
    for k in range(40):
        t = 2 * math.pi * k / 40
        first = 13 * math.cos(t)
        bumps = first - 5 * math.cos(2 * t)
        height = bumps - 2 * math.cos(3 * t)
        height = height - math.cos(4 * t)
        x = 50 + 2.3 * 16 * math.sin(t) ** 3
        points.append((x, 48 - 2.3 * height))
    return points


def _crescent() -> list[Point]:
    outer = np.linspace(0.9, 2 * math.pi - 0.9, 20)
    inner = np.linspace(2 * math.pi - 1.3, 1.3, 20)
    points = [(50 + 38 * math.cos(t), 50 + 38 * math.sin(t)) for t in outer]
    return points + [(66 + 30 * math.cos(t), 50 + 30 * math.sin(t)) for t in inner]


SHAPES["star"] = [Stroke("poly", "main", 1.0, {"points": _star()})]
SHAPES["heart"] = [Stroke("poly", "main", 1.0, {"points": _heart()})]
SHAPES["crescent"] = [Stroke("poly", "main", 1.0, {"points": _crescent()})]


def shape(name: str, rng: Rng, mode: str):
    """Return a shape of some colour and its attributes."""
    color = pick(rng)
    pen = canvas(rng, mode, color)
    pen.settle(rng, 12)
    pen.strokes(SHAPES[name], vary(color, rng))
    return pen.image, _colored(f"shape:{name}", color, mode)


def thing(name: str, rng: Rng, mode: str):
    """Return an object of some colour and its attributes."""
    color = pick(rng)
    pen = canvas(rng, mode, color)
    pen.settle(rng, 14, flip=True)
    draw_object(pen, name, vary(color, rng), rng)
    return pen.image, _colored(f"object:{name}", color, mode)


def _colored(attribute: str, color: str, mode: str) -> set[str]:
    if mode == "fill":
        return {attribute, f"color:{color}"}
    return {attribute}


def draw_object(pen: Pen, name: str, color: Color, rng: Rng) -> None:
    """Draw one of OBJECTS."""
    pen.strokes(OBJECTS[name], color)
    if name == "clock":
        angle = rng.uniform(0, 2 * math.pi)
        tip = (50 + 18 * math.cos(angle), 50 + 18 * math.sin(angle))
        pen.line([(50, 50), (50, 26)], "black", 4)
        pen.line([(50, 50), tip], "black", 5)
    elif name == "airplane":
        draw_plane(pen, color, sweep=20, engines=1, tail="low", length=44)
    elif name == "car":
        draw_car(pen, color, "sedan")


def draw_plane(
    pen: Pen, color: Color, sweep: float, engines: int, tail: str, length: float
) -> None:
    """Draw an aeroplane from above, with so many engines a side and half `length`."""
    pen.oval(50, 50, 6, length, color)
    span = HALF_SPANS[tail]
    end = 50 + length
    for side in (-1, 1):
        tip = 50 + side * 44
        pen.poly(
            pairs((50, 42, tip, 42 + sweep, tip, 50 + sweep, 50, 60)), shade(color, 0.8)
        )
        for k in range(engines):
            x = 18 + 13 * k
            pen.oval(50 + side * x, 44 + sweep * x / 44, 3.4, 7, "black")
        if tail == "twin":
            pen.rect(50 + side * 16 - 2, 76, 50 + side * 16 + 2, 96, shade(color, 0.6))
        pen.poly(
            pairs((50, end - 14, 50 + side * span, end - 6, 50, end - 4)),
            shade(color, 0.6),
        )


def plane(name: str, rng: Rng, mode: str):
    """Return an aeroplane in the sky and its attributes."""
    pen = Pen(vary("high-sky", rng, 18), mode)
    pen.settle(rng, 35, 0.8, 1.05)
    paint = pick(rng, ("white", "gray", "green", "blue"))
    draw_plane(pen, vary(paint, rng), **PLANES[name])
    return pen.image, {f"plane:{name}", "object:airplane"}


def draw_car(pen: Pen, color: Color, body: str) -> None:
    """Draw a vehicle from the side."""
    pen.rect(6, 50, 94, 70, color)
    pen.strokes(BODIES[body], color)
    pen.strokes(WHEELS)


def car(name: str, rng: Rng, mode: str):
    """Return a vehicle called by its colour and body, and its attributes."""
    color, body = name.split()
    pen = canvas(rng, mode, color)
    pen.settle(rng, 5, 0.75, 1.0, flip=True)
    draw_car(pen, vary(color, rng, 12), body)
    return pen.image, {f"car:{name}", f"body:{body}", f"color:{color}", "object:car"}


def scene(
    rng: Rng, options: tuple[str, ...] = SCENE_OBJECTS
) -> tuple[Image.Image, list[str]]:
    """Return an image of one to three different objects, and their sorted names."""
    count = int(rng.integers(1, 4))
    names = [options[int(k)] for k in rng.permutation(len(options))[:count]]
    pen = canvas(rng, "fill")
    for name, k in zip(names, rng.permutation(4), strict=False):
        x, y = CORNERS[int(k)]
        x += rng.normal(0, 4)
        y += rng.normal(0, 4)
        pen.place(
            x, y, rng.uniform(0.38, 0.52), rng.uniform(-10, 10), rng.random() < 0.5
        )
        color = vary(pick(rng), rng)
        draw_object(pen, name, color, rng)
    return pen.image, sorted(names)


def scene_around(concept: str, rng: Rng, mode: str):
    """Return a scene and its objects as attributes; `concept` may be among them."""
    others = tuple(name for name in SCENE_OBJECTS if name != concept)
    image, names = scene(rng, (concept, *others))
    return image, {f"object:{name}" for name in names}


def cluttered(name: str, rng: Rng, mode: str):
    """Return a small, turned object among shapes, and its attributes."""
    pen = Pen(vary(pick(rng), rng))
    shapes = list(SHAPES)
    for _ in range(4):
        x = rng.uniform(0, 100)
        y = rng.uniform(0, 100)
        scale = rng.uniform(0.15, 0.3)
        pen.place(x, y, scale, rng.uniform(0, 360))
        shape = SHAPES[pick(rng, shapes)]
        pen.strokes(shape, vary(pick(rng), rng))
    x = rng.uniform(35, 65)
    y = rng.uniform(35, 65)
    flip = rng.random() < 0.5
    scale = rng.uniform(0.5, 0.7)
    pen.place(x, y, scale, rng.uniform(-45, 45), flip)
    color = vary(pick(rng), rng)
    draw_object(pen, name, color, rng)
    return pen.image, {f"object:{name}"}


def rendition(name: str, rng: Rng, mode: str):
    """Return an object painted, outlined or cut out, and its attributes."""
    ground, ink, color = rng.permutation(list(COLORS))[:3].tolist()
    mode = pick(rng, ("fill", "outline", "silhouette"))
    pen = Pen(vary(ground, rng), mode, vary(ink, rng))
    pen.settle(rng, 20, flip=True)
    draw_object(pen, name, vary(color, rng), rng)
    return pen.image, {f"object:{name}"}
