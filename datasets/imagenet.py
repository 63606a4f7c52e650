"""ImageNet and its four variants as CoOp lays them out: a folder a class, called by WordNet id (ImageNetV2: by label)."""

from __future__ import annotations

import os
from collections.abc import Sequence

from . import few_shot as fewshot
from .catalog import names
from .coop import CoopTask
from .task import Sample, register_task

Splits = tuple[list[Sample], list[Sample], list[Sample]]


class ImageNetSet(CoopTask):
    """Class names are those of classnames.txt (lines "<WordNet id> <name>") where the folder has one, and the usual ones otherwise."""

    def __init__(self, cfg):
        self.templates = names.templates(self.name)
        super().__init__(cfg)

    def scan(self, folder: str, below: str) -> list[Sample]:
        """The images of `folder`/`below`, class by class; labels are the places of the class folders in their sorted order.

        Raises:
            FileNotFoundError: the folder is not there.
            ValueError: it has no class folder, or one that is neither in classnames.txt nor in ImageNet.
        """
        root = os.path.join(folder, below)
        if not os.path.isdir(root):
            raise FileNotFoundError(f"{self.name}: no image folder {root}")
        inner = self.order(
            [found.name for found in os.scandir(root) if found.is_dir() and not found.name.startswith(".")], root
        )
        if not inner:
            raise ValueError(f"{self.name}: {root} has no class folders")
        return [
            Sample(os.path.join(root, place, file), (label,), f"{below}/{place}/{file}", classname)
            for label, (place, classname) in enumerate(self.named(inner, folder, root).items())
            for file in sorted(os.listdir(os.path.join(root, place)))
            if not file.startswith(".")
        ]

    def order(self, places: list[str], root: str) -> list[str]:
        """The class folders in label order."""
        return sorted(places)

    def named(self, places: list[str], folder: str, root: str) -> dict[str, str]:
        """Class folder -> class name."""
        known = self.listed(folder)
        for place in places:
            if place not in known:
                raise ValueError(
                    f"{self.name}: {os.path.join(root, place)} is no class: classnames.txt has no {place!r}"
                )
        return {place: known[place] for place in places}

    def listed(self, folder: str) -> dict[str, str]:
        """WordNet id -> class name, in label order."""
        path = os.path.join(folder, "classnames.txt")
        if not os.path.isfile(path):
            return names.wordnet_names("ImageNet")
        with open(path, encoding="utf-8") as file:
            rows = [line.strip().partition(" ") for line in file if line.strip()]
        for number, (wnid, _, classname) in enumerate(rows, start=1):
            if not classname:
                raise ValueError(f"{path}:{number}: expected <WordNet id> <class name>, found {wnid!r}")
        return {wnid: classname for wnid, _, classname in rows}


@register_task
class ImageNet(ImageNetSet):
    """ImageNet-1K. Its official val images are both val and test, and val stays whole in few-shot runs."""

    name, folder, image_dir = "ImageNet", "imagenet", "images"
    wants_train = True

    def read(self, folder: str) -> Splits:
        """(train, val, test); the images lie in images/train and images/val, or in train and val as in MVLPT."""
        below = "images/" if os.path.isdir(os.path.join(folder, "images")) else ""
        val = self.scan(folder, f"{below}val")
        train = self.scan(folder, f"{below}train") if self.wants_train else []
        return train, val, val

    def __init__(self, cfg):
        self.wants_train = cfg.DATASET.NUM_SHOTS != 0  # 1.28 million images are not listed in vain
        super().__init__(cfg)

    def draw(
        self, train: Sequence[Sample], val: Sequence[Sample], shots: int, seed: int
    ) -> tuple[list[Sample], list[Sample]]:
        drawn, _ = fewshot.draw_per_class(train, [], shots, seed, task=self.name)
        return drawn, list(val) if shots != 0 else []


class Variant(ImageNetSet):
    """Test images alone: a prompt that was learnt on ImageNet meets another kind of images."""

    test_only = True

    def read(self, folder: str) -> Splits:
        return [], [], self.scan(folder, self.image_dir)


@register_task
class ImageNetV2(Variant):
    """ImageNetV2, matched frequency. Folders are labels: the lines of classnames.txt counted from 0."""

    name, folder, image_dir = "ImageNetV2", "imagenetv2", "imagenetv2-matched-frequency-format-val"

    def order(self, places: list[str], root: str) -> list[str]:
        for place in places:
            if not place.isdecimal():
                raise ValueError(f"{self.name}: {os.path.join(root, place)} is no class: folders are numbers from 0 on")
        return sorted(places, key=int)

    def named(self, places: list[str], folder: str, root: str) -> dict[str, str]:
        known = list(self.listed(folder).values())
        if [int(place) for place in places] != list(range(len(known))):
            raise ValueError(f"{self.name}: {root} has {len(places)} class folders, not 0 to {len(known) - 1}")
        return dict(zip(places, known, strict=True))


@register_task
class ImageNetSketch(Variant):
    """ImageNet-Sketch: drawings of the 1,000 classes."""

    name, folder, image_dir = "ImageNetSketch", "imagenet-sketch", "images"


@register_task
class ImageNetA(Variant):
    """ImageNet-A: natural images of 200 classes that mislead a ResNet-50; labels are counted from 0 again."""

    name, folder, image_dir = "ImageNetA", "imagenet-adversarial", "imagenet-a"


@register_task
class ImageNetR(Variant):
    """ImageNet-R: renditions of 200 classes; labels are counted from 0 again."""

    name, folder, image_dir = "ImageNetR", "imagenet-rendition", "imagenet-r"
