"""People and their writing: faces, actions, signs, words, digits, memes."""

import math

from PIL import Image

from .colors import CONCEPTS, Color, Rng, pick, shade, vary
from .pen import Pen, Point, canvas, read_drawings

EMOTIONS = CONCEPTS["emotions"]
MOUTHS = read_drawings("mouths")
ACTIONS = CONCEPTS["actions"]
SIGNS = read_drawings("signs")
WORDS = CONCEPTS["words"]
SKINS = ((240, 205, 170), (200, 150, 110), (140, 95, 65), (245, 215, 60))
HAIR = [(16, 40), (26, 10), (50, 4), (74, 10), (84, 40), (50, 22)]


def face(name: str, rng: Rng, mode: str):
    """Return a face with an emotion and its attributes."""
    pen = canvas(rng, mode)
    pen.settle(rng, 8, 0.8, 1.05)
    skin = SKINS[int(rng.integers(4))]
    draw_face(pen, name, rng, vary(skin, rng, 8))
    return pen.image, {f"face:{name}"}


def draw_face(pen: Pen, name: str, rng: Rng, skin: Color) -> None:
    """Draw a face with an emotion."""
    emotion = EMOTIONS[name]
    pen.oval(50, 50, 36, 42, skin)
    if rng.random() < 0.6:
        pen.poly(HAIR, vary("hair", rng, 25))
    brow = 32 + emotion["height"]
    for side in (-1, 1):
        x = 50 + 15 * side
        inner = (x - 8 * side, brow + emotion["slope"])
        outer = (x + 8 * side, brow - emotion["slope"])
        pen.line([inner, outer], "black", 3.5)
        opening = emotion["opening"]
        pen.oval(x, 43, 5, opening, "white")
        pupil = min(emotion["opening"], 3)
        pen.oval(x, 43, 2.4, pupil, "black")
    pen.line([(50, 46), (47, 58), (52, 58)], shade(skin, 0.7), 2)
    if name in MOUTHS:
        pen.strokes(MOUTHS[name])
    else:
        mouth = []
        for k in range(7):
            arc = math.sin(k / 6 * math.pi)
            height = emotion["bend"] * (arc - 0.5)
            mouth.append((32 + 6 * k, 72 + height))
        pen.line(mouth, "lips", 4)


def person(name: str, rng: Rng, mode: str):
    """Return a stick figure who does something, and its attributes."""
    pen = canvas(rng, mode)
    pen.settle(rng, 5, 0.85, 1.05, flip=True)
    shirt = vary(pick(rng), rng)
    action = ACTIONS[name]
    hip = (50.0, 58.0 + action["drop"])
    lean = math.radians(action["lean"])
    neck = (hip[0] + 28 * math.sin(lean), hip[1] - 28 * math.cos(lean))
    for angles in action["legs"]:
        leg = _limb(hip, angles, 17, rng)
        pen.line(leg, "jeans", 7)
    pen.line([hip, neck], shirt, 13)
    hands = []
    for angles in action["arms"]:
        arm = _limb(neck, angles, 13, rng)
        pen.line(arm, shade(shirt, 0.75), 5)
        hands.append(arm[-1])
    head = (neck[0] + 10 * math.sin(lean), neck[1] - 10 * math.cos(lean))
    pen.oval(*head, 8, 9, "skin")
    if name == "lifting weights":
        y = (hands[0][1] + hands[1][1]) / 2
        pen.line([(10, y), (90, y)], "black", 4)
        pen.oval(12, y, 5, 10, "black")
        pen.oval(88, y, 5, 10, "black")
    return pen.image, {f"action:{name}"}


def _limb(start: Point, angles: list[float], length: float, rng: Rng) -> list[Point]:
    points = [start]
    for angle in angles:
        x, y = points[-1]
        degrees = angle + rng.normal(0, 6)
        wobbly = math.radians(degrees)
        x += length * math.sin(wobbly)
        y += length * math.cos(wobbly)
        points.append((x, y))
    return points


def sign(name: str, rng: Rng, mode: str):
    """Return a road sign and its attributes."""
    ground = pick(rng, ("gray", "green", "blue", "brown"))
    pen = Pen(vary(ground, rng, 20))
    pen.settle(rng, 9, 0.7, 1.0)
    pen.strokes(SIGNS[name])
    return pen.image, {f"sign:{name}"}


def digit(name: str, rng: Rng, mode: str):
    """Return a printed digit, sheared, and its attributes."""
    dark = rng.random() < 0.5
    ground = "night" if dark else "chalk"
    pen = Pen(vary(ground, rng, 15))
    pen.place(*rng.normal(50, 5, 2))
    ink = "chalk"
    if not dark:
        ink = pick(rng, ("black", "blue", "red", "green"))
    varied = vary(ink, rng, 10)
    pen.text(name, varied, rng.uniform(66, 100))
    x, y = rng.normal(0, (0.18, 0.1))
    shear = (Image.Transform.AFFINE, (1, x, -48 * x, y, 1, -48 * y))
    corner = pen.image.getpixel((1, 1))
    size, smooth = pen.image.size, Image.Resampling.BILINEAR
    image = pen.image.transform(size, *shear, smooth, fillcolor=corner)
    return image, {f"digit:{name}"}


def word(name: str, rng: Rng, mode: str):
    """Return a written word; its attributes are the word and its mood."""
    mood = "positive" if name in WORDS["positive"] else "negative"
    paper = pick(rng, ("white", "yellow", "gray"))
    pen = Pen(vary(paper, rng, 8))
    pen.place(*rng.normal(50, (4, 14)))
    color = pick(rng, ("black", "blue", "red"))
    ink = vary(color, rng, 8)
    size = rng.uniform(25, 33)
    pen.text(name, ink, size)
    return pen.image, {f"word:{name}", f"mood:{mood}"}


def meme(name: str, rng: Rng, mode: str):
    """Return any face with a kind or rude word below, and its attributes."""
    ground = pick(rng, ("gray", "blue", "green", "pink"))
    pen = Pen(vary(ground, rng, 18))
    pen.place(50, 38, 0.66)
    draw_face(pen, pick(rng, list(EMOTIONS)), rng, vary(SKINS[0], rng, 10))
    pen.place()
    pen.rect(0, 72, 100, 100, "paper")
    words = WORDS["negative"] if name == "rude" else WORDS["positive"]
    shown = pick(rng, words)
    pen.text(shown, "ink", rng.uniform(25, 31), 50, 85)
    return pen.image, {f"meme:{name}"}
