"""Metadata of every known set: its folder, size, metric and sources. No data are read.

They come from `elevater_sets.yaml`, `coop_sets.yaml` and the pocket suite; class names
are in `names`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from datasets.pocket.specs import catalog_entries
from toolkit.common.structured import read_yaml
from toolkit.common.suggest import nearest

SPLITS = ("train", "val", "test")
SUITES = ("coop", "imagenet-variant", "elevater", "pocket")
Fields = dict[str, Any]
ELEVATER_BLOBS = "https://cvinthewildeus.blob.core.windows.net/datasets"


@dataclass(frozen=True)
class Entry:
    """One set.

    Attributes:
        name: its registered name.
        suite: one of `SUITES`.
        folder: its folder below the data root ("pocket": below
            `datasets.pocket.home()`).
        layout: "iris" or "coco" (ELEVATER: index files and zips), "coop" (a split file
            and loose images) or "folders" (a folder a class).
        classes: number of classes.
        images: split -> number of images as published, or None if it is not stated.
        metric, label_kind: as in `Task`.
        files: required files and folders, relative to `folder`.
        zips: those of `files` that are zips.
        downloads: (URL or "gdrive:<id>", its path relative to `folder`).
        torchvision: the class in `torchvision.datasets` that reads the same images, or
            "".
        note: a sentence or two for users.
        indexes: split -> index file ("iris", "coco"), for the splits that the set has.
        split_zips: split -> zip of its images ("iris", "coco" of ELEVATER).
        labelmap: file of class names ("iris").
        image_dir: folder that the split's paths are relative to ("coop", "folders").
        split_json: CoOp's published split ("coop"), or "" if the set has lists instead.
        annotations: raw annotations that a split is made from if `split_json` is
            absent.
        crop: as in `Task`.
        template: CoOp's template of the set, or "".
        class_names, templates: those of a pocket task; of other sets they are in files.
    """

    name: str
    suite: str
    folder: str
    layout: str
    classes: int
    images: dict[str, int | None]
    metric: str = "accuracy"
    label_kind: str = "multiclass"
    files: tuple[str, ...] = ()
    zips: tuple[str, ...] = ()
    downloads: tuple[tuple[str, str], ...] = ()
    torchvision: str = ""
    note: str = ""
    indexes: dict[str, str] = field(default_factory=dict)
    split_zips: dict[str, str] = field(default_factory=dict)
    labelmap: str = ""
    image_dir: str = ""
    split_json: str = ""
    annotations: tuple[str, ...] = ()
    crop: str = "crop"
    template: str = ""
    class_names: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()


@cache
def _entries() -> dict[str, Entry]:
    known = []
    for name, fields in _read_fields("coop_sets.yaml"):
        known.append(_coop(name, fields))
    for name, fields in _read_fields("elevater_sets.yaml"):
        known.append(_elevater(name, fields))
    known += [Entry(**fields) for fields in catalog_entries()]
    return {entry.name: entry for entry in known}


def entries() -> dict[str, Entry]:
    """Return all sets by name: CoOp's 11, 4 variants of ImageNet, ELEVATER's 20 and
    imagenet-1k, 35 pocket tasks.
    """
    return dict(_entries())


def entry(name: str) -> Entry:
    """Return the set called `name`, or raise ValueError with the nearest names."""
    known = _entries()
    if name not in known:
        names = ", ".join(nearest(name, known, count=3))
        raise ValueError(f"no set is called {name!r}; the nearest names are {names}")
    return known[name]


def _read_fields(file: str) -> Iterable[tuple[str, Fields]]:
    return read_yaml(Path(__file__).with_name(file)).items()


def _unique(*paths: str) -> tuple[str, ...]:
    return tuple(filter(None, dict.fromkeys(paths)))


def _elevater(name: str, fields: Fields) -> Entry:
    layout = fields.pop("format", "iris")
    suffix, labelmap = "json", ""
    if layout == "iris":
        suffix, labelmap = "txt", fields.pop("labelmap", "labels.txt")
    images: dict[str, int | None] = {}
    indexes: dict[str, str] = {}
    split_zips: dict[str, str] = {}
    for split in SPLITS:
        if split in fields:
            stated = fields.pop(split)
            images[split] = stated["images"]
            indexes[split] = stated.get("index", f"{split}.{suffix}")
            split_zips[split] = stated.get("zip", f"{split}.zip")
    # ELEVATER's val split is never used
    needed = [split for split in images if images[split] and split != "val"]
    zips = _unique(*(split_zips[split] for split in needed))
    files = _unique(labelmap, *(indexes[split] for split in needed), *zips)
    folder = f"classification/{fields.pop('folder')}"
    return Entry(
        name=name,
        suite="elevater",
        folder=folder,
        layout=layout,
        images=images,
        files=files,
        zips=zips,
        downloads=tuple((f"{ELEVATER_BLOBS}/{folder}/{file}", file) for file in files),
        indexes=indexes,
        split_zips=split_zips,
        labelmap=labelmap,
        **fields,
    )


def _coop(name: str, fields: Fields) -> Entry:
    image_folders = [fields["image_dir"]]
    if name == "ImageNet":
        image_folders = ["images/train", "images/val"]
    elif not fields["image_dir"]:
        image_folders = ["cars_train", "cars_test"]
    split_json = fields.pop("split", "")
    annotations = tuple(fields.pop("annotations", ()))
    lists = [split_json] if split_json else annotations
    return Entry(
        name=name,
        suite=fields.pop("suite", "coop"),
        layout="folders" if name.startswith("ImageNet") else "coop",
        files=_unique(*lists, *image_folders),
        downloads=tuple(fields.pop("downloads", {}).items()),
        split_json=split_json,
        annotations=annotations,
        **fields,
    )
