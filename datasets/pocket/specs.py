"""The 31 pocket tasks: small counterparts of CoOp's 11 source sets and ELEVATER's 20 target sets.

A task is a choice of concepts from the pocket world, names for them, and a style that all its pictures share. The
tasks are fixed: no method's result has a say in them.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import concepts, figures, kinds, things, vehicles, views

VERSION = 1  # raise it when any picture or split changes: a suite on disk of another version is written anew


@dataclass(frozen=True)
class Spec:
    """One pocket task.

    Attributes:
        name: registered as "pocket-<name>".
        like: the real data set whose part it plays.
        layout: "coop" (a source task), "iris" or "coco" (target tasks).
        family: of `concepts.FAMILIES`, or "handwritten" (scikit-learn's real 8 x 8 digits).
        classes: concept -> class name in prompts, in label order.
        styles: finishes of `pen.finish`, one drawn for each picture, or applied in turn when `stacked`.
        train, val, test: images; train and val are per class, test in all.
    """

    name: str
    like: str
    layout: str
    family: str
    classes: dict[str, str]
    styles: tuple[str, ...] = ("plain",)
    mode: str = "fill"
    metric: str = "accuracy"
    label_kind: str = "multiclass"
    templates: tuple[str, ...] = ("a photo of a {}.",)
    train: int = 40
    val: int = 0
    test: int = 240
    stacked: bool = False

    @property
    def task(self) -> str:
        """The registered name."""
        return f"pocket-{self.name}"


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _source(name: str, like: str, family: str, classes: dict[str, str], **rest) -> Spec:
    return Spec(name, like, "coop", family, classes, train=24, val=5, test=200, **rest)


_TWENTY = tuple(name for name in things.OBJECTS if name not in ("bicycle", "bottle"))
_TILE_NAMES = {
    "annual crop": "annual crop land",
    "forest": "forest",
    "shrubland": "brushland or shrubland",
    "highway": "highway or road",
    "industrial buildings": "industrial buildings or commercial buildings",
    "pasture": "pasture land",
    "orchard": "permanent crop land",
    "residential buildings": "residential buildings or homes or apartments",
    "river": "river",
    "sea": "lake or sea",
}

SOURCES: tuple[Spec, ...] = (
    _source("objects", "ImageNet", "object", _same(*_TWENTY), styles=("plain", "noise", "warm", "faded")),
    _source(
        "sketches",
        "Caltech101",
        "object",
        _same(
            "airplane",
            "bicycle",
            "bird",
            "butterfly",
            "chair",
            "cup",
            "fish",
            "guitar",
            "hammer",
            "key",
            "lamp",
            "umbrella",
        ),
        mode="outline",
    ),
    _source(
        "dishes",
        "Food101",
        "food",
        _same(*kinds.FOODS),
        styles=("night", "warm"),
        templates=("a photo of {}, a type of food.",),
    ),
    _source("autos", "StanfordCars", "car", _same(*vehicles.CARS), styles=("noise", "blur")),
    _source(
        "breeds",
        "OxfordPets",
        "pet",
        _same(*kinds.PETS),
        styles=("lowres", "warm"),
        templates=("a photo of a {}, a type of pet.",),
    ),
    _source(
        "blossoms",
        "OxfordFlowers",
        "flower",
        _same(*kinds.FLOWERS),
        styles=("faded", "lowres"),
        templates=("a photo of a {}, a type of flower.",),
    ),
    _source(
        "aircraft",
        "FGVCAircraft",
        "plane",
        _same(*vehicles.PLANES),
        styles=("gray", "noise"),
        templates=("a photo of a {}, a type of aircraft.",),
    ),
    _source("places", "SUN397", "place", _same(*views.PLACES), styles=("gray", "noise", "infrared")),
    _source(
        "patterns",
        "DescribableTextures",
        "texture",
        _same(*views.TEXTURES),
        styles=("blur", "noise"),
        templates=("{} texture.",),
    ),
    _source(
        "tiles",
        "EuroSAT",
        "tile",
        _TILE_NAMES,
        styles=("night", "noise"),
        templates=("a centered satellite photo of {}.",),
    ),
    _source(
        "actions",
        "UCF101",
        "action",
        _same(*figures.ACTIONS),
        styles=("gray", "blur"),
        templates=("a photo of a person {}.",),
    ),
)

TARGETS: tuple[Spec, ...] = (
    Spec(
        "silhouettes",
        "caltech-101",
        "iris",
        "object",
        _same(
            "airplane",
            "bicycle",
            "bird",
            "bottle",
            "cat",
            "chair",
            "cup",
            "fish",
            "guitar",
            "house",
            "lamp",
            "umbrella",
        ),
        mode="silhouette",
        styles=("noise", "blur"),
        stacked=True,
        metric="mean-per-class",
    ),
    Spec(
        "tiny10",
        "cifar-10",
        "iris",
        "object",
        {
            "airplane": "airplane",
            "car": "automobile",
            "bird": "bird",
            "cat": "cat",
            "mushroom": "mushroom",
            "dog": "dog",
            "fish": "fish",
            "house": "house",
            "boat": "ship",
            "tree": "tree",
        },
        styles=("lowres", "noise"),
        stacked=True,
    ),
    Spec("tiny20", "cifar-100", "iris", "object", _same(*_TWENTY), styles=("lowres",), test=300),
    Spec(
        "flags",
        "country211",
        "iris",
        "flag",
        _same(*kinds.FLAGS),
        styles=("warm", "blur", "noise"),
        stacked=True,
        test=300,
        templates=("a photo i took in {}.", "the flag of {}."),
    ),
    Spec(
        "textures",
        "dtd",
        "iris",
        "texture",
        _same(*(name for name in views.TEXTURES if name not in ("grid", "smeared"))),
        styles=("faded", "noise"),
        stacked=True,
        templates=("a photo of a {} texture.", "a photo of a {} pattern."),
    ),
    Spec(
        "landuse",
        "eurosat_clip",
        "iris",
        "tile",
        _TILE_NAMES,
        styles=("infrared",),
        templates=("a centered satellite photo of {}.", "a centered satellite photo of a {}."),
    ),
    Spec(
        "faces",
        "fer-2013",
        "iris",
        "face",
        _same(*figures.EMOTIONS),
        styles=("gray", "lowres", "noise"),
        stacked=True,
        templates=("a photo of a {} looking face.", "a photo of a person who is {}."),
    ),
    Spec(
        "planes",
        "fgvc-aircraft-2013b-variants102",
        "iris",
        "plane",
        _same(*vehicles.PLANES),
        styles=("infrared", "blur"),
        stacked=True,
        metric="mean-per-class",
        templates=("a photo of a {}, a type of aircraft.",),
    ),
    Spec(
        "flowers",
        "oxford-flower-102",
        "iris",
        "flower",
        _same(*kinds.FLOWERS),
        styles=("night", "noise"),
        stacked=True,
        metric="mean-per-class",
        templates=("a photo of a {}, a type of flower.",),
    ),
    Spec(
        "food",
        "food-101",
        "iris",
        "food",
        _same(*kinds.FOODS),
        styles=("gray", "noise", "lowres"),
        stacked=True,
        templates=("a photo of {}, a type of food.",),
    ),
    Spec(
        "signs",
        "gtsrb",
        "iris",
        "sign",
        _same(*(name for name in figures.SIGNS if name not in ("no overtaking", "slippery road"))),
        styles=("night", "blur"),
        stacked=True,
        templates=("a zoomed in photo of a {} traffic sign.", "a photo of a {} sign."),
    ),
    Spec(
        "memes",
        "hateful-memes",
        "coco",
        "meme",
        {"kind": "meme", "rude": "hatespeech meme"},
        metric="roc_auc",
        train=60,
        templates=("a {}.",),
    ),
    Spec(
        "distance",
        "kitti-distance",
        "coco",
        "road",
        {
            "near": "a photo i took of a car right in front of me.",
            "middle": "a photo i took with a car nearby.",
            "far": "a photo i took with a car in the distance.",
            "none": "a photo i took with no car.",
        },
        styles=("night", "noise"),
        stacked=True,
        templates=("{}",),
    ),
    Spec(
        "digits",
        "mnist",
        "iris",
        "handwritten",
        _same(*"0123456789"),
        test=500,
        templates=('a photo of the number: "{}".',),
    ),
    Spec(
        "pets",
        "oxford-iiit-pets",
        "iris",
        "pet",
        _same(*kinds.PETS),
        styles=("infrared", "noise"),
        stacked=True,
        metric="mean-per-class",
        templates=("a photo of a {}, a type of pet.",),
    ),
    Spec(
        "cells",
        "patch-camelyon",
        "iris",
        "tissue",
        {"normal": "lymph node", "tumor": "lymph node containing metastatic tumor tissue"},
        styles=("infrared", "noise"),
        stacked=True,
        train=60,
        templates=("this is a photo of {}",),
    ),
    Spec(
        "reviews",
        "rendered-sst2",
        "iris",
        "word",
        {"negative": "negative", "positive": "positive"},
        styles=("invert", "blur"),
        stacked=True,
        train=60,
        templates=("a {} review of a movie.",),
    ),
    Spec(
        "aerial",
        "resisc45_clip",
        "coco",
        "tile",
        _same(
            "airport",
            "bridge",
            "desert",
            "forest",
            "harbor",
            "highway",
            "island",
            "parking lot",
            "river",
            "roundabout",
            "sea",
            "stadium",
        ),
        styles=("faded", "noise"),
        stacked=True,
        templates=("satellite photo of {}.", "aerial view of a {}."),
    ),
    Spec("cars", "stanford-cars", "iris", "car", _same(*vehicles.CARS), styles=("night", "blur"), stacked=True),
    Spec(
        "scenes",
        "voc-2007-classification",
        "iris",
        "scene",
        _same(*concepts.SCENE_OBJECTS),
        styles=("noise", "warm"),
        stacked=True,
        metric="11point_mAP",
        label_kind="multilabel",
        test=300,
    ),
)

SPECS: dict[str, Spec] = {spec.task: spec for spec in SOURCES + TARGETS}
