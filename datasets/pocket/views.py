"""Drawings that fill the picture: textures, tiles from above, places, roads, tissue."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from .pen import CANVAS, COLORS, Color, Pen, shade, vary

DARK, LIGHT = COLORS["black"], COLORS["white"]

TEXTURES = (
    "striped",
    "dotted",
    "checkered",
    "zigzagged",
    "wavy",
    "grid",
    "cracked",
    "marbled",
    "bubbly",
    "woven",
    "spiralled",
    "smeared",
    "sprinkled",
    "scaly",
)


def texture(name: str, rng: np.random.Generator, one: Color, two: Color) -> Image.Image:
    """A texture of two colours over the whole canvas."""
    angle, period = rng.uniform(0, math.pi), rng.uniform(12, 22)
    yy, xx = np.mgrid[0:CANVAS, 0:CANVAS].astype(np.float32)
    u = xx * math.cos(angle) + yy * math.sin(angle)
    v = -xx * math.sin(angle) + yy * math.cos(angle)
    wave = 2 * math.pi / period
    if name == "striped":
        mask = np.sin(u * wave)
    elif name == "dotted":
        mask = np.hypot((u % period) - period / 2, (v % period) - period / 2) - period * 0.28
        mask = -mask
    elif name == "checkered":
        mask = np.sin(u * wave) * np.sin(v * wave)
    elif name == "zigzagged":
        mask = np.sin((u + period * np.abs((v / period) % 2 - 1)) * wave)
    elif name == "wavy":
        mask = np.sin((u + 0.35 * period * np.sin(v * wave * 0.6)) * wave)
    elif name == "grid":
        mask = np.maximum(np.cos(u * wave), np.cos(v * wave)) - 0.85
    elif name == "woven":
        row = np.floor(u / period * 2) + np.floor(v / period * 2)
        mask = np.where(row % 2 == 0, np.sin(u * wave * 3), np.sin(v * wave * 3))
    elif name == "spiralled":
        r = np.hypot(xx - 48, yy - 48)
        mask = np.sin(r * wave * 0.8 + np.arctan2(yy - 48, xx - 48) * 2 + angle)
    elif name == "scaly":
        shifted = u + period / 2 * (np.floor(v / period * 2) % 2)
        mask = np.hypot((shifted % period) - period / 2, (v % (period / 2))) - period * 0.42
    elif name in ("marbled", "smeared"):
        field = _smooth(rng, 5) * 9 + (u * wave * 0.35 if name == "marbled" else 0)
        mask = np.sin(field) - 0.5 if name == "marbled" else _smooth(rng, 4)
    else:  # cracked, bubbly, sprinkled: cells and spots around random points
        count = {"cracked": 12, "bubbly": 16, "sprinkled": 60}[name]
        points = rng.uniform(-5, CANVAS + 5, (count, 2))
        distance = np.hypot(xx[..., None] - points[:, 0], yy[..., None] - points[:, 1])
        distance.partition(1, axis=-1)
        if name == "cracked":
            mask = 2.0 - (distance[..., 1] - distance[..., 0])
        else:
            radius = 9 if name == "bubbly" else 2.4
            mask = radius - distance[..., 0]
            if name == "bubbly":
                mask = 3 - np.abs(mask)
    weight = np.clip(mask * (1.2 if name not in ("smeared",) else 2) + 0.5, 0, 1)[..., None]
    array = np.array(one) * weight + np.array(two) * (1 - weight)
    return Image.fromarray(np.clip(array + rng.normal(0, 5, array.shape), 0, 255).astype(np.uint8))


def _smooth(rng: np.random.Generator, cells: int) -> np.ndarray:
    """A smooth random field (CANVAS, CANVAS) in about [-1, 1]."""
    small = Image.fromarray(rng.uniform(-1, 1, (cells, cells)).astype(np.float32))
    return np.asarray(small.resize((CANVAS, CANVAS), Image.Resampling.BICUBIC))


def _ground(rng: np.random.Generator, color: Color, rough: float = 14) -> np.ndarray:
    """Uneven ground of about one colour, (CANVAS, CANVAS, 3) float32."""
    base = np.array(color, dtype=np.float32) + rng.normal(0, 6, 3)
    field = _smooth(rng, 6)[..., None] * rough
    return base + field + rng.normal(0, rough * 0.4, (CANVAS, CANVAS, 3))


def _paste(pen: Pen, array: np.ndarray) -> None:
    pen.image.paste(Image.fromarray(np.clip(array, 0, 255).astype(np.uint8)))


TILES = (
    "annual crop",
    "forest",
    "shrubland",
    "highway",
    "industrial buildings",
    "pasture",
    "orchard",
    "residential buildings",
    "river",
    "sea",
    "airport",
    "bridge",
    "harbor",
    "roundabout",
    "stadium",
    "parking lot",
    "desert",
    "island",
)

_TILE_GROUND: dict[str, Color] = {
    "annual crop": (160, 140, 90),
    "forest": (30, 75, 40),
    "shrubland": (110, 120, 70),
    "highway": (120, 125, 95),
    "industrial buildings": (150, 145, 140),
    "pasture": (110, 160, 80),
    "orchard": (150, 130, 90),
    "residential buildings": (125, 135, 105),
    "river": (95, 125, 80),
    "sea": (25, 60, 110),
    "airport": (130, 140, 110),
    "bridge": (40, 80, 120),
    "harbor": (40, 85, 120),
    "roundabout": (115, 135, 95),
    "stadium": (140, 140, 135),
    "parking lot": (110, 110, 115),
    "desert": (215, 185, 130),
    "island": (30, 80, 135),
}


def tile(name: str, rng: np.random.Generator) -> Image.Image:
    """A square of the earth seen from above."""
    pen = Pen((0, 0, 0))
    _paste(pen, _ground(rng, _TILE_GROUND[name], 22 if name in ("forest", "shrubland") else 11))
    pen.place(50 + rng.normal(0, 4), 50 + rng.normal(0, 4), rng.uniform(0.9, 1.2), rng.uniform(0, 360))
    road = (90, 90, 95)
    if name == "annual crop":
        for k in range(-2, 8):
            pen.rect(-40, -20 + 16 * k, 140, -20 + 16 * k + 13, vary((170, 150, 80), rng, 28))
    elif name in ("forest", "shrubland", "orchard"):
        if name == "orchard":
            for i in range(-1, 9):
                for j in range(-1, 9):
                    pen.oval(-10 + 15 * i, -10 + 15 * j, 5, 5, vary((45, 95, 45), rng, 8))
        else:
            for _ in range(70 if name == "forest" else 26):
                r = rng.uniform(3, 6)
                pen.oval(rng.uniform(-20, 120), rng.uniform(-20, 120), r, r, vary((35, 85, 45), rng, 14))
    elif name == "highway":
        for shift in (-9, 9):
            pen.line([(-40, 50 + shift), (140, 50 + shift)], road, 11)
        pen.line([(-40, 50), (140, 50)], (200, 200, 190), 2)
    elif name in ("industrial buildings", "residential buildings"):
        big = name.startswith("industrial")
        step = 34 if big else 17
        for x in range(-30, 130, step):
            for y in range(-30, 130, step):
                w, h = step * rng.uniform(0.4, 0.8), step * rng.uniform(0.4, 0.8)
                color = vary((195, 200, 205) if big else (170, 95, 75), rng, 14)
                pen.rect(x, y, x + w, y + h, color)
    elif name == "pasture":
        pen.line([(-40, rng.uniform(20, 80)), (140, rng.uniform(20, 80))], (90, 130, 65), 2)
    elif name == "river":
        points = [(x, 50 + 16 * math.sin(x / 24 + rng.uniform(0, 1))) for x in range(-40, 141, 12)]
        pen.line(points, (50, 85, 125), 22)
    elif name == "airport":
        pen.line([(-40, 40), (140, 60)], (75, 75, 80), 13)
        pen.line([(20, -40), (45, 140)], (75, 75, 80), 13)
        pen.line([(-40, 40), (140, 60)], (220, 220, 220), 1.5)
    elif name == "bridge":
        pen.line([(-40, 50), (140, 50)], (150, 150, 150), 14)
        pen.line([(-40, 50), (140, 50)], (210, 210, 200), 2)
    elif name == "harbor":
        pen.rect(-40, -40, 140, 28, (150, 150, 145))
        for k in range(7):
            pen.rect(4 + 14 * k, 28, 7 + 14 * k, 66, (160, 150, 130))
            pen.oval(11 + 14 * k, 50, 3, 8, LIGHT)
    elif name == "roundabout":
        for a in (0, 90):
            r = math.radians(a)
            pen.line(
                [(50 - 90 * math.cos(r), 50 - 90 * math.sin(r)), (50 + 90 * math.cos(r), 50 + 90 * math.sin(r))],
                road,
                11,
            )
        pen.oval(50, 50, 27, 27, road)
        pen.oval(50, 50, 14, 14, (70, 130, 70))
    elif name == "stadium":
        pen.oval(50, 50, 46, 34, (190, 185, 180))
        pen.oval(50, 50, 34, 22, (170, 90, 70))
        pen.oval(50, 50, 28, 17, (70, 150, 70))
    elif name == "parking lot":
        for row in range(5):
            for k in range(9):
                if rng.random() < 0.75:
                    x, y = -4 + 12 * k, 2 + 22 * row
                    pen.rect(x, y, x + 7, y + 13, vary(list(COLORS.values())[rng.integers(0, 11)], rng))
    elif name == "desert":
        for k in range(6):
            pen.line([(x, 20 * k - 10 + 5 * math.sin(x / 15 + k)) for x in range(-30, 131, 10)], (190, 160, 105), 2.5)
    elif name == "island":
        pen.oval(50, 50, 32, 24, (220, 200, 150))
        pen.oval(50, 50, 25, 18, (60, 120, 60))
    return pen.image


PLACES = (
    "beach",
    "mountain",
    "street",
    "desert dunes",
    "night sky",
    "field",
    "city skyline",
    "snowfield",
    "bedroom",
    "forest path",
)


def place(name: str, rng: np.random.Generator) -> Image.Image:
    """A place seen from the ground."""
    sky = {"night sky": (15, 15, 45), "bedroom": (220, 205, 180), "forest path": (120, 160, 110)}.get(
        name, (140, 190, 235)
    )
    ground = {
        "beach": (225, 205, 150),
        "mountain": (90, 130, 80),
        "street": (105, 105, 110),
        "desert dunes": (220, 175, 100),
        "night sky": (20, 25, 25),
        "field": (120, 170, 70),
        "city skyline": (90, 95, 100),
        "snowfield": (240, 243, 248),
        "bedroom": (150, 110, 75),
        "forest path": (60, 95, 50),
    }[name]
    pen = Pen(vary(sky, rng, 10))
    horizon = rng.uniform(48, 64)
    pen.rect(0, horizon, 100, 100, vary(ground, rng, 10))
    if name == "beach":
        pen.rect(0, horizon - 8, 100, horizon + 10, (50, 120, 180))
        pen.oval(rng.uniform(15, 85), 16, 8, 8, COLORS["yellow"])
    elif name == "mountain":
        for _ in range(3):
            x, h = rng.uniform(10, 90), rng.uniform(28, 46)
            pen.poly([(x - h, horizon), (x, horizon - h), (x + h, horizon)], (115, 110, 120))
            pen.poly([(x - h / 4, horizon - h * 0.75), (x, horizon - h), (x + h / 4, horizon - h * 0.75)], LIGHT)
    elif name == "street":
        for side in (0, 1):
            for k in range(3):
                x, h = (0 + 14 * k if side == 0 else 100 - 14 * k), 44 - 12 * k
                pen.rect(
                    min(x, x + 14 * (1 - 2 * side)),
                    horizon - h,
                    max(x, x + 14 * (1 - 2 * side)),
                    horizon + 6,
                    vary((150, 110, 90), rng),
                )
        pen.poly([(20, 100), (46, horizon), (54, horizon), (80, 100)], (70, 70, 75))
        pen.line([(50, 100), (50, horizon)], LIGHT, 2)
    elif name == "desert dunes":
        for k in range(3):
            pen.oval(rng.uniform(0, 100), horizon + 6 + 14 * k, 44, 14, shade(ground, 0.85 + 0.07 * k))
    elif name == "night sky":
        for _ in range(34):
            pen.oval(rng.uniform(0, 100), rng.uniform(0, horizon), 0.9, 0.9, LIGHT)
        pen.oval(rng.uniform(20, 80), 18, 8, 8, (240, 235, 200))
    elif name == "field":
        for k in range(12):
            pen.line([(k * 9, 100), (35 + k * 2.6, horizon)], (90, 140, 50), 2)
    elif name == "city skyline":
        for k in range(9):
            h = rng.uniform(14, 46)
            pen.rect(k * 11.5, horizon - h, k * 11.5 + 10, horizon, vary((80, 85, 105), rng, 10))
    elif name == "snowfield":
        for _ in range(4):
            x = rng.uniform(5, 95)
            pen.poly([(x - 7, horizon + 6), (x, horizon - 20), (x + 7, horizon + 6)], (60, 95, 80))
        for _ in range(24):
            pen.oval(rng.uniform(0, 100), rng.uniform(0, 100), 1.2, 1.2, LIGHT)
    elif name == "bedroom":
        pen.rect(rng.uniform(10, 20), 58, 86, 84, vary((90, 120, 190), rng))
        pen.rect(14, 50, 34, 64, LIGHT)
        pen.rect(58, 10, 84, 36, (160, 205, 240))
    else:
        pen.poly([(34, 100), (48, horizon), (52, horizon), (66, 100)], (150, 120, 85))
        for x in (6, 22, 78, 94):
            pen.rect(x - 3, 10, x + 3, 84, COLORS["brown"])
            pen.oval(x, 16, 15, 18, (40, 95, 45))
    return pen.image


DISTANCES = ("near", "middle", "far", "none")


def road(name: str, rng: np.random.Generator, sky: Color, paint: Color) -> Image.Image:
    """A road ahead with a car near, at a middle distance, far away, or none."""
    pen = Pen(sky)
    pen.rect(0, 50, 100, 100, vary((95, 140, 80), rng, 10))
    pen.poly([(8, 100), (46, 50), (54, 50), (92, 100)], (95, 95, 100))
    for k in range(4):
        pen.line([(50, 56 + 11 * k), (50, 60 + 12 * k)], LIGHT, 1 + 0.7 * k)
    for _ in range(3):
        x = rng.choice([rng.uniform(0, 26), rng.uniform(74, 100)])
        pen.oval(x, 46, 7, 9, (45, 95, 50))
    if name != "none":
        scale, y = {
            "near": (rng.uniform(0.62, 0.85), 70),
            "middle": (rng.uniform(0.3, 0.42), 62),
            "far": (rng.uniform(0.12, 0.19), 53),
        }[name]
        pen.place(50 + rng.normal(0, 30) * scale, y, scale)
        pen.rect(10, 42, 90, 82, paint)
        pen.poly([(22, 44), (30, 16), (70, 16), (78, 44)], shade(paint, 0.8))
        pen.rect(30, 22, 70, 40, (180, 215, 235))
        for x in (20, 80):
            pen.oval(x, 58, 7, 5, COLORS["yellow"])
            pen.rect(x - 9, 80, x + 9, 96, DARK)
    return pen.image


def tissue(tumor: bool, rng: np.random.Generator) -> Image.Image:
    """A stained slice of lymph node; tumour cells are large, dark and crowded in the middle."""
    pen = Pen((0, 0, 0))
    _paste(pen, _ground(rng, (232, 190, 212), 12))
    for _ in range(int(rng.integers(34, 60))):
        r = rng.uniform(2.2, 3.6)
        pen.oval(rng.uniform(0, 100), rng.uniform(0, 100), r, r, vary((125, 85, 165), rng, 12))
    if tumor:
        cx, cy = rng.uniform(35, 65, 2)
        for _ in range(int(rng.integers(7, 13))):
            r = rng.uniform(5, 8)
            x, y = cx + rng.normal(0, 11), cy + rng.normal(0, 11)
            pen.oval(x, y, r, r * rng.uniform(0.7, 1), vary((85, 40, 125), rng, 12), rng.uniform(0, 180))
    return pen.image
