"""Split files of CoOp's sets, made once from their raw annotations if the published
split file is absent.

They follow CoOp's two rules: of a set with an official test set, a fifth of each
class's training images is for validation; of a set without one, each class is cut
50/20/30 into train, val and test. The shuffle before the cut is seeded by the set's
name, so that every machine gets the same split; it cannot be the published one, whose
seed is not known. FGVC-Aircraft has official lists of all three splits, which are taken
as they are.
"""

import hashlib
import json
import logging
import os
import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from datasets.catalog import names
from datasets.catalog.entries import SPLITS, Entry, entry
from datasets.io.index_files import read_text
from toolkit.common.files import write_text
from toolkit.common.grouping import grouped

log = logging.getLogger(__name__)

FILE = "split_from_annotations.json"  # beside the data, if their folder is writable


class Row(NamedTuple):
    """An image: its path below the image folder, its label and its class name."""

    path: str
    label: int
    name: str


# the images of each official list: train and test, all three splits, or all in one
Annotated = list[list[Row]]
Parsed = tuple[str, str, str]  # path, class in the class list, class name


def find_split_file(name: str, folder: str) -> str:
    """Return the split file of CoOp's set `name` in its folder: the published one, or
    one made from the raw annotations. Raises FileNotFoundError without either,
    ValueError for an unreadable annotation file or a class with too few images.
    """
    known = entry(name)
    published = os.path.join(folder, known.split_json)
    if known.split_json and os.path.isfile(published):
        return published
    check_available(known, folder)
    made = write_split_file(name, folder)
    if known.split_json:
        message = "%s: no published split %s; made one from the raw annotations. Scores are not comparable with published ones."
        log.warning(message, name, published)
    return str(made)


def write_split_file(name: str, folder: str) -> Path:
    """Write the split file of a set unless it is there and newer than the annotations;
    return its path, beside the data or, if their folder is not writable, in the cache.
    """
    known = entry(name)
    beside = Path(folder, FILE)
    cached = _cache_path(name, folder)
    sources = [Path(folder, file) for file in known.annotations]
    if not sources:
        images = Path(folder, known.image_dir)
        sources = [images]
        sources += filter(Path.is_dir, images.iterdir())
    changed = max(source.stat().st_mtime_ns for source in sources)
    for path in (beside, cached):
        if path.is_file() and path.stat().st_mtime_ns >= changed:
            return path
    lists = []
    for split, rows in split_rows(name, folder).items():
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        lists.append(f' "{split}": [\n  ' + ",\n  ".join(lines) + "\n ]")
    text = "{\n" + ",\n".join(lists) + "\n}\n"
    made = beside
    try:
        write_text(made, text)
    except OSError:
        made = cached
        write_text(made, text)
    log.info("%s: wrote %s from the raw annotations", name, made)
    return made


def check_available(known: Entry, folder: str) -> None:
    """Raise an error if a split of the set cannot be made from the files in `folder`."""
    if known.suite != "coop" or known.layout != "coop":
        raise ValueError(
            f"{known.name} has no split that is made from raw annotations; --from torchvision prepares ELEVATER's sets"
        )
    sources = (*known.annotations, known.image_dir)
    if all(os.path.exists(os.path.join(folder, path)) for path in sources):
        return
    needed = ", ".join(known.annotations)
    if not known.split_json:
        raise FileNotFoundError(f"{known.name}: {folder} does not have all of {needed}")
    published = os.path.join(folder, known.split_json)
    message = f"{known.name}: no split {published}, which `python -m datasets download {known.name}` fetches"
    if needed:
        message += f", nor all of {needed} to make one from"
    raise FileNotFoundError(message)


def split_rows(name: str, folder: str) -> dict[str, list[Row]]:
    """Return split -> images of CoOp's set `name` in its folder. Raises
    FileNotFoundError or ValueError for an annotation file that is missing or cannot be
    read, ValueError for a class with too few images to be split.
    """
    lists = _READERS.get(name, _folders)(name, folder)
    if len(lists) == 3:
        return dict(zip(SPLITS, lists, strict=True))
    generator = random.Random(name)
    splits: dict[str, list[Row]] = {"train": [], "val": [], "test": []}
    splits["test"] += lists[1] if len(lists) == 2 else []
    groups = grouped(lists[0], lambda row: row.label)
    for _, rows in sorted(groups.items()):
        generator.shuffle(rows)
        # CoOp rounds the fifth that goes to val
        train = round(len(rows) * 0.5)
        val = round(len(rows) * 0.2)
        if len(lists) == 2:
            train = len(rows) - val
        parts = {"train": rows[:train], "val": rows[train : train + val]}
        if len(lists) == 1:
            parts["test"] = rows[train + val :]
        if not all(parts.values()):
            raise ValueError(
                f"{name}: class {rows[0].name!r} has {len(rows)} images, too few to be split"
            )
        for split, part in parts.items():
            splits[split] += part
    return splits


def _cache_path(name: str, folder: str) -> Path:
    default = Path(__file__).resolve().parents[2] / "data" / "cache"
    home = os.environ.get("MVLPT_CACHE") or default
    real = os.path.realpath(folder).encode()
    digest = hashlib.sha256(real).hexdigest()[:12]
    return Path(home).expanduser().absolute() / "splits" / f"{name}-{digest}.json"


def _folders(name: str, folder: str) -> Annotated:
    """Read a folder a class, in the order of their names; some are left out or renamed."""
    root = Path(folder, entry(name).image_dir)
    omitted = ("BACKGROUND_Google", "Faces_easy") if name == "Caltech101" else ()
    folders = []
    for child in sorted(os.listdir(root)):
        is_hidden = child.startswith(".") or child in omitted
        if (root / child).is_dir() and not is_hidden:
            folders.append(child)
    classes, _ = names.adopt(name, folders)
    rows = []
    for label, (child, classname) in enumerate(zip(folders, classes, strict=True)):
        for file in sorted(os.listdir(root / child)):
            if not file.startswith("."):
                rows.append(Row(f"{child}/{file}", label, classname))
    return [rows]


def _pets(name: str, folder: str) -> Annotated:
    """Read lines "<image> <class id> ..."; the class is the image without number."""
    lists = []
    for file in entry(name).annotations:
        rows = []
        for where, line in _lines(folder, file):
            try:
                image, label, *_ = line.split()
                classname = image.rpartition("_")[0].lower()
                rows.append(Row(f"{image}.jpg", int(label) - 1, classname))
            except ValueError:
                raise ValueError(
                    f"{where}: expected <image> <class id> <species> <breed id>"
                ) from None
        lists.append(rows)
    return lists


def _cars(name: str, folder: str) -> Annotated:
    """Read MATLAB files; the year at the end of a name goes to its front."""
    meta, train, test = entry(name).annotations
    classes = []
    for text in _mat(folder, meta, "class_names"):
        words = str(text).split()
        classes.append(" ".join(words[-1:] + words[:-1]))

    def read(file: str, images: str) -> list[Row]:
        rows = []
        for record in _mat(folder, file, "annotations"):
            label = int(record["class"]) - 1
            rows.append(Row(f"{images}/{record['fname']}", label, classes[label]))
        return rows

    return [read(train, "cars_train"), read(test, "cars_test")]


def _flowers(name: str, folder: str) -> Annotated:
    """Read labels from 1, the i-th of image i + 1; cat_to_name.json names them."""
    labels, names_file = entry(name).annotations
    path = Path(folder, names_file)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        classes = {int(label): classname for label, classname in content.items()}
    except (AttributeError, ValueError) as error:
        raise ValueError(
            f"{path} is no json of label -> class name: {error}"
        ) from error
    rows = []
    for number, label in enumerate(_mat(folder, labels, "labels"), start=1):
        if int(label) not in classes:
            raise ValueError(f"{path} has no name for the label {int(label)}")
        rows.append(Row(f"image_{number:05d}.jpg", int(label) - 1, classes[int(label)]))
    return [rows]


def _lists(name: str, folder: str) -> Annotated:
    """Read lists with an image a line, and a file with a class a line in label order."""
    classes, *files = entry(name).annotations
    label_of = {}
    for label, (_, line) in enumerate(_lines(folder, classes)):
        if name == "UCF101":  # "1 ApplyEyeMakeup"
            number, line = line.split()
            label = int(number) - 1
        label_of[line] = label
    lists = []
    for file in files:
        rows = []
        for where, line in _lines(folder, file):
            path, listed, classname = _PARSERS[name](line)
            if listed not in label_of:
                raise ValueError(f"{where}: {listed!r} is no class of {classes}")
            rows.append(Row(path, label_of[listed], classname))
        lists.append(rows)
    return lists


def _aircraft(line: str) -> Parsed:
    """Parse "<image> <class>"."""
    image, _, variant = line.partition(" ")
    return f"{image}.jpg", variant, variant


def _scene(line: str) -> Parsed:
    """Parse SUN397: the folder is the class, /a/b/c is called "c b"."""
    scene = os.path.dirname(line)
    words = scene.split("/")[2:]
    return line.lstrip("/"), scene, " ".join(reversed(words))


def _action(line: str) -> Parsed:
    """Parse UCF101: "<Action>/<video>.avi"; the class is Apply_Eye_Makeup."""
    action, _, video = line.split()[0].partition("/")
    classname = "_".join(re.findall("[A-Z][^A-Z]*", action))
    return f"{classname}/{video.removesuffix('.avi')}.jpg", action, classname


_PARSERS = {"FGVCAircraft": _aircraft, "SUN397": _scene, "UCF101": _action}
_READERS: dict[str, Callable[[str, str], Annotated]] = {
    "OxfordPets": _pets,
    "StanfordCars": _cars,
    "OxfordFlowers": _flowers,
} | dict.fromkeys(_PARSERS, _lists)


def _lines(folder: str, file: str) -> list[tuple[str, str]]:
    """Return ("file:number", line) of the lines that are no blanks or comments."""
    path = os.path.join(folder, file)
    lines = []
    for line in read_text(path).split("\n"):
        if line.strip() and not line.startswith("#"):
            lines.append((f"{path}:{len(lines) + 1}", line.strip()))
    return lines


def _mat(folder: str, file: str, variable: str):
    """Return the entries of a variable of a MATLAB file."""
    import numpy as np
    from scipy.io import loadmat

    path = os.path.join(folder, file)
    if not os.path.isfile(path):
        raise FileNotFoundError(f"no file {path}")
    try:
        return list(np.atleast_1d(loadmat(path, squeeze_me=True)[variable]))
    except Exception as error:  # noqa: BLE001 - a damaged file has many kinds of errors
        raise ValueError(
            f"{path} is no readable MATLAB file with the variable {variable!r}: {error}"
        ) from error
