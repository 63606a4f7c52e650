"""The entries of the catalog of data sets for the pocket tasks."""

from __future__ import annotations

from typing import Any

from .specs import SPECS, Spec
from .suite import folder_of

DIGITS = 1797  # images of scikit-learn's digits


def catalog_entries() -> list[dict[str, Any]]:
    """Return the fields of a catalog entry for each pocket task."""
    return [_entry(spec) for spec in SPECS.values()]


def file_names(spec: Spec) -> dict[str, Any]:
    """Return the files that a task's layout has, as fields of a catalog entry."""
    if spec.layout == "coop":
        return {
            "files": ("split.json", "images"),
            "image_dir": "images",
            "split_json": "split.json",
        }
    if spec.layout == "iris":
        suffix, labelmap, zips = "txt", "labels.txt", ("train.zip", "test.zip")
    else:
        suffix, labelmap, zips = "json", "", ("images.zip",)
    indexes = {split: f"{split}.{suffix}" for split in ("train", "test")}
    files = tuple(file for file in (labelmap, *indexes.values(), *zips) if file)
    return {"files": files, "zips": zips, "indexes": indexes, "labelmap": labelmap}


def _entry(spec: Spec) -> dict[str, Any]:
    return {
        "name": spec.task,
        "suite": "pocket",
        "folder": folder_of(spec),
        "layout": spec.layout,
        "classes": len(spec.classes),
        "images": _image_counts(spec),
        "metric": spec.metric,
        "label_kind": spec.label_kind,
        "note": f"Rendered on first use; plays the part of {spec.like}.",
        "class_names": tuple(spec.classes.values()),
        "templates": tuple(spec.templates),
        **file_names(spec),
    }


def _image_counts(spec: Spec) -> dict[str, int]:
    classes = len(spec.classes)
    counts = {"train": spec.train * classes, "test": spec.test}
    if spec.layout == "coop":
        counts = {
            "train": counts["train"],
            "val": spec.val * classes,
            "test": spec.test,
        }
        return {split: count for split, count in counts.items() if count}
    if spec.family == "handwritten":
        counts["train"] = DIGITS - spec.test
    return counts
