"""Scenery that fills the image: tiles seen from above, places, roads, tissue."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image

from .pen import CANVAS, COLORS, CONCEPTS, DRAWINGS, LIGHT, Color, Pen, Rng
from .pen import from_array, pairs, pick, read_drawing, read_drawings, shade, vary
from .textures import smooth_field

TILES = read_drawings("tiles")
TILE_GROUNDS = CONCEPTS["tile grounds"]
PLACES = CONCEPTS["places"]
CAR_AHEAD = read_drawing(DRAWINGS["car ahead"])
CAR_HEIGHTS = {"near": 70, "middle": 62, "far": 53}
DISTANCES = (*CAR_HEIGHTS, "none")

Rendered = tuple[Image.Image, set[str]]
RANDOM_TILES: dict[str, Callable[[Pen, Rng], None]] = {}  # what a tile shows beside its drawing
VIEWS: dict[str, Callable[[Pen, Rng, float], None]] = {}  # what a place shows before and above its horizon


def drawing(table: dict, name: str) -> Callable:
    """Register a drawing function in a table."""

    def register(function: Callable) -> Callable:
        table[name] = function
        return function

    return register


def tile(name: str, rng: Rng, mode: str) -> Rendered:
    """Return a square of the earth seen from above and its facts."""
    rough = 22 if name in ("forest", "shrubland") else 11
    pen = _on_ground(rng, TILE_GROUNDS[name], rough)
    x = 50 + rng.normal(0, 4)
    y = 50 + rng.normal(0, 4)
    pen.place(x, y, rng.uniform(0.9, 1.2), rng.uniform(0, 360))
    pen.strokes(TILES[name])
    if name in RANDOM_TILES:
        RANDOM_TILES[name](pen, rng)
    return pen.image, {f"tile:{name}"}


def _on_ground(rng: Rng, color: Color, rough: float) -> Pen:
    """Return a pen on uneven ground of about one colour."""
    base = np.array(color, dtype=np.float32) + rng.normal(0, 6, 3)
    field = smooth_field(rng, 6)[..., None] * rough
    grain = rng.normal(0, rough * 0.4, (CANVAS, CANVAS, 3))
    pen = Pen((0, 0, 0))
    pen.image.paste(from_array(base + field + grain))
    return pen


@drawing(RANDOM_TILES, "annual crop")
def _crop(pen: Pen, rng: Rng) -> None:
    for k in range(-2, 8):
        top = -20 + 16 * k
        pen.rect(-40, top, 140, top + 13, vary((170, 150, 80), rng, 28))


@drawing(RANDOM_TILES, "forest")
def _forest(pen: Pen, rng: Rng) -> None:
    _trees(pen, rng, 70)


@drawing(RANDOM_TILES, "shrubland")
def _shrubland(pen: Pen, rng: Rng) -> None:
    _trees(pen, rng, 26)


def _trees(pen: Pen, rng: Rng, count: int) -> None:
    for _ in range(count):
        r = rng.uniform(3, 6)
        pen.oval(rng.uniform(-20, 120), rng.uniform(-20, 120), r, r, vary((35, 85, 45), rng, 14))


@drawing(RANDOM_TILES, "industrial buildings")
def _industry(pen: Pen, rng: Rng) -> None:
    _buildings(pen, rng, 34, (195, 200, 205))


@drawing(RANDOM_TILES, "residential buildings")
def _homes(pen: Pen, rng: Rng) -> None:
    _buildings(pen, rng, 17, (170, 95, 75))


def _buildings(pen: Pen, rng: Rng, step: int, roof: Color) -> None:
    for x in range(-30, 130, step):
        for y in range(-30, 130, step):
            width = step * rng.uniform(0.4, 0.8)
            height = step * rng.uniform(0.4, 0.8)
            pen.rect(x, y, x + width, y + height, vary(roof, rng, 14))


@drawing(RANDOM_TILES, "pasture")
def _pasture(pen: Pen, rng: Rng) -> None:
    left = (-40, rng.uniform(20, 80))
    right = (140, rng.uniform(20, 80))
    pen.line([left, right], (90, 130, 65), 2)


@drawing(RANDOM_TILES, "orchard")
def _orchard(pen: Pen, rng: Rng) -> None:
    for i in range(-1, 9):
        for j in range(-1, 9):
            pen.oval(-10 + 15 * i, -10 + 15 * j, 5, 5, vary((45, 95, 45), rng, 8))


@drawing(RANDOM_TILES, "river")
def _river(pen: Pen, rng: Rng) -> None:
    points = [(x, 50 + 16 * math.sin(x / 24 + rng.uniform(0, 1))) for x in range(-40, 141, 12)]
    pen.line(points, (50, 85, 125), 22)


@drawing(RANDOM_TILES, "harbor")
def _piers(pen: Pen, rng: Rng) -> None:
    for k in range(7):
        x = 4 + 14 * k
        pen.rect(x, 28, x + 3, 66, (160, 150, 130))
        pen.oval(x + 7, 50, 3, 8, LIGHT)


@drawing(RANDOM_TILES, "parking lot")
def _parked_cars(pen: Pen, rng: Rng) -> None:
    colors = list(COLORS.values())
    for row in range(5):
        for k in range(9):
            if rng.random() < 0.75:
                x, y = -4 + 12 * k, 2 + 22 * row
                pen.rect(x, y, x + 7, y + 13, vary(colors[rng.integers(0, 11)], rng))


@drawing(RANDOM_TILES, "desert")
def _ripples(pen: Pen, rng: Rng) -> None:
    for k in range(6):
        points = [(x, 20 * k - 10 + 5 * math.sin(x / 15 + k)) for x in range(-30, 131, 10)]
        pen.line(points, (190, 160, 105), 2.5)


def place(name: str, rng: Rng, mode: str) -> Rendered:
    """Return a place seen from the ground and its facts."""
    pen = Pen(vary(PLACES[name]["sky"], rng, 10))
    horizon = rng.uniform(48, 64)
    pen.rect(0, horizon, 100, 100, vary(PLACES[name]["ground"], rng, 10))
    VIEWS[name](pen, rng, horizon)
    return pen.image, {f"place:{name}"}


@drawing(VIEWS, "beach")
def _beach(pen: Pen, rng: Rng, horizon: float) -> None:
    pen.rect(0, horizon - 8, 100, horizon + 10, (50, 120, 180))
    pen.oval(rng.uniform(15, 85), 16, 8, 8, COLORS["yellow"])


@drawing(VIEWS, "mountain")
def _mountains(pen: Pen, rng: Rng, horizon: float) -> None:
    for _ in range(3):
        x = rng.uniform(10, 90)
        h = rng.uniform(28, 46)
        snow = horizon - h * 0.75
        pen.poly([(x - h, horizon), (x, horizon - h), (x + h, horizon)], (115, 110, 120))
        pen.poly([(x - h / 4, snow), (x, horizon - h), (x + h / 4, snow)], LIGHT)


@drawing(VIEWS, "street")
def _street(pen: Pen, rng: Rng, horizon: float) -> None:
    for lefts in ((0, 14, 28), (86, 72, 58)):
        for left, height in zip(lefts, (44, 32, 20), strict=True):
            pen.rect(left, horizon - height, left + 14, horizon + 6, vary((150, 110, 90), rng))
    pen.poly([(20, 100), (46, horizon), (54, horizon), (80, 100)], (70, 70, 75))
    pen.line([(50, 100), (50, horizon)], LIGHT, 2)


@drawing(VIEWS, "desert dunes")
def _dunes(pen: Pen, rng: Rng, horizon: float) -> None:
    ground = PLACES["desert dunes"]["ground"]
    for k in range(3):
        pen.oval(rng.uniform(0, 100), horizon + 6 + 14 * k, 44, 14, shade(ground, 0.85 + 0.07 * k))


@drawing(VIEWS, "night sky")
def _stars(pen: Pen, rng: Rng, horizon: float) -> None:
    for _ in range(34):
        pen.oval(rng.uniform(0, 100), rng.uniform(0, horizon), 0.9, 0.9, LIGHT)
    pen.oval(rng.uniform(20, 80), 18, 8, 8, (240, 235, 200))


@drawing(VIEWS, "field")
def _furrows(pen: Pen, rng: Rng, horizon: float) -> None:
    for k in range(12):
        pen.line([(k * 9, 100), (35 + k * 2.6, horizon)], (90, 140, 50), 2)


@drawing(VIEWS, "city skyline")
def _skyline(pen: Pen, rng: Rng, horizon: float) -> None:
    for k in range(9):
        left = k * 11.5
        height = rng.uniform(14, 46)
        pen.rect(left, horizon - height, left + 10, horizon, vary((80, 85, 105), rng, 10))


@drawing(VIEWS, "snowfield")
def _snow(pen: Pen, rng: Rng, horizon: float) -> None:
    for _ in range(4):
        x = rng.uniform(5, 95)
        pen.poly([(x - 7, horizon + 6), (x, horizon - 20), (x + 7, horizon + 6)], (60, 95, 80))
    for _ in range(24):
        pen.oval(rng.uniform(0, 100), rng.uniform(0, 100), 1.2, 1.2, LIGHT)


@drawing(VIEWS, "bedroom")
def _bedroom(pen: Pen, rng: Rng, horizon: float) -> None:
    pen.rect(rng.uniform(10, 20), 58, 86, 84, vary((90, 120, 190), rng))
    pen.rect(14, 50, 34, 64, LIGHT)
    pen.rect(58, 10, 84, 36, (160, 205, 240))


@drawing(VIEWS, "forest path")
def _path(pen: Pen, rng: Rng, horizon: float) -> None:
    pen.poly([(34, 100), (48, horizon), (52, horizon), (66, 100)], (150, 120, 85))
    for x in (6, 22, 78, 94):
        pen.rect(x - 3, 10, x + 3, 84, COLORS["brown"])
        pen.oval(x, 16, 15, 18, (40, 95, 45))


def road(name: str, rng: Rng, mode: str) -> Rendered:
    """Return a road ahead with a car near, at a middle distance, far away, or none, and its facts."""
    color = pick(rng, ("red", "blue", "white", "black", "yellow", "gray"))
    pen = Pen(vary((150, 195, 235), rng, 15))
    paint = vary(COLORS[color], rng)
    pen.rect(0, 50, 100, 100, vary((95, 140, 80), rng, 10))
    pen.poly(pairs((8, 100, 46, 50, 54, 50, 92, 100)), (95, 95, 100))
    for k in range(4):
        pen.line([(50, 56 + 11 * k), (50, 60 + 12 * k)], LIGHT, 1 + 0.7 * k)
    for _ in range(3):
        x = rng.choice([rng.uniform(0, 26), rng.uniform(74, 100)])
        pen.oval(x, 46, 7, 9, (45, 95, 50))
    if name != "none":
        scales = {"near": rng.uniform(0.62, 0.85), "middle": rng.uniform(0.3, 0.42), "far": rng.uniform(0.12, 0.19)}
        scale = scales[name]
        pen.place(50 + rng.normal(0, 30) * scale, CAR_HEIGHTS[name], scale)
        pen.strokes(CAR_AHEAD, paint)
    return pen.image, {f"road:{name}"}


def tissue(name: str, rng: Rng, mode: str) -> Rendered:
    """Return a stained slice of lymph node and its facts; tumour cells are large, dark and crowded in the middle."""
    pen = _on_ground(rng, (232, 190, 212), 12)
    for _ in range(int(rng.integers(34, 60))):
        r = rng.uniform(2.2, 3.6)
        pen.oval(rng.uniform(0, 100), rng.uniform(0, 100), r, r, vary((125, 85, 165), rng, 12))
    if name == "tumor":
        cx, cy = rng.uniform(35, 65, 2)
        for _ in range(int(rng.integers(7, 13))):
            r = rng.uniform(5, 8)
            x = cx + rng.normal(0, 11)
            y = cy + rng.normal(0, 11)
            flat = r * rng.uniform(0.7, 1)
            pen.oval(x, y, r, flat, vary((85, 40, 125), rng, 12), rng.uniform(0, 180))
    return pen.image, {f"tissue:{name}"}
