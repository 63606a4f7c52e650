"""What is known of every set without looking at any data: where it lies, how large it is, how it is scored and where it comes from.

The facts stand in `elevater_sets.yaml`, `coop_sets.yaml` and the pocket suite's specs; the class names in `names`.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

SUITES = ("coop", "imagenet-variant", "elevater", "pocket")
LAYOUTS = ("coop", "iris", "coco", "folders")
ELEVATER_BLOBS = "https://cvinthewildeus.blob.core.windows.net/datasets"
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Entry:
    """One set.

    Attributes:
        name: what it is registered under.
        suite: one of `SUITES`.
        folder: its folder below the data root ("pocket": below `datasets.pocket.home()`).
        layout: "iris" or "coco" (ELEVATER: index files and zips), "coop" (a split file and loose images) or "folders" (a folder a class).
        classes: how many.
        images: split -> number of images as published, or None where nobody says.
        metric, label_kind: as in `Task`.
        files: what must be there, relative to `folder`; may name folders.
        zips: those of `files` that are zips.
        downloads: (URL or "gdrive:<id>", where to put it relative to `folder`).
        torchvision: the class in `torchvision.datasets` that reads the same images, or "".
        note: what else one has to know, a sentence or two.
        indexes: split -> index file ("iris", "coco"); without the splits that are not there.
        labelmap: file of class names ("iris").
        image_dir: folder that the split's paths are relative to ("coop", "folders").
        split_json: CoOp's published split ("coop"), or "" where the set brings its own lists.
        annotations: raw annotations that a split is made from where `split_json` is absent.
        crop: as in `Task`.
        template: CoOp's for the set, where it has one.
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
    labelmap: str = ""
    image_dir: str = ""
    split_json: str = ""
    annotations: tuple[str, ...] = ()
    crop: str = "crop"
    template: str = ""


@cache
def _entries() -> dict[str, Entry]:
    from datasets.pocket.specs import SPECS

    entries = [_coop(name, facts) for name, facts in read_facts("coop_sets.yaml").items()]
    entries += [_elevater(name, facts) for name, facts in read_facts("elevater_sets.yaml").items()]
    entries += [_pocket(spec) for spec in SPECS.values()]
    return {entry.name: entry for entry in entries}


def entries() -> dict[str, Entry]:
    """All sets by name: CoOp's 11 and the 4 variants of ImageNet, ELEVATER's 20 and imagenet-1k, the 35 pocket tasks."""
    return dict(_entries())


def entry(name: str) -> Entry:
    """The set called `name`. Raises ValueError with the nearest names where there is none."""
    known = _entries()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.0)
        raise ValueError(f"no set is called {name!r}; the nearest names are {', '.join(near)}")
    return known[name]


def show(name: str) -> dict:
    """{"name", "suite", "classes": names in label order, "metric", "label_kind", "templates"}; no data are needed."""
    from . import names

    known = entry(name)
    return {
        "name": name,
        "suite": known.suite,
        "classes": names.class_names(name),
        "metric": known.metric,
        "label_kind": known.label_kind,
        "templates": names.templates(name),
    }


def read_facts(file: str) -> dict[str, dict]:
    """A YAML file of facts of this folder: set -> facts."""
    return yaml.safe_load((_HERE / file).read_text(encoding="utf-8"))


def _unique(*paths: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(path for path in paths if path))


def _elevater(name: str, facts: dict) -> Entry:
    layout = facts.get("format", "iris")
    suffix = "txt" if layout == "iris" else "json"
    splits = {split: facts[split] for split in ("train", "val", "test") if split in facts}
    usable = {split: stated for split, stated in splits.items() if stated["images"]}
    indexes = {split: stated.get("index", f"{split}.{suffix}") for split, stated in splits.items()}
    labelmap = facts.get("labelmap", "labels.txt") if layout == "iris" else ""
    needed = [split for split in usable if split != "val"]  # ELEVATER's own val split is never used
    zips = _unique(*(splits[split].get("zip", f"{split}.zip") for split in needed))
    folder = f"classification/{facts['folder']}"
    files = _unique(labelmap, *(indexes[split] for split in needed), *zips)
    return Entry(
        name,
        "elevater",
        folder,
        layout,
        facts["classes"],
        {split: stated["images"] for split, stated in splits.items()},
        facts.get("metric", "accuracy"),
        facts.get("label_kind", "multiclass"),
        files,
        zips,
        tuple((f"{ELEVATER_BLOBS}/{folder}/{file}", file) for file in files),
        facts.get("torchvision", ""),
        facts.get("note", ""),
        indexes=indexes,
        labelmap=labelmap,
        crop=facts.get("crop", "crop"),
    )


def _coop(name: str, facts: dict) -> Entry:
    split, annotations = facts.get("split", ""), tuple(facts.get("annotations", ()))
    layout = "folders" if name.startswith("ImageNet") else "coop"
    places = [facts["image_dir"]] if facts["image_dir"] else ["cars_train", "cars_test"]
    if name == "ImageNet":
        places = ["images/train", "images/val"]
    return Entry(
        name,
        facts.get("suite", "coop"),
        facts["folder"],
        layout,
        facts["classes"],
        facts["images"],
        files=_unique(*([split] if split else annotations), *places),
        downloads=tuple(facts.get("downloads", {}).items()),
        note=facts.get("note", ""),
        image_dir=facts["image_dir"],
        split_json=split,
        annotations=annotations,
        template=facts.get("template", ""),
    )


def _pocket(spec) -> Entry:
    from datasets.pocket.suite import folder_of

    classes, folder = len(spec.classes), folder_of(spec)
    facts = {
        "metric": spec.metric,
        "label_kind": spec.label_kind,
        "note": f"Rendered on first use; plays the part of {spec.like}.",
    }
    if spec.layout == "coop":
        images = {"train": spec.train * classes, "val": spec.val * classes, "test": spec.test}
        images = {split: count for split, count in images.items() if count}
        files = ("split.json", "images")
        facts |= {"files": files, "image_dir": "images", "split_json": "split.json"}
        return Entry(spec.task, "pocket", folder, "coop", classes, images, **facts)
    suffix, labelmap = ("txt", "labels.txt") if spec.layout == "iris" else ("json", "")
    zips = ("train.zip", "test.zip") if spec.layout == "iris" else ("images.zip",)
    train = 1797 - spec.test if spec.family == "handwritten" else spec.train * classes
    indexes = {split: f"{split}.{suffix}" for split in ("train", "test")}
    files = _unique(labelmap, *indexes.values(), *zips)
    return Entry(
        spec.task,
        "pocket",
        folder,
        spec.layout,
        classes,
        {"train": train, "test": spec.test},
        files=files,
        zips=zips,
        indexes=indexes,
        labelmap=labelmap,
        **facts,
    )
