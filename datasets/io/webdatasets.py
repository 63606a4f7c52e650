"""Webdatasets as CLIP_benchmark writes them: tars with an image and a label a sample,
and a class list beside them.

classnames.txt                        a class a line, in label order
zeroshot_classification_templates.txt optional, "{c}" is the class
dataset_type.txt                      optional: multilabel
train/nshards.txt, train/0.tar, ...   members s0000000.webp and s0000000.cls (or .npy, a 0/1 vector)

Shards may also be called train-000000.tar, and folders by other usual names of splits.
"""

import functools
import io
import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from toolkit.common.files import decode_text
from toolkit.common.image_files import has_image_suffix, is_hidden

from .packed import (
    NAMES_FILE,
    Collection,
    PackedImage,
    image_suffix,
    read_class_list,
    require_labels,
)
from .split_names import split_of
from .tar_files import tar_members

TEMPLATES_FILE = "zeroshot_classification_templates.txt"
TYPE_FILE = "dataset_type.txt"
SHARDS_FILE = "nshards.txt"
LABELS = ("cls", "npy")
MAX_LABEL = 1 << 20  # bytes of a label's file
_INTEGER = re.compile(rb"\s*\d{1,9}\s*")
_SHARD = re.compile(r"(?P<prefix>.*?)(?P<number>\d{1,9})")
_COUNT = re.compile(r"\s*[1-9]\d{0,8}\s*")


def read_webdataset(path: Path) -> Collection:
    """Return the images of a folder of shards, read as they are asked for. Raises
    FileNotFoundError if the folder, the class list or a shard is missing, and
    ValueError for other faults; streams raise it with tar and member.
    """
    if not path.is_dir():
        raise FileNotFoundError(f"no folder {path}")
    kind = _text(path / TYPE_FILE).strip()
    if kind not in ("", "multiclass", "classification", "multilabel"):
        raise ValueError(f"{path / TYPE_FILE}: {kind!r} is no kind of classification")
    names_file = path / NAMES_FILE
    if not names_file.is_file():
        message = f"no class list {names_file}: a line a class, in label order"
        raise FileNotFoundError(message)
    classnames = read_class_list(names_file)
    multilabel = kind == "multilabel"
    splits = {}
    for split, folder in _split_folders(path).items():
        source = (_shards(folder), classnames, str(names_file), multilabel)
        splits[split] = functools.partial(_read, *source)
    if not splits:
        raise ValueError(
            f"{path} has none of the folders train, val and test with shards 0.tar, 1.tar, ..."
        )
    lines = _text(path / TEMPLATES_FILE).replace("{c}", "{}").splitlines()
    templates = tuple(line.strip() for line in lines if "{}" in line)
    return Collection(classnames, str(names_file), splits, multilabel, templates)


def _text(path: Path) -> str:
    """Return the text of an optional file."""
    if not path.is_file():
        return ""
    return decode_text(path.read_bytes(), str(path))


def _split_folders(path: Path) -> dict[str, Path]:
    """Return split -> its folder, in the order train, val, test."""
    found: dict[str, Path] = {}
    for folder in sorted(path.iterdir()):
        split = split_of(folder.name)
        if not split or is_hidden(folder.name) or not folder.is_dir():
            continue
        if split in found:
            raise ValueError(
                f"{path} has several folders for one split: {found[split].name}, {folder.name}"
            )
        found[split] = folder
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def _shards(folder: Path) -> list[Path]:
    """Return the tars of a split in order. Raises an error if one is missing."""
    known: dict[int, Path] = {}
    for path in sorted(folder.glob("*.tar")):
        name = _SHARD.fullmatch(path.stem)
        if is_hidden(path.name):
            continue
        if not name:
            raise ValueError(f"{path} has no number, unlike a shard such as 0.tar")
        number = int(name["number"])
        if number in known:
            raise ValueError(f"{known[number]} and {path} are both shard {number}")
        known[number] = path
    if not known:
        raise FileNotFoundError(f"no shard {folder / '0.tar'}")
    last = max(known)
    count = last + 1
    counter = folder / SHARDS_FILE
    if counter.is_file():
        text = _text(counter)
        if not _COUNT.fullmatch(text):
            raise ValueError(f"{counter}: {text[:40]!r} is no number of shards")
        count = int(text)
    for number in range(count):
        if number not in known:
            name = _SHARD.fullmatch(known[last].stem)  # the missing one is called alike
            digits = name["number"]
            width = len(digits) if digits.startswith("0") else 1
            missing = folder / f"{name['prefix']}{number:0{width}d}.tar"
            raise FileNotFoundError(f"no shard {missing}, though there are {count}")
    if last >= count:
        raise ValueError(f"{counter} says {count} shards, but there is {known[last]}")
    return [known[number] for number in range(count)]


def _read(tars: list[Path], classnames: list[str], names_from: str, multilabel: bool):
    """Yield the images of a split in the order of its shards."""
    seen: set[str] = set()
    for tar in tars:
        for key, files in _samples(tar):
            where = f"{tar}: {key}"
            image, suffix = _image_of(files, where)
            if key in seen:
                raise ValueError(f"{where} occurs twice in the split")
            seen.add(key)
            labels = _labels(files, len(classnames), multilabel, where)
            require_labels(labels, classnames, where, names_from)
            yield PackedImage(f"{key}.{suffix}", image, labels, where)
    if not seen:
        raise ValueError(f"{tars[0].parent} holds no sample")


def _samples(tar: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield (key, suffix -> content) of members that are alike up to the first dot."""
    key, files = "", {}
    for name, content in tar_members(tar):
        folder, _, file = name.rpartition("/")
        stem, _, suffix = file.partition(".")
        current = f"{folder}/{stem}" if folder else stem
        suffix = suffix.lstrip(".").lower()
        if current != key:
            if files:
                yield key, files
            key, files = current, {}
        if suffix in files:
            raise ValueError(f"{tar}: member {name!r} occurs twice")
        files[suffix] = content
    if files:
        yield key, files


def _image_of(files: dict[str, bytes], where: str) -> tuple[bytes, str]:
    found = [suffix for suffix in files if has_image_suffix(f".{suffix}")]
    if not found:
        raise ValueError(
            f"{where} has a label, but no image: its files are {', '.join(files)}"
        )
    if len(found) > 1:
        raise ValueError(f"{where} has {len(found)} images: {', '.join(found)}")
    image_suffix(files[found[0]], f"{where}.{found[0]}")
    return files[found[0]], found[0]


def _labels(files: dict[str, bytes], classes: int, multilabel: bool, where: str):
    found = [suffix for suffix in LABELS if suffix in files]
    if not found:
        raise ValueError(f"{where} has an image, but no label (.cls or .npy)")
    suffix = found[0]
    content = files[suffix]
    if len(content) > MAX_LABEL:
        raise ValueError(
            f"{where}.{suffix} has {len(content):,} bytes; a label has fewer"
        )
    if suffix == "cls":
        if multilabel:
            raise ValueError(f"{where}.cls holds one label, but the set is multilabel")
        if not _INTEGER.fullmatch(content):
            raise ValueError(f"{where}.cls: {content[:40]!r} is no label such as 3")
        return (int(content),)
    vector = _vector(content, f"{where}.npy")
    if not multilabel:
        raise ValueError(
            f"{where}.npy is a vector of labels, but {TYPE_FILE} does not say multilabel"
        )
    if vector.shape != (classes,):
        raise ValueError(
            f"{where}.npy has the shape {vector.shape}, but there are {classes} classes"
        )
    if not np.isin(vector, (0, 1)).all():
        raise ValueError(f"{where}.npy holds other numbers than 0 and 1")
    return tuple(map(int, np.flatnonzero(vector)))


def _vector(content: bytes, where: str) -> np.ndarray:
    """Return the numbers of a .npy file; its header is read, and nothing executed."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read_header = np.lib.format.read_array_header_2_0
        shape, _, kind = read_header(stream)
    except Exception as error:  # noqa: BLE001 - a damaged header has many kinds of errors
        raise ValueError(f"{where} is no array of numbers: {error}") from None
    if kind.kind not in "biuf":
        raise ValueError(f"{where} is no array of numbers: it holds {kind}")
    values = content[stream.tell() :]
    if len(values) != math.prod(shape) * kind.itemsize:
        raise ValueError(
            f"{where} is no array of numbers: {len(values)} bytes for the shape {shape}"
        )
    return np.frombuffer(values, kind).reshape(shape)
