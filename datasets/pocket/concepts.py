"""Everything the pocket world can show: families of concepts, how each is rendered, and
how people caption it. A rendered image comes with its attributes ("object:cat",
"color:red"); a caption comes with the attributes it claims. A caption is true of an
image if the image has all the attributes that the caption claims.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PIL import Image

from . import fine_grained, objects, people, scenery, textures
from .colors import CONCEPTS, Rng, pick
from .styles import STYLES, finish

CAPTIONS = CONCEPTS["captions"]
Attributes = frozenset[str]
# styles that hide an object's colour
COLORLESS = ("gray", "night", "invert", "infrared", "warm")


@dataclass(frozen=True)
class Family:
    """Concepts of one kind. `render(concept, rng, mode)` returns an image (CANVAS x
    CANVAS, RGB) and its attributes; `mode` is a mode of `pen.Pen`, or ignored.
    """

    concepts: tuple[str, ...]
    render: Callable[[str, Rng, str], tuple[Image.Image, set[str]]]


def _family(concepts: Iterable[str], render: Callable):
    return Family(tuple(concepts), render)


FAMILIES: dict[str, Family] = {
    "shape": _family(objects.SHAPES, objects.shape),
    "object": _family(objects.OBJECTS, objects.thing),
    "texture": _family(textures.PATTERNS, textures.texture),
    "digit": _family("0123456789", people.digit),
    "word": _family(people.WORDS["positive"] + people.WORDS["negative"], people.word),
    "tile": _family(scenery.TILES, scenery.tile),
    "place": _family(scenery.PLACES, scenery.place),
    "face": _family(people.EMOTIONS, people.face),
    "sign": _family(people.SIGNS, people.sign),
    "road": _family(scenery.DISTANCES, scenery.road),
    "tissue": _family(("normal", "tumor"), scenery.tissue),
    "flower": _family(fine_grained.FLOWERS, fine_grained.flower),
    "food": _family(fine_grained.FOODS, fine_grained.food),
    "pet": _family(fine_grained.PETS, fine_grained.pet),
    "flag": _family(fine_grained.FLAGS, fine_grained.flag),
    "plane": _family(objects.PLANES, objects.plane),
    "car": _family(objects.CARS, objects.car),
    "action": _family(people.ACTIONS, people.person),
    "scene": _family(objects.SCENE_OBJECTS, objects.scene_around),
    "meme": _family(("kind", "rude"), people.meme),
}
# of the shifted tasks alone; captions and the small CLIP's training do not know them
SHIFTED: dict[str, Family] = {
    "cluttered object": _family(objects.OBJECTS, objects.cluttered),
    "rendition": _family(objects.OBJECTS, objects.rendition),
}


def render(
    family: str, concept: str, rng: Rng, mode: str = "fill", style: str | None = None
) -> tuple[Image.Image, Attributes]:
    """Return an image and its attributes in a style, by default any, mostly plain."""
    known = FAMILIES if family in FAMILIES else SHIFTED
    image, attributes = known[family].render(concept, rng, mode)
    if style is None:
        style = "plain" if rng.random() < 0.75 else pick(rng, STYLES)
    if style in COLORLESS:
        attributes = {name for name in attributes if not name.startswith("color:")}
    return finish(image, style, rng), frozenset(attributes)


def caption(
    family: str, concept: str, attributes: Attributes, rng: Rng
) -> tuple[str, Attributes]:
    """Return a true caption of such an image and the attributes that it claims."""
    if family == "scene":
        words, claimed = _scene_words(attributes, rng)
    else:
        words, claimed = _words(family, concept, attributes, rng)
    frame = pick(rng, CAPTIONS["frames"])
    return frame.format(words), frozenset(claimed)


def _scene_words(attributes: Attributes, rng: Rng) -> tuple[str, set[str]]:
    names = sorted(attribute.split(":")[1] for attribute in attributes)
    order = rng.permutation(len(names))
    count = rng.integers(1, len(names) + 1)
    said = [names[int(k)] for k in order[:count]]
    return " and a ".join(said), {f"object:{name}" for name in said}


def _words(family: str, concept: str, attributes: Attributes, rng: Rng):
    """Name a concept, sometimes with its colour; of a word sometimes its mood alone."""
    claimed = {f"{family}:{concept}"}
    of_family = CAPTIONS["synonyms"].get(family, {})
    synonyms = of_family.get(concept, [])
    frame = str(rng.choice(CAPTIONS["families"][family]))
    # its name twice as often as each synonym
    name = pick(rng, [concept, concept, *synonyms])
    words = frame.format(name)
    if words == concept:
        instead = CAPTIONS["instead"].get(family, {})
        words = instead.get(concept, words)
    if family == "word" and rng.random() < 0.4:
        claimed = {name for name in attributes if name.startswith("mood:")}
        mood = next(iter(claimed)).split(":")[1]
        return f"{mood} review", claimed
    if family in ("object", "shape") and rng.random() < 0.4:
        for attribute in attributes:
            if attribute.startswith("color:"):
                claimed.add(attribute)
                words = f"{attribute.split(':')[1]} {words}"
    return words, claimed
