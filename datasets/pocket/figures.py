"""Drawings with a meaning of their own: faces, signs, people, and words."""

from __future__ import annotations

import math

import numpy as np

from .pen import COLORS, Color, Pen, shade, vary

DARK, LIGHT = COLORS["black"], COLORS["white"]

EMOTIONS = ("angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised")


def face(pen: Pen, name: str, rng: np.random.Generator, skin: Color) -> None:
    """A face with an emotion."""
    pen.oval(50, 50, 36, 42, skin)
    if rng.random() < 0.6:
        pen.poly([(16, 40), (26, 10), (50, 4), (74, 10), (84, 40), (50, 22)], vary((60, 45, 35), rng, 25))
    tilt = {"angry": 8, "sad": -7, "fearful": -8, "disgusted": 5}.get(name, 0)
    raise_ = {"surprised": -7, "fearful": -5, "angry": 3}.get(name, 0)
    wide = {"surprised": 6.5, "fearful": 6, "angry": 3, "disgusted": 2.6, "happy": 3.4}.get(name, 4)
    for side in (-1, 1):
        x = 50 + 15 * side
        pen.line([(x - 8 * side, 32 + tilt + raise_), (x + 8 * side, 32 - tilt + raise_)], DARK, 3.5)
        pen.oval(x, 43, 5, wide, LIGHT)
        pen.oval(x, 43, 2.4, min(wide, 3), DARK)
    pen.line([(50, 46), (47, 58), (52, 58)], shade(skin, 0.7), 2)
    bend = {"happy": 10, "sad": -8, "angry": -4, "fearful": -3}.get(name, 0)
    if name == "surprised":
        pen.oval(50, 73, 7, 10, (120, 30, 30))
    elif name == "disgusted":
        pen.line([(34, 74), (44, 68), (54, 76), (66, 68)], (120, 30, 30), 4)
    elif name == "fearful":
        pen.rect(36, 68, 64, 76, LIGHT)
        pen.line([(36 + 7 * k, 68 + 8 * (k % 2)) for k in range(5)], (120, 30, 30), 3)
    else:
        pen.line([(32 + 6 * k, 72 + bend * math.sin(k / 6 * math.pi) - bend / 2) for k in range(7)], (120, 30, 30), 4)


SIGNS = (
    "stop",
    "yield",
    "no entry",
    "speed limit 30",
    "speed limit 50",
    "speed limit 80",
    "turn left",
    "turn right",
    "go straight",
    "pedestrian crossing",
    "road works",
    "priority road",
    "no overtaking",
    "slippery road",
)


def sign(pen: Pen, name: str) -> None:
    """A road sign."""
    red, blue = COLORS["red"], COLORS["blue"]
    if name == "stop":
        pen.poly(
            [(50 + 42 * math.cos(a), 50 + 42 * math.sin(a)) for a in np.arange(8) * math.pi / 4 + math.pi / 8], red
        )
        pen.text("STOP", LIGHT, 28)
    elif name == "yield":
        pen.poly([(8, 16), (92, 16), (50, 90)], red)
        pen.poly([(24, 26), (76, 26), (50, 72)], LIGHT)
    elif name == "no entry":
        pen.oval(50, 50, 42, 42, red)
        pen.rect(20, 42, 80, 58, LIGHT)
    elif name.startswith("speed limit"):
        pen.oval(50, 50, 42, 42, red)
        pen.oval(50, 50, 32, 32, LIGHT)
        pen.text(name.rsplit(" ", 1)[1], DARK, 40)
    elif name in ("turn left", "turn right", "go straight"):
        pen.oval(50, 50, 42, 42, blue)
        if name == "go straight":
            pen.poly([(44, 80), (44, 44), (30, 44), (50, 18), (70, 44), (56, 44), (56, 80)], LIGHT)
        else:
            s = -1 if name == "turn left" else 1
            pen.poly(
                [
                    (50 - 26 * s, 56),
                    (50 + 6 * s, 56),
                    (50 + 6 * s, 70),
                    (50 + 30 * s, 50),
                    (50 + 6 * s, 30),
                    (50 + 6 * s, 44),
                    (50 - 26 * s, 44),
                ],
                LIGHT,
            )
    elif name == "priority road":
        pen.poly([(50, 6), (94, 50), (50, 94), (6, 50)], LIGHT)
        pen.poly([(50, 18), (82, 50), (50, 82), (18, 50)], COLORS["yellow"])
    elif name == "no overtaking":
        pen.oval(50, 50, 42, 42, red)
        pen.oval(50, 50, 32, 32, LIGHT)
        pen.rect(24, 44, 46, 58, red)
        pen.rect(54, 44, 76, 58, DARK)
    elif name == "pedestrian crossing":
        pen.rect(10, 10, 90, 90, blue)
        pen.poly([(50, 18), (86, 82), (14, 82)], LIGHT)
        pen.oval(50, 38, 5, 5, DARK)
        pen.line([(50, 42), (50, 60), (42, 76)], DARK, 4)
        pen.line([(50, 60), (58, 76)], DARK, 4)
    else:
        pen.poly([(50, 8), (94, 86), (6, 86)], red)
        pen.poly([(50, 26), (78, 77), (22, 77)], LIGHT)
        if name == "road works":
            pen.poly([(54, 74), (62, 60), (72, 74)], DARK)
            pen.line([(36, 74), (46, 52), (56, 66)], DARK, 4)
            pen.oval(46, 46, 4, 4, DARK)
        else:
            pen.rect(42, 46, 58, 58, DARK)
            pen.line([(42, 62), (48, 68), (42, 74)], DARK, 3)
            pen.line([(54, 62), (60, 68), (54, 74)], DARK, 3)


ACTIONS: dict[str, tuple[tuple[float, float], ...]] = {
    # degrees from straight down, positive to the right: left arm (upper, lower), right arm, left leg, right leg, trunk
    "standing": ((-12, -8), (12, 8), (-7, -5), (7, 5), (0, 0)),
    "running": ((-70, -10), (60, 120), (-60, -100), (50, 0), (12, 0)),
    "jumping": ((-140, -160), (140, 160), (-40, 20), (40, -20), (0, -12)),
    "sitting": ((30, 60), (35, 65), (85, 5), (80, 0), (-6, 16)),
    "waving": ((-14, -8), (130, 175), (-7, -5), (7, 5), (0, 0)),
    "kicking": ((-60, -90), (50, 80), (-8, -6), (80, 75), (-14, 0)),
    "lifting weights": ((-150, 170), (150, -170), (-20, -4), (20, 4), (0, 0)),
    "bowing": ((80, 60), (75, 55), (-5, -4), (5, 4), (70, 6)),
    "dancing": ((-110, -40), (100, 150), (-30, -60), (35, -10), (-10, 0)),
    "cheering": ((-150, -170), (150, 170), (-10, -6), (10, 6), (0, 0)),
}


def person(pen: Pen, name: str, rng: np.random.Generator, shirt: Color) -> None:
    """A person who does something, as a stick figure with a body."""
    arm_l, arm_r, leg_l, leg_r, (lean, drop) = ACTIONS[name]
    wobble = lambda a: math.radians(a + rng.normal(0, 6))  # noqa: E731
    hip = (50.0, 58.0 + drop)
    t = math.radians(lean)
    neck = (hip[0] + 28 * math.sin(t), hip[1] - 28 * math.cos(t))

    def limb(start, angles, length, color, width):
        points = [start]
        for a in angles:
            r = wobble(a)
            points.append((points[-1][0] + length * math.sin(r), points[-1][1] + length * math.cos(r)))
        pen.line(points, color, width)
        return points[-1]

    limb(hip, leg_l, 17, (50, 60, 110), 7)
    limb(hip, leg_r, 17, (50, 60, 110), 7)
    pen.line([hip, neck], shirt, 13)
    left = limb(neck, arm_l, 13, shade(shirt, 0.75), 5)
    right = limb(neck, arm_r, 13, shade(shirt, 0.75), 5)
    pen.oval(neck[0] + 10 * math.sin(t), neck[1] - 10 * math.cos(t), 8, 9, (225, 175, 140))
    if name == "lifting weights":
        y = (left[1] + right[1]) / 2
        pen.line([(10, y), (90, y)], DARK, 4)
        for x in (12, 88):
            pen.oval(x, y, 5, 10, DARK)


KIND_WORDS = ("good", "great", "love", "best", "nice", "fine", "super", "wow")
RUDE_WORDS = ("bad", "awful", "hate", "worst", "poor", "ugly", "boo", "yuck")
