"""The sets that torchvision reads too: images and labels of each split, with the labels
in ELEVATER's order.
"""

import io
import random
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from datasets.catalog import names
from datasets.catalog.entries import SPLITS, Entry
from datasets.io.packed import PackedImage
from toolkit.common.cli import NotDone
from toolkit.common.grouping import grouped
from toolkit.common.text import one_line

from .copies import find_copy

# the file of an image, or how to get one that has none
ImageSource = Path | Callable[[], Image.Image]
Item = tuple[ImageSource, tuple[int, ...]]

# torchvision has Kaggle's order: ..., sad, surprised, neutral
FER_TO_ALPHABETICAL = (0, 1, 2, 3, 5, 6, 4)
# as the notes in catalog/copies.yaml say
CALTECH_TRAIN = 30  # images a class
EUROSAT_EACH = 500  # images a class and split


def read_copy(
    entry: Entry, split: str, source: Path, download: bool
) -> Iterator[PackedImage]:
    """Yield the images of a split, with the labels of the set; see `prepare`. Raises
    NotDone, whose message names the next step, if torchvision cannot read it,
    ValueError if its class names are not those of the set.
    """
    for number, (image, labels) in enumerate(_read(entry, split, source, download)):
        if isinstance(image, Path):
            name = image.name
            if image.is_relative_to(source):
                name = image.relative_to(source).as_posix()
            # an index line without labels can't hold a space
            name, content = name.replace(" ", "_"), image.read_bytes()
        else:
            stream = io.BytesIO()
            image().save(stream, "PNG")
            name, content = f"{split}/{number:06d}.png", stream.getvalue()
        yield PackedImage(name, content, labels, "")


def _read(entry: Entry, split: str, source: Path, download: bool) -> list[Item]:
    import torchvision

    cls = getattr(torchvision.datasets, entry.torchvision)
    copy = find_copy(entry, "torchvision")
    dataset = _open(cls, copy.splits[split], source, download)
    if entry.name == "caltech-101":
        return _caltech(Path(dataset.root) / "101_ObjectCategories", split)
    if entry.name == "voc-2007-classification":
        classes = names.class_names(entry.name)
        images = zip(dataset.images, dataset.annotations, strict=True)
        return [(Path(image), _objects(file, classes)) for image, file in images]
    if entry.name == "fer-2013":
        items = _items(dataset, FER_TO_ALPHABETICAL)
        # its test split is the public test followed by the private one
        public = len(items) // 2
        parts = {"val": items[:public], "test": items[public:]}
        return parts.get(split, items)
    order: Sequence[int] = range(entry.classes)
    if copy.by_name:
        where = f"torchvision.datasets.{cls.__name__}"
        order = names.match_labels(entry.name, dataset.classes, where)
    items = _items(dataset, order)
    if entry.name == "eurosat_clip":
        return _eurosat(items, split)
    return items


def _open(cls: type, options: dict[str, Any], source: Path, download: bool):
    try:
        try:
            return cls(str(source), **options)
        except (RuntimeError, OSError) as error:
            absent = error
        if not download:
            raise absent
        return cls(str(source), **options, download=True)
    except TypeError:  # a class that cannot download
        error = absent
    except (RuntimeError, OSError, ValueError, ImportError) as failure:
        error = failure
    reason = one_line(error)
    name = f"torchvision.datasets.{cls.__name__}"
    raise NotDone(
        f"{name} could not be read: {reason}. If need be, put its files into {source} as the documentation of {name} says, "
        "and run the command again"
    ) from error


def _items(dataset, order: Sequence[int]):
    """Return the files of a dataset, to be copied as they are; else its images."""
    pairs = getattr(dataset, "samples", None) or getattr(dataset, "_samples", None)
    files = getattr(dataset, "_image_files", None) or getattr(dataset, "_images", None)
    if files:
        pairs = list(zip(files, dataset._labels, strict=True))
    if pairs and isinstance(pairs[0][0], str | Path):
        return [(Path(path), (order[int(label)],)) for path, label in pairs]
    if hasattr(dataset, "targets"):
        labels = dataset.targets
    elif pairs:
        labels = [label for _, label in pairs]
    else:
        labels = [dataset[k][1] for k in range(len(dataset))]
    items: list[Item] = []
    for k, label in enumerate(labels):
        if label is None:
            raise NotDone(
                "the copy has no labels of the test images; torchvision.datasets.FER2013 has them from fer2013.csv alone"
            )
        items.append((lambda k=k: dataset[k][0], (order[int(label)],)))
    return items


def _objects(annotation: str, classes: Sequence[str]) -> tuple[int, ...]:
    """Return the labels of the objects in a file of VOC that are not difficult."""
    shown = set()
    for item in ElementTree.parse(annotation).getroot().iter("object"):
        name = (item.findtext("name") or "").strip()
        if name not in classes:
            raise ValueError(f"{annotation}: {name!r} is no class of the set")
        if (item.findtext("difficult") or "0").strip() == "0":
            shown.add(list(classes).index(name))
    return tuple(sorted(shown))


def _caltech(folder: Path, split: str):
    """Return images of all 102 folders (torchvision leaves the background out)."""
    folders = [child.name for child in folder.iterdir() if child.is_dir()]
    folders.sort(key=str.lower)
    # the list of class names has the centred faces (Faces_easy) first
    if {"Faces", "Faces_easy"} <= set(folders):
        first, second = folders.index("Faces"), folders.index("Faces_easy")
        folders[first], folders[second] = folders[second], folders[first]
    generator = random.Random(0)
    items: list[Item] = []
    for label, inner in enumerate(folders):
        files = sorted(Path(folder, inner).glob("*.jpg"))
        count = min(CALTECH_TRAIN, len(files) // 2)
        sampled = set(generator.sample(files, count))
        for file in files:
            if (file in sampled) == (split == "train"):
                items.append((file, (label,)))
    return items


def _eurosat(items: list[Item], split: str) -> list[Item]:
    """Return the split's images of each class: one of three disjoint samples."""
    generator = random.Random(0)
    groups = grouped(items, lambda item: item[1])
    chosen = []
    for _, group in sorted(groups.items()):
        each = min(EUROSAT_EACH, len(group) // 3)
        start = SPLITS.index(split) * each
        chosen += generator.sample(group, 3 * each)[start : start + each]
    return sorted(chosen)
