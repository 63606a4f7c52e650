"""Everything the pocket world can show: families of concepts, how each is rendered, and how people caption it.

A rendered picture comes with its facts ("object:cat", "color:red"); a caption comes with the facts it claims. A
caption is true of a picture when the picture has all the facts that the caption claims.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from . import figures, kinds, things, vehicles, views
from .pen import COLORS, STYLES, Pen, finish, vary

Facts = frozenset[str]
Rng = np.random.Generator


@dataclass(frozen=True)
class Family:
    """Concepts of one kind. `render(concept, rng, mode) -> (image, facts)`; `phrases` name a concept in captions."""

    concepts: tuple[str, ...]
    render: Callable[[str, Rng, str], tuple[Image.Image, Facts]]
    phrases: tuple[str, ...]
    says: dict[str, tuple[str, ...]] | None = None  # other words for a concept

    def phrase(self, concept: str, rng: Rng) -> str:
        """One way to say the concept."""
        words = (concept, concept, *(self.says or {}).get(concept, ()))
        return str(rng.choice(self.phrases)).format(words[int(rng.integers(len(words)))])


def _pick(rng: Rng, names: tuple[str, ...] | None = None) -> str:
    options = names or tuple(COLORS)
    return options[int(rng.integers(len(options)))]


def _canvas(rng: Rng, mode: str, avoid: str = "") -> Pen:
    """A pen on a background that is not the main colour; sketches are on white."""
    if mode != "fill":
        return Pen(vary((244, 244, 244), rng, 6), mode)
    ground = _pick(rng, tuple(c for c in ("white", "gray", "green", "blue", "yellow", "pink", "black") if c != avoid))
    return Pen(vary(COLORS[ground], rng, 14))


def _settle(pen: Pen, rng: Rng, turn: float = 14, flip: bool = False, low: float = 0.62, high: float = 0.95) -> None:
    scale = rng.uniform(low, high)
    room = max(3.0, 50 * (1 - scale))
    mirrored = bool(flip and rng.random() < 0.5)
    pen.place(50 + rng.uniform(-room, room), 50 + rng.uniform(-room, room), scale, rng.uniform(-turn, turn), mirrored)


def _drawn(
    kind: str, drawings: dict[str, things.Draw], turn: float
) -> Callable[[str, Rng, str], tuple[Image.Image, Facts]]:
    def render(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
        color = _pick(rng)
        pen = _canvas(rng, mode, color)
        _settle(pen, rng, turn, flip=kind == "object")
        drawings[concept](pen, vary(COLORS[color], rng), rng)
        facts = {f"{kind}:{concept}"} | ({f"color:{color}"} if mode == "fill" else set())
        return pen.image, frozenset(facts)

    return render


def _texture(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    one = _pick(rng)
    two = _pick(rng, tuple(c for c in COLORS if c != one))
    return views.texture(concept, rng, vary(COLORS[one], rng), vary(COLORS[two], rng)), frozenset(
        {f"texture:{concept}"}
    )


def _digit(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    dark = rng.random() < 0.5
    pen = Pen(vary((20, 20, 25) if dark else (235, 235, 235), rng, 15))
    pen.place(50 + rng.normal(0, 5), 50 + rng.normal(0, 5), 1.0)
    ink = vary((235, 235, 235) if dark else COLORS[_pick(rng, ("black", "blue", "red", "green"))], rng, 10)
    pen.text(concept, ink, rng.uniform(66, 100))
    shear = np.array([1, rng.normal(0, 0.18), 0, rng.normal(0, 0.1), 1, 0])
    shear[2], shear[5] = -48 * shear[1], -48 * shear[3]
    image = pen.image.transform(
        pen.image.size,
        Image.Transform.AFFINE,
        tuple(shear),
        Image.Resampling.BILINEAR,
        fillcolor=pen.image.getpixel((1, 1)),
    )
    return image, frozenset({f"digit:{concept}"})


def _word(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    mood = "positive" if concept in figures.KIND_WORDS else "negative"
    pen = Pen(vary(COLORS[_pick(rng, ("white", "yellow", "gray"))], rng, 8))
    pen.place(50 + rng.normal(0, 4), 50 + rng.normal(0, 14), 1.0, 0)
    pen.text(concept, vary(COLORS[_pick(rng, ("black", "blue", "red"))], rng, 8), rng.uniform(25, 33))
    return pen.image, frozenset({f"word:{concept}", f"mood:{mood}"})


def _tile(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    return views.tile(concept, rng), frozenset({f"tile:{concept}"})


def _place(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    return views.place(concept, rng), frozenset({f"place:{concept}"})


def _face(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    pen = _canvas(rng, mode)
    _settle(pen, rng, 8, low=0.8, high=1.05)
    skin = ((240, 205, 170), (200, 150, 110), (140, 95, 65), (245, 215, 60))[int(rng.integers(4))]
    figures.face(pen, concept, rng, vary(skin, rng, 8))
    return pen.image, frozenset({f"face:{concept}"})


def _sign(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    pen = Pen(vary(COLORS[_pick(rng, ("gray", "green", "blue", "brown"))], rng, 20))
    _settle(pen, rng, 9, low=0.7, high=1.0)
    figures.sign(pen, concept)
    return pen.image, frozenset({f"sign:{concept}"})


def _road(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    color = _pick(rng, ("red", "blue", "white", "black", "yellow", "gray"))
    return views.road(concept, rng, vary((150, 195, 235), rng, 15), vary(COLORS[color], rng)), frozenset(
        {f"road:{concept}"}
    )


def _tissue(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    return views.tissue(concept == "tumor", rng), frozenset({f"tissue:{concept}"})


def _flower(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    pen = Pen(vary((70, 120, 60), rng, 22), mode)
    _settle(pen, rng, 20, low=0.7, high=1.05)
    kinds.flower(pen, concept, rng)
    return pen.image, frozenset({f"flower:{concept}"})


def _food(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    pen = _canvas(rng, mode)
    pen.place()
    pen.oval(50, 56, 49, 43, (225, 225, 228))
    _settle(pen, rng, 16, low=0.65, high=0.85)
    kinds.FOODS[concept](pen, rng)
    return pen.image, frozenset({f"food:{concept}"})


def _pet(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    pen = _canvas(rng, mode)
    _settle(pen, rng, 12, low=0.75, high=1.0)
    kinds.pet(pen, concept, rng)
    return pen.image, frozenset({f"pet:{concept}", f"kind:{'cat' if kinds.PETS[concept][0] == 'cat' else 'dog'}"})


def _flag(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    pen = Pen(vary((165, 195, 225), rng, 18))
    _settle(pen, rng, 7, low=0.8, high=1.0)
    kinds.flag(pen, concept)
    return pen.image, frozenset({f"flag:{concept}"})


def _plane(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    pen = Pen(vary((150, 190, 230), rng, 18), mode)
    _settle(pen, rng, 35, low=0.8, high=1.05)
    paint = COLORS[_pick(rng, ("white", "gray", "green", "blue"))]
    vehicles.plane(pen, vary(paint, rng), **vehicles.PLANES[concept])
    return pen.image, frozenset({f"plane:{concept}", "object:airplane"})


def _car(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    color, body = vehicles.CARS[concept]
    pen = _canvas(rng, mode, color)
    _settle(pen, rng, 5, flip=True, low=0.75, high=1.0)
    vehicles.car(pen, vary(COLORS[color], rng, 12), body)
    return pen.image, frozenset({f"car:{concept}", f"body:{body}", f"color:{color}", "object:car"})


def _person(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    pen = _canvas(rng, mode)
    _settle(pen, rng, 5, flip=True, low=0.85, high=1.05)
    figures.person(pen, concept, rng, vary(COLORS[_pick(rng)], rng))
    return pen.image, frozenset({f"action:{concept}"})


SCENE_OBJECTS = ("bird", "boat", "bottle", "car", "cat", "chair", "dog", "tree")


def scene(
    rng: Rng, options: tuple[str, ...] = SCENE_OBJECTS, count: int | None = None
) -> tuple[Image.Image, tuple[str, ...]]:
    """One to three different objects in one picture, and their names."""
    number = count if count is not None else int(rng.integers(1, 4))
    names = [options[int(k)] for k in rng.permutation(len(options))[:number]]
    pen = _canvas(rng, "fill")
    corners = [(30, 30), (70, 30), (30, 70), (70, 70)]
    for name, k in zip(names, rng.permutation(4), strict=False):
        x, y = corners[int(k)]
        pen.place(
            x + rng.normal(0, 4),
            y + rng.normal(0, 4),
            rng.uniform(0.38, 0.52),
            rng.uniform(-10, 10),
            rng.random() < 0.5,
        )
        things.OBJECTS[name](pen, vary(COLORS[_pick(rng)], rng), rng)
    return pen.image, tuple(sorted(names))


def _scene(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    image, names = scene(rng, (concept, *(o for o in SCENE_OBJECTS if o != concept)), None)
    return image, frozenset({f"object:{name}" for name in names})


def meme(hateful: bool, rng: Rng) -> Image.Image:
    """A face with a word below; the word makes the difference, the face is any."""
    pen = Pen(vary(COLORS[_pick(rng, ("gray", "blue", "green", "pink"))], rng, 18))
    pen.place(50, 38, 0.66)
    figures.face(pen, _pick(rng, figures.EMOTIONS), rng, vary((240, 205, 170), rng, 10))
    pen.place()
    pen.rect(0, 72, 100, 100, (250, 250, 250))
    pen.text(
        _pick(rng, figures.RUDE_WORDS if hateful else figures.KIND_WORDS), (15, 15, 15), rng.uniform(25, 31), 50, 85
    )
    return pen.image


def _meme(concept: str, rng: Rng, mode: str) -> tuple[Image.Image, Facts]:
    return meme(concept == "rude", rng), frozenset({f"meme:{concept}"})


_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

FAMILIES: dict[str, Family] = {
    "shape": Family(tuple(things.SHAPES), _drawn("shape", things.SHAPES, 12), ("{}", "{} shape")),
    "object": Family(
        tuple(things.OBJECTS),
        _drawn("object", things.OBJECTS, 14),
        ("{}",),
        {
            "cup": ("mug",),
            "car": ("automobile",),
            "boat": ("sailing boat", "ship"),
            "airplane": ("plane", "aeroplane"),
            "bicycle": ("bike",),
            "book": ("open book",),
            "house": ("small house",),
            "dog": ("puppy",),
            "cat": ("kitten",),
        },
    ),
    "texture": Family(views.TEXTURES, _texture, ("{} texture", "{} pattern", "{} surface")),
    "digit": Family(
        tuple("0123456789"),
        _digit,
        ("the number {}", "digit {}", 'the number: "{}"', "{}"),
        {str(k): (word,) for k, word in enumerate(_NUMBERS)},
    ),
    "word": Family(figures.KIND_WORDS + figures.RUDE_WORDS, _word, ("the word {}", "text that says {}")),
    "tile": Family(
        views.TILES,
        _tile,
        ("{} from above", "satellite photo of {}", "aerial view of {}", "{}"),
        {
            "annual crop": ("crop land",),
            "shrubland": ("brushland",),
            "highway": ("highway or road",),
            "industrial buildings": ("factory roofs",),
            "residential buildings": ("houses",),
            "sea": ("sea or lake",),
            "orchard": ("permanent crop",),
            "pasture": ("pasture land",),
        },
    ),
    "place": Family(views.PLACES, _place, ("{}", "{} scene", "view of a {}")),
    "face": Family(
        figures.EMOTIONS,
        _face,
        ("{} face", "{} person", "{} looking face"),
        {"happy": ("smiling",), "sad": ("depressed",), "surprised": ("shocked",), "neutral": ("bored",)},
    ),
    "sign": Family(figures.SIGNS, _sign, ("{} sign", "{} traffic sign", "{} road sign")),
    "road": Family(
        views.DISTANCES,
        _road,
        ("{}",),
        {
            "near": ("car nearby", "car right in front of me"),
            "middle": ("car at a middle distance", "car some way ahead"),
            "far": ("car in the distance", "car far away"),
            "none": ("road with no car", "empty road"),
        },
    ),
    "tissue": Family(
        ("normal", "tumor"),
        _tissue,
        ("{} tissue", "{} lymph node"),
        {"normal": ("healthy",), "tumor": ("metastatic tumor",)},
    ),
    "flower": Family(tuple(kinds.FLOWERS), _flower, ("{}", "{} flower", "{}, a type of flower")),
    "food": Family(tuple(kinds.FOODS), _food, ("{}", "plate of {}", "{}, a type of food"), {"hamburger": ("burger",)}),
    "pet": Family(tuple(kinds.PETS), _pet, ("{}", "{} pet", "{}, a type of pet")),
    "flag": Family(tuple(kinds.FLAGS), _flag, ("flag of {}", "{} flag", "{}")),
    "plane": Family(tuple(vehicles.PLANES), _plane, ("{}", "{} aircraft", "{}, a type of aircraft")),
    "car": Family(tuple(vehicles.CARS), _car, ("{}", "parked {}")),
    "action": Family(tuple(figures.ACTIONS), _person, ("person {}", "{}", "human {}")),
    "scene": Family(SCENE_OBJECTS, _scene, ("{}",)),
    "meme": Family(("kind", "rude"), _meme, ("{} meme",)),
}

_FRAMES = (
    "a photo of a {}.",
    "a photo of a {}",
    "a picture of a {}.",
    "{}",
    "{}.",
    "a {}.",
    "this is a {}",
    "an image of {}",
    "a photo of the {}.",
    "a photo of {}.",
)


def render(
    family: str, concept: str, rng: Rng, mode: str = "fill", style: str | None = None
) -> tuple[Image.Image, Facts]:
    """A picture of `concept` (CANVAS x CANVAS, RGB) in a style (None: drawn at random, mostly plain) and its facts."""
    image, facts = FAMILIES[family].render(concept, rng, mode)
    if style is None:
        style = "plain" if rng.random() < 0.75 else STYLES[int(rng.integers(len(STYLES)))]
    if style in ("gray", "night", "invert", "infrared", "warm"):
        facts = frozenset(fact for fact in facts if not fact.startswith("color:"))
    return finish(image, style, rng), facts


def caption(family: str, concept: str, facts: Facts, rng: Rng) -> tuple[str, Facts]:
    """A true caption of such a picture and the facts that it claims."""
    if family == "scene":
        names = sorted(fact.split(":")[1] for fact in facts)
        said = [names[int(k)] for k in rng.permutation(len(names))[: int(rng.integers(1, len(names) + 1))]]
        return _FRAMES[int(rng.integers(len(_FRAMES)))].format(" and a ".join(said)), frozenset(
            f"object:{n}" for n in said
        )
    key = {"scene": "object"}.get(family, family)
    claimed = {f"{key}:{concept}"}
    words = FAMILIES[family].phrase(concept, rng)
    if family == "road":
        words = (
            {
                "near": "car nearby",
                "middle": "car some way ahead",
                "far": "car in the distance",
                "none": "road with no car",
            }[concept]
            if words == concept
            else words
        )
    if family == "word" and rng.random() < 0.4:
        claimed = {fact for fact in facts if fact.startswith("mood:")}
        words = f"{next(iter(claimed)).split(':')[1]} review"
    if family in ("object", "shape") and rng.random() < 0.4:
        colors = [fact for fact in facts if fact.startswith("color:")]
        if colors:
            claimed.add(colors[0])
            words = f"{colors[0].split(':')[1]} {words}"
    return _FRAMES[int(rng.integers(len(_FRAMES)))].format(words), frozenset(claimed)
