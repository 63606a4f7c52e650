"""Examine the files of a set: what is missing, damaged or contradicts itself. Nothing is changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from datasets.catalog import names
from datasets.catalog.entries import Entry

from . import ORDER_FILE, contents
from .findings import Report
from .listings import Listing, Reader, Row, near, repeated

Progress = Callable[[int], None]


def examine(
    entry: Entry, root: str | Path, quick: bool = False, workers: int = 2, progress: Progress = lambda count: None
) -> Report:
    """All that is wrong with the files of a set.

    Args:
        root: the data root.
        quick: look at index files and the directories of zips alone; no image is read, so no CRC is checked.
        workers: threads that read images.
        progress: is told how many images have been read since it was told last.
    """
    root = Path(root)
    report = Report(entry.name, entry.folder)
    if not (root / entry.folder).is_dir() or not any((root / entry.folder).iterdir()):
        report.missing = True
        report.error(
            "missing-folder", entry.folder, f"the folder does not exist, or is empty{near(root / entry.folder)}"
        )
        return report
    _check_files(entry, root, report)
    splits = _read(entry, root, report)
    members = contents.Members(root, report)
    for zip_file in entry.zips:
        members.of(str(root / entry.folder / zip_file))
    present: dict[str, list[Row]] = {}
    for split, listing in splits.items():
        report.images[split] = len(listing.rows)
        _check_rows(entry, split, listing, report)
        present[split] = contents.check_present(_unique(listing.rows), members, report)
    _check_counts(entry, splits, root, report)
    train, test = present.get("train", []), present.get("test", [])
    contents.check_overlap(train, test, members, report, loose=not quick)
    if not quick:
        rows = [row for split in present.values() for row in split]
        contents.check_readable(rows, root, members, report, workers, progress)
    return report


def _check_files(entry: Entry, root: Path, report: Report) -> None:
    """What the catalogue asks for, but for the files whose readers complain themselves; what a stopped download left; whose copy it is."""
    folder = root / entry.folder
    told = {*entry.zips, *entry.indexes.values(), entry.labelmap, entry.split_json, *entry.annotations}
    for file in entry.files:
        path = folder / file
        if entry.layout == "folders" and not path.exists():  # as in MVLPT, without the folder around
            path = folder / file.removeprefix(f"{entry.image_dir}/")
        if file not in told and not path.exists():
            report.error("missing-file", f"{entry.folder}/{file}", f"it does not exist{near(path)}")
    for part in sorted(folder.rglob(".*.part")):
        where = part.relative_to(root).as_posix()
        report.warn(
            "unfinished-download", where, "a download that was stopped; the same download command goes on with it"
        )
    order = folder / ORDER_FILE
    if order.is_file():
        try:
            content = json.loads(order.read_text(encoding="utf-8"))
            source = content.get("source", "elsewhere") if isinstance(content, dict) else "elsewhere"
        except ValueError:
            source = "elsewhere"
        message = (
            f"made from {source}: the order of the test images is not ELEVATER's, so predictions cannot be submitted"
        )
        report.warn("unofficial-order", f"{entry.folder}/{ORDER_FILE}", message)


def _read(entry: Entry, root: Path, report: Report) -> dict[str, Listing]:
    """The splits that can be read."""
    reader = Reader(root, entry.folder, report)
    if entry.layout in ("iris", "coco"):
        return _read_elevater(entry, root, reader)
    if entry.split_json and (root / entry.folder / entry.split_json).exists():
        return reader.split_json(entry.split_json, entry.image_dir) or {}
    return _read_annotations(entry, root, report)


def _read_elevater(entry: Entry, root: Path, reader: Reader) -> dict[str, Listing]:
    splits: dict[str, Listing] = {}
    named = reader.labelmap(entry.labelmap) if entry.labelmap else None
    if named is not None:
        _check_names(entry, named, reader.where(entry.labelmap), reader.report)
    for split, index in entry.indexes.items():
        unused = split == "val" or entry.images.get(split) == 0
        if unused and not (root / entry.folder / index).exists():
            continue
        listing = reader.iris(index) if entry.layout == "iris" else reader.coco(index)
        if listing is None:
            continue
        if entry.layout == "iris":
            listing.names = named
        else:
            _check_names(entry, listing.names or [], reader.where(index), reader.report)
        splits[split] = listing
    if entry.layout == "coco" and {"train", "test"} <= set(splits) and splits["train"].names != splits["test"].names:
        reader.report.error(
            "label-names",
            reader.where(entry.indexes["test"]),
            f"the categories are not those of {entry.indexes['train']}",
        )
    return splits


def _check_names(entry: Entry, named: list[str], where: str, report: Report) -> None:
    """Are these the class names of the set, however spelt?"""
    if len(named) != entry.classes:
        report.error("labelmap-size", where, f"{len(named)} class names, but {entry.name} has {entry.classes} classes")
    elif entry.suite == "elevater":
        try:
            names.match(entry.name, named, where)
        except ValueError as error:
            report.error("labelmap-name", where, str(error).removeprefix(f"{where}: "))


def _read_annotations(entry: Entry, root: Path, report: Report) -> dict[str, Listing]:
    """A set without a split file, read by its own loader, which stops at the first fault."""
    from dassl.data.datasets import DATASET_REGISTRY

    from .. import register_all

    register_all()
    if entry.name not in DATASET_REGISTRY.registered_names():
        return {}
    cls = DATASET_REGISTRY.get(entry.name)
    folder = root / entry.folder
    lacking = [file for file in entry.annotations if not (folder / file).exists()]
    if entry.split_json:
        also = (
            f", and {', '.join(lacking)} to make one from" if lacking else "; a split is made from the raw annotations"
        )
        level = report.error if lacking else report.warn
        level("missing-index", f"{entry.folder}/{entry.split_json}", f"the published split does not exist{also}")
    else:
        for file in lacking:
            optional = entry.layout == "folders"  # the class names that everybody uses are known
            level = report.warn if optional else report.error
            level("missing-index", f"{entry.folder}/{file}", f"the file does not exist{near(folder / file)}")
    if lacking and entry.layout != "folders":
        return {}
    try:
        splits = cls.__new__(cls).read(str(folder))
    except (OSError, ValueError, KeyError) as error:
        report.error("annotations", entry.folder, str(error))
        return {}
    listings = {}
    for split, samples in zip(("train", "val", "test"), splits, strict=True):
        if entry.images.get(split, 0 if entry.images else None) != 0:
            rows = [
                Row(f"{entry.folder}: {split}", sample.key, tuple(sample.labels), sample.impath) for sample in samples
            ]
            listings[split] = Listing(rows)
    return listings


def _check_rows(entry: Entry, split: str, listing: Listing, report: Report) -> None:
    """Labels and paths of one split."""
    classes = len(listing.names) if listing.names and entry.layout in ("iris", "coco") else entry.classes
    for row in listing.rows:
        wrong = [label for label in row.labels if not 0 <= label < classes]
        if wrong:
            report.error(
                "label-range",
                row.where,
                f"label {wrong[0]} is out of range: there are {classes} classes, counted from 0",
            )
        if entry.label_kind == "multiclass" and len(row.labels) != 1:
            kind = "no-label" if not row.labels else "many-labels"
            report.error(
                kind, row.where, f"{row.key} has {len(row.labels) or 'no'} labels, but {entry.name} is multiclass"
            )
        for label in repeated(list(row.labels)):
            report.warn("label-twice", row.where, f"{row.key} has the label {label} more than once")
    first: dict[str, Row] = {}
    for row in listing.rows:
        if row.key in first:
            report.error("image-twice", row.where, f"{row.key} is listed before ({first[row.key].where})")
        first.setdefault(row.key, row)
    shown = Counter(label for row in listing.rows for label in row.labels)
    absent = [label for label in range(classes) if label not in shown]
    if listing.rows and absent and split != "val":
        names = ", ".join(f"{label} ({listing.names[label]})" if listing.names else str(label) for label in absent[:3])
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        level = report.error if split == "train" else report.warn
        level("empty-class", f"{entry.folder}: {split}", f"no image of class {names}{more}")


def _check_counts(entry: Entry, splits: dict[str, Listing], root: Path, report: Report) -> None:
    """Numbers of images against the published ones. ELEVATER's own val split is used by nobody, so a difference there is a warning."""
    for split, listing in splits.items():
        expected = entry.images.get(split)
        place = entry.indexes.get(split) or (
            entry.split_json if (root / entry.folder / entry.split_json).is_file() else ""
        )
        where = (
            f"{entry.folder}/{place}"
            if entry.indexes.get(split)
            else f"{entry.folder}{'/' if place else ''}{place}: {split}"
        )
        if not listing.rows:
            report.error("no-images", where, "no image is listed")
        elif expected and len(listing.rows) != expected:
            level = report.warn if split == "val" and entry.layout in ("iris", "coco") else report.error
            level("image-count", where, f"{len(listing.rows)} images, but {entry.name} has {expected}")


def _unique(rows: list[Row]) -> list[Row]:
    return list({row.path: row for row in reversed(rows)}.values())[::-1]
