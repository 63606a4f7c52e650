"""ImageNet and its four variants: a folder a class, named by WordNet id or label."""

import os
from collections.abc import Sequence
from pathlib import Path

from toolkit.common.text import nonblank_lines

from .catalog import names
from .catalog.entries import entries
from .coop import CoopTask, register_coop
from .few_shot import sample_per_class
from .io.split_files import Splits
from .task import Sample


class ImageNetSet(CoopTask):
    """Class names are those of classnames.txt (lines "<WordNet id> <name>") if the
    folder has one, else the usual ones.
    """

    def scan(self, folder: str, below: str) -> list[Sample]:
        """Return the images of `folder`/`below`, class by class; labels are positions
        of the sorted class folders. Raises FileNotFoundError, or ValueError for no
        class folder or an unknown one.
        """
        root = os.path.join(folder, below)
        if not os.path.isdir(root):
            raise FileNotFoundError(f"{self.name}: no image folder {root}")
        folders = [
            name for name in _visible(root) if os.path.isdir(os.path.join(root, name))
        ]
        if not folders:
            raise ValueError(f"{self.name}: {root} has no class folders")
        folders = self.sort_folders(folders, root)
        named = self.name_folders(folders, folder, root)
        samples = []
        for label, (inner, classname) in enumerate(named.items()):
            class_folder = os.path.join(root, inner)
            for file in _visible(class_folder):
                path = os.path.join(class_folder, file)
                key = f"{below}/{inner}/{file}"
                sample = Sample(path, (label,), key, classname)
                samples.append(sample)
        return samples

    def sort_folders(self, folders: list[str], root: str) -> list[str]:
        """Return the class folders, which are sorted by name, in label order."""
        return folders

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
        lines = nonblank_lines(Path(path).read_text(encoding="utf-8"))
        for number, line in enumerate(lines, start=1):
            wnid, _, classname = line.partition(" ")
            if not classname:
                raise ValueError(
                    f"{path}:{number}: expected <WordNet id> <class name>, found {wnid!r}"
                )
            found[wnid] = classname
        return found


def _visible(folder: str) -> list[str]:
    names = os.listdir(folder)
    return sorted(name for name in names if not name.startswith("."))


class ImageNet(ImageNetSet):
    """ImageNet-1K: the official val images are both val and test, whole in any run."""

    wants_train = True

    def read(self, folder: str) -> Splits:
        """Return (train, val, test), from below images/ if there is such a folder."""
        has_images = os.path.isdir(os.path.join(folder, "images"))
        below = "images/" if has_images else ""
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
        return sampled, list(val) if shots else []


class Variant(ImageNetSet):
    """Test images alone: for prompts that were trained on ImageNet. Labels are counted
    from 0, also those of 200 of the classes (ImageNet-A and -R).
    """

    def read(self, folder: str) -> Splits:
        return [], [], self.scan(folder, self.image_dir)


class NumberedVariant(Variant):
    """ImageNetV2: folders are labels, the lines of classnames.txt counted from 0."""

    def sort_folders(self, folders: list[str], root: str) -> list[str]:
        for inner in folders:
            if not inner.isdecimal():
                path = os.path.join(root, inner)
                raise ValueError(f"{self.name}: {path} is no class, a number from 0 on")
        return sorted(folders, key=int)

    def name_folders(
        self, folders: list[str], folder: str, root: str
    ) -> dict[str, str]:
        known = list(self.wordnet_names(folder).values())
        numbers = [int(inner) for inner in folders]
        if numbers != list(range(len(known))):
            raise ValueError(
                f"{self.name}: {root} has {len(folders)} class folders, not 0 to {len(known) - 1}"
            )
        return dict(zip(folders, known, strict=True))


_CLASSES = {"ImageNet": ImageNet, "ImageNetV2": NumberedVariant}
for _entry in entries().values():
    if _entry.layout == "folders":
        register_coop(_entry, _CLASSES.get(_entry.name, Variant))
