"""Scenery that fills the image: tiles seen from above, places, roads, tissue."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from .colors import CONCEPTS, DRAWINGS, Paint, Rng, pick, rgb, shade, vary
from .pen import CANVAS, Pen, read_drawing, read_drawings
from .styles import from_array
from .textures import smooth_field

TILES = read_drawings("tiles")
TILE_GROUNDS = CONCEPTS["tile grounds"]
PLACES = CONCEPTS["places"]
CAR_AHEAD = read_drawing(DRAWINGS["car ahead"])
CAR_HEIGHTS = {"near": 70, "middle": 62, "far": 53}
CAR_SCALES = ((0.62, 0.85), (0.3, 0.42), (0.12, 0.19))  # near, middle, far
DISTANCES = (*CAR_HEIGHTS, "none")


def tile(name: str, rng: Rng, mode: str):
    """Return a square of the earth seen from above and its attributes."""
    rough = 22 if name in ("forest", "shrubland") else 11
    pen = _on_ground(rng, TILE_GROUNDS[name], rough)
    x, y = rng.normal(50, 4, 2)
    scale = rng.uniform(0.9, 1.2)
    pen.place(x, y, scale, rng.uniform(0, 360))
    pen.strokes(TILES[name])
    if name in RANDOM_TILES:
        RANDOM_TILES[name](pen, rng)
    return pen.image, {f"tile:{name}"}


def _on_ground(rng: Rng, paint: Paint, rough: float):
    """Return a pen on uneven ground of about one colour."""
    base = np.array(rgb(paint), dtype=np.float32) + rng.normal(0, 6, 3)
    field = smooth_field(rng, 6)[..., None] * rough
    grain = rng.normal(0, rough * 0.4, (CANVAS, CANVAS, 3))
    pen = Pen((0, 0, 0))
    pen.image.paste(from_array(base + field + grain))
    return pen


def _crop(pen: Pen, rng: Rng) -> None:
    for k in range(-2, 8):
        top = -20 + 16 * k
        crops = vary("crops", rng, 28)
        pen.rect(-40, top, 140, top + 13, crops)


def _trees(pen: Pen, rng: Rng, count: int):
    for _ in range(count):
        r = rng.uniform(3, 6)
        x, y = rng.uniform(-20, 120, 2)
        treetop = vary("treetop", rng, 14)
        pen.oval(x, y, r, r, treetop)


def _buildings(pen: Pen, rng: Rng, step: int, roof: Paint):
    for x in range(-30, 130, step):
        for y in range(-30, 130, step):
            width = step * rng.uniform(0.4, 0.8)
            height = step * rng.uniform(0.4, 0.8)
            varied = vary(roof, rng, 14)
            pen.rect(x, y, x + width, y + height, varied)


def _pasture(pen: Pen, rng: Rng) -> None:
    left = (-40, rng.uniform(20, 80))
    right = (140, rng.uniform(20, 80))
    pen.line([left, right], "hedge", 2)


def _orchard(pen: Pen, rng: Rng) -> None:
    for i in range(-1, 9):
        for j in range(-1, 9):
            pen.oval(-10 + 15 * i, -10 + 15 * j, 5, 5, vary("orchard-tree", rng, 8))


def _river(pen: Pen, rng: Rng) -> None:
    points = []
    for x in range(-40, 141, 12):
        points.append((x, 50 + 16 * math.sin(x / 24 + rng.uniform(0, 1))))
    pen.line(points, "river-water", 22)


def _piers(pen: Pen, rng: Rng) -> None:
    for k in range(7):
        x = 4 + 14 * k
        pen.rect(x, 28, x + 3, 66, "pier")
        pen.oval(x + 7, 50, 3, 8, "white")


def _parked_cars(pen: Pen, rng: Rng) -> None:
    for y in range(2, 112, 22):
        for x in range(-4, 104, 12):
            if rng.random() < 0.75:
                color = vary(pick(rng), rng)
                pen.rect(x, y, x + 7, y + 13, color)


def _ripples(pen: Pen, rng: Rng) -> None:
    for k in range(6):
        y = 20 * k - 10
        points = [(x, y + 5 * math.sin(x / 15 + k)) for x in range(-30, 131, 10)]
        pen.line(points, "ripple", 2.5)


# parts of a tile beside its drawing
RANDOM_TILES: dict[str, Callable[[Pen, Rng], None]] = {
    "annual crop": _crop,
    "forest": partial(_trees, count=70),
    "shrubland": partial(_trees, count=26),
    "industrial buildings": partial(_buildings, step=34, roof="metal-roof"),
    "residential buildings": partial(_buildings, step=17, roof="tiled-roof"),
    "pasture": _pasture,
    "orchard": _orchard,
    "river": _river,
    "harbor": _piers,
    "parking lot": _parked_cars,
    "desert": _ripples,
}


def place(name: str, rng: Rng, mode: str):
    """Return a place seen from the ground and its attributes."""
    sky = PLACES[name]["sky"]
    pen = Pen(vary(sky, rng, 10))
    horizon = rng.uniform(48, 64)
    ground = vary(PLACES[name]["ground"], rng, 10)
    pen.rect(0, horizon, 100, 100, ground)
    VIEWS[name](pen, rng, horizon)
    return pen.image, {f"place:{name}"}


def _beach(pen: Pen, rng: Rng, horizon: float):
    pen.rect(0, horizon - 8, 100, horizon + 10, "surf")
    sun = rng.uniform(15, 85)
    pen.oval(sun, 16, 8, 8, "yellow")


def _mountains(pen: Pen, rng: Rng, horizon: float):
    for _ in range(3):
        x = rng.uniform(10, 90)
        h = rng.uniform(28, 46)
        snow = horizon - h * 0.75
        pen.poly([(x - h, horizon), (x, horizon - h), (x + h, horizon)], "rock")
        pen.poly([(x - h / 4, snow), (x, horizon - h), (x + h / 4, snow)], "white")


def _street(pen: Pen, rng: Rng, horizon: float):
    for lefts in ((0, 14, 28), (86, 72, 58)):
        for left, height in zip(lefts, (44, 32, 20), strict=True):
            facade = vary("facade", rng)
            pen.rect(left, horizon - height, left + 14, horizon + 6, facade)
    pen.poly([(20, 100), (46, horizon), (54, horizon), (80, 100)], "asphalt")
    pen.line([(50, 100), (50, horizon)], "white", 2)


def _dunes(pen: Pen, rng: Rng, horizon: float):
    for k in range(3):
        ground = PLACES["desert dunes"]["ground"]
        sand = shade(ground, 0.85 + 0.07 * k)
        pen.oval(rng.uniform(0, 100), horizon + 6 + 14 * k, 44, 14, sand)


def _stars(pen: Pen, rng: Rng, horizon: float):
    for _ in range(34):
        x, y = rng.uniform(0, (100, horizon))
        pen.oval(x, y, 0.9, 0.9, "white")
    moon = rng.uniform(20, 80)
    pen.oval(moon, 18, 8, 8, "moon")


def _furrows(pen: Pen, rng: Rng, horizon: float):
    for k in range(12):
        pen.line([(k * 9, 100), (35 + k * 2.6, horizon)], "furrow", 2)


def _skyline(pen: Pen, rng: Rng, horizon: float):
    for k in range(9):
        left = k * 11.5
        height = rng.uniform(14, 46)
        tower = vary("tower", rng, 10)
        pen.rect(left, horizon - height, left + 10, horizon, tower)


def _snow(pen: Pen, rng: Rng, horizon: float):
    for _ in range(4):
        x = rng.uniform(5, 95)
        pen.poly([(x - 7, horizon + 6), (x, horizon - 20), (x + 7, horizon + 6)], "fir")
    for _ in range(24):
        x, y = rng.uniform(0, 100, 2)
        pen.oval(x, y, 1.2, 1.2, "white")


def _bedroom(pen: Pen, rng: Rng, horizon: float):
    pen.rect(rng.uniform(10, 20), 58, 86, 84, vary("blanket", rng))
    pen.rect(14, 50, 34, 64, "white")
    pen.rect(58, 10, 84, 36, "window-pane")


def _path(pen: Pen, rng: Rng, horizon: float):
    pen.poly([(34, 100), (48, horizon), (52, horizon), (66, 100)], "path")
    for x in (6, 22, 78, 94):
        pen.rect(x - 3, 10, x + 3, 84, "brown")
        pen.oval(x, 16, 15, 18, "crown")


# parts of a place before and above its horizon
VIEWS: dict[str, Callable[[Pen, Rng, float], None]] = {
    "beach": _beach,
    "mountain": _mountains,
    "street": _street,
    "desert dunes": _dunes,
    "night sky": _stars,
    "field": _furrows,
    "city skyline": _skyline,
    "snowfield": _snow,
    "bedroom": _bedroom,
    "forest path": _path,
}


def road(name: str, rng: Rng, mode: str):
    """Return a road ahead with a car at some distance, or none, and its attributes."""
    color = pick(rng, ("red", "blue", "white", "black", "yellow", "gray"))
    pen = Pen(vary("day-sky", rng, 15))
    paint = vary(color, rng)
    verge = vary("verge", rng, 10)
    pen.rect(0, 50, 100, 100, verge)
    pen.poly([(8, 100), (46, 50), (54, 50), (92, 100)], "road-ahead")
    for k in range(4):
        pen.line([(50, 56 + 11 * k), (50, 60 + 12 * k)], "white", 1 + 0.7 * k)
    for _ in range(3):
        x = rng.choice([rng.uniform(0, 26), rng.uniform(74, 100)])
        pen.oval(x, 46, 7, 9, "bush")
    if name != "none":
        scales = [rng.uniform(*bounds) for bounds in CAR_SCALES]
        scale = scales[DISTANCES.index(name)]
        x = 50 + rng.normal(0, 30) * scale
        pen.place(x, CAR_HEIGHTS[name], scale)
        pen.strokes(CAR_AHEAD, paint)
    return pen.image, {f"road:{name}"}


def tissue(name: str, rng: Rng, mode: str):
    """Return a stained slice of lymph node; tumour cells are large, dark, crowded."""
    pen = _on_ground(rng, "tissue", 12)
    for _ in range(rng.integers(34, 60)):
        r = rng.uniform(2.2, 3.6)
        x, y = rng.uniform(0, 100, 2)
        cell = vary("cell", rng, 12)
        pen.oval(x, y, r, r, cell)
    if name == "tumor":
        cx, cy = rng.uniform(35, 65, 2)
        for _ in range(rng.integers(7, 13)):
            r = rng.uniform(5, 8)
            x = cx + rng.normal(0, 11)
            y = cy + rng.normal(0, 11)
            flat = r * rng.uniform(0.7, 1)
            pen.oval(x, y, r, flat, vary("tumor-cell", rng, 12), rng.uniform(0, 180))
    return pen.image, {f"tissue:{name}"}
