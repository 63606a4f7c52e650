"""Drawings of aeroplanes and cars whose kinds differ in details."""

from __future__ import annotations

from .pen import COLORS, Color, Pen, shade

DARK = COLORS["black"]


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
