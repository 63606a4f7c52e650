"""Metadata of every known set: its folder, size, metric and sources. No data are read.
They come from `elevater_sets.yaml`, `coop_sets.yaml` and the pocket suite; class names
are in `names`.
"""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from datasets.pocket.specs import catalog_entries
from toolkit.common.structured import read_yaml
from toolkit.common.suggest import nearest

HERE = Path(__file__).parent
SPLITS = ("train", "val", "test")
SUITES = ("coop", "imagenet-variant", "elevater", "pocket")
Fields = dict[str, Any]
ELEVATER_BLOBS = "https://cvinthewildeus.blob.core.windows.net/datasets"


@dataclass(frozen=True)
class Entry:
    """One set; its paths are relative to `folder`."""

    name: str  # the registered one
    suite: str  # one of `SUITES`
    folder: str  # below the data root, or `datasets.pocket.home()`
    # "iris" or "coco" (ELEVATER: index files and zips), "coop" (a split file and loose
    # images) or "folders" (a folder a class)
    layout: str
    classes: int
    images: dict[str, int | None]  # split -> images as published; None: not stated
    metric: str = "accuracy"
    label_kind: str = "multiclass"
    files: tuple[str, ...] = ()  # required files and folders
    zips: tuple[str, ...] = ()  # those of `files` that are zips
    downloads: tuple[tuple[str, str], ...] = ()  # (URL or "gdrive:<id>", path)
    torchvision: str = ""  # the class in `torchvision.datasets` with the same images
    note: str = ""  # a sentence or two for users
    indexes: dict[str, str] = field(default_factory=dict)  # split -> index file
    split_zips: dict[str, str] = field(default_factory=dict)  # split -> zip of images
    labelmap: str = ""  # file of class names ("iris")
    image_dir: str = ""  # folder of the split's paths ("coop", "folders")
    split_json: str = ""  # CoOp's published split ("coop"), or "" if there are lists
    annotations: tuple[str, ...] = ()  # raw, to make a split from without `split_json`
    crop: str = "crop"
    template: str = ""  # CoOp's
    class_names: tuple[str, ...] = ()  # of a pocket task; other sets' are in files
    templates: tuple[str, ...] = ()  # likewise


@cache
def _entries() -> dict[str, Entry]:
    known = []
    for name, fields in read_yaml(HERE / "coop_sets.yaml").items():
        known.append(_coop(name, fields))
    for name, fields in read_yaml(HERE / "elevater_sets.yaml").items():
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
