"""ImageNet and its four variants in CoOp's layout: a folder a class, named by WordNet
id (ImageNetV2: by label).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from .catalog import names
from .coop import CoopTask
from .few_shot import sample_per_class
from .io.split_files import Splits
from .task import Sample, register_task


class ImageNetSet(CoopTask):
    """Class names are those of classnames.txt (lines "<WordNet id> <name>") if the
    folder has one, else the usual ones.
    """

    def __init__(self, cfg):
        self.templates = names.templates(self.name)
        super().__init__(cfg)

    def scan(self, folder: str, below: str) -> list[Sample]:
        """Return the images of `folder`/`below`, class by class; labels are positions
        of the sorted class folders.

        Raises:
            FileNotFoundError: the folder is not there. ValueError: it has no class
            folder, or one that is neither in classnames.txt nor in ImageNet.
        """
        root = os.path.join(folder, below)
        if not os.path.isdir(root):
            raise FileNotFoundError(f"{self.name}: no image folder {root}")
        folders = [
            found.name
            for found in os.scandir(root)
            if found.is_dir() and not found.name.startswith(".")
        ]
        if not folders:
            raise ValueError(f"{self.name}: {root} has no class folders")
        named = self.name_folders(self.sort_folders(folders, root), folder, root)
        samples = []
        for label, (inner, classname) in enumerate(named.items()):
            files = sorted(
                file
                for file in os.listdir(os.path.join(root, inner))
                if not file.startswith(".")
            )
            for file in files:
                key = f"{below}/{inner}/{file}"
                samples.append(
                    Sample(os.path.join(root, inner, file), (label,), key, classname)
                )
        return samples

    def sort_folders(self, folders: list[str], root: str) -> list[str]:
        """Return the class folders in label order."""
        return sorted(folders)

    def name_folders(
        self, folders: list[str], folder: str, root: str
    ) -> dict[str, str]:
        """Return class folder -> class name."""
        known = self.wordnet_names(folder)
        for inner in folders:
            if inner not in known:
                path = os.path.join(root, inner)
                raise ValueError(
                    f"{self.name}: {path} is no class: classnames.txt has no {inner!r}"
                )
        return {inner: known[inner] for inner in folders}

    def wordnet_names(self, folder: str) -> dict[str, str]:
        """Return WordNet id -> class name, in label order."""
        path = os.path.join(folder, "classnames.txt")
        if not os.path.isfile(path):
            return names.wordnet_names("ImageNet")
        found = {}
        with open(path, encoding="utf-8") as file:
            lines = [line.strip() for line in file if line.strip()]
        for number, line in enumerate(lines, start=1):
            wnid, _, classname = line.partition(" ")
            if not classname:
                raise ValueError(
                    f"{path}:{number}: expected <WordNet id> <class name>, found {wnid!r}"
                )
            found[wnid] = classname
        return found


@register_task
class ImageNet(ImageNetSet):
    """ImageNet-1K.

    Its official val images are both val and test, and val stays whole in few-shot runs.
    """

    name, folder, image_dir = "ImageNet", "imagenet", "images"
    wants_train = True

    def read(self, folder: str) -> Splits:
        """Return (train, val, test); images are in images/train and images/val, or in
        train and val as in MVLPT.
        """
        below = "images/" if os.path.isdir(os.path.join(folder, "images")) else ""
        val = self.scan(folder, f"{below}val")
        train = self.scan(folder, f"{below}train") if self.wants_train else []
        return train, val, val

    def __init__(self, cfg):
        # else 1.28 million images are not listed
        self.wants_train = cfg.DATASET.NUM_SHOTS != 0
        super().__init__(cfg)

    def sample(
        self, train: Sequence[Sample], val: Sequence[Sample], shots: int, seed: int
    ) -> tuple[list[Sample], list[Sample]]:
        sampled, _ = sample_per_class(train, [], shots, seed, task=self.name)
        if shots == 0:
            return [], []
        return sampled, list(val)


class Variant(ImageNetSet):
    """Test images alone: for prompts that were trained on ImageNet."""

    test_only = True

    def read(self, folder: str) -> Splits:
        return [], [], self.scan(folder, self.image_dir)


@register_task
class ImageNetV2(Variant):
    """ImageNetV2, matched frequency.

    Folders are labels: the lines of classnames.txt counted from 0.
    """

    name, folder, image_dir = (
        "ImageNetV2",
        "imagenetv2",
        "imagenetv2-matched-frequency-format-val",
    )

    def sort_folders(self, folders: list[str], root: str) -> list[str]:
        for inner in folders:
            if not inner.isdecimal():
                path = os.path.join(root, inner)
                raise ValueError(
                    f"{self.name}: {path} is no class: folders are numbers from 0 on"
                )
        return sorted(folders, key=int)

    def name_folders(
        self, folders: list[str], folder: str, root: str
    ) -> dict[str, str]:
        known = list(self.wordnet_names(folder).values())
        if [int(inner) for inner in folders] != list(range(len(known))):
            raise ValueError(
                f"{self.name}: {root} has {len(folders)} class folders, not 0 to {len(known) - 1}"
            )
        return dict(zip(folders, known, strict=True))


@register_task
class ImageNetSketch(Variant):
    """ImageNet-Sketch: drawings of the 1,000 classes."""

    name, folder, image_dir = "ImageNetSketch", "imagenet-sketch", "images"


@register_task
class ImageNetA(Variant):
    """ImageNet-A: natural images of 200 classes that mislead a ResNet-50; labels are
    counted from 0 again.
    """

    name, folder, image_dir = "ImageNetA", "imagenet-adversarial", "imagenet-a"


@register_task
class ImageNetR(Variant):
    """ImageNet-R: renditions of 200 classes; labels are counted from 0 again."""

    name, folder, image_dir = "ImageNetR", "imagenet-rendition", "imagenet-r"
