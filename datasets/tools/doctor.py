"""Examine the files of a set: missing, damaged and contradictory ones.

Nothing is changed.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from datasets.catalog import names
from datasets.catalog.entries import Entry
from datasets.io.index_files import Row, repeated

from . import annotations, record
from .check_images import (
    Members,
    Progress,
    check_overlap,
    check_present,
    check_readable,
)
from .lenient_readers import Listing, Reader, near
from .report import Report


def examine(
    entry: Entry,
    root: str | Path,
    quick: bool = False,
    workers: int = 2,
    progress: Progress = lambda count: None,
) -> Report:
    """Return all that is wrong with the files of a set.

    Args:
        root: the data root.
        quick: look at index files and the directories of zips alone; no image is read,
            so no CRC is checked.
        workers: threads that read images.
        progress: is called with the number of images that were read since the last
            call.
    """
    root = Path(root)
    folder = root / entry.folder
    report = Report(entry.name, entry.folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        report.missing = True
        report.error(
            "missing-folder",
            entry.folder,
            f"the folder does not exist, or is empty{near(folder)}",
        )
        return report
    _check_files(entry, root, report)
    splits = _read(entry, root, report)
    members = Members(root, report)
    for zip_file in entry.zips:
        members.of(str(folder / zip_file))
    present: dict[str, list[Row]] = {}
    for split, listing in splits.items():
        report.images[split] = len(listing.rows)
        _check_listing(entry, split, listing, report)
        present[split] = check_present(_first_of_each(listing.rows), members, report)
    _check_counts(entry, splits, root, report)
    check_overlap(
        present.get("train", []),
        present.get("test", []),
        members,
        report,
        loose=not quick,
    )
    if not quick:
        rows = [row for split in present.values() for row in split]
        check_readable(rows, root, members, report, workers, progress)
    return report


def _first_of_each(rows: list[Row]) -> list[Row]:
    """Return the first row of each image."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row.path, row)
    return list(first.values())


# -- files -------------------------------------------------------------------------------------------------------


def _check_files(entry: Entry, root: Path, report: Report) -> None:
    """Report missing files that no reader reports, the rest of a stopped download, and
    a copy in another order.
    """
    folder = root / entry.folder
    reported_elsewhere = {
        *entry.zips,
        *entry.indexes.values(),
        entry.labelmap,
        entry.split_json,
        *entry.annotations,
    }
    for file in entry.files:
        path = folder / file
        # as in MVLPT, without the folder around
        if entry.layout == "folders" and not path.exists():
            path = folder / file.removeprefix(f"{entry.image_dir}/")
        if file not in reported_elsewhere and not path.exists():
            report.error(
                "missing-file",
                f"{entry.folder}/{file}",
                f"it does not exist{near(path)}",
            )
    for part in sorted(folder.rglob(".*.part")):
        message = "a download that was stopped; the same download command continues it"
        report.warn("unfinished-download", part.relative_to(root).as_posix(), message)
    _check_record(entry, folder, report)


def _check_record(entry: Entry, folder: Path, report: Report) -> None:
    """Report a prepared set whose test images are not the published ones, or in another
    order.
    """
    made = record.read(folder)
    if made is None or made.verdict == record.SAME:
        return
    where = f"{entry.folder}/{record.FILE}"
    if made.verdict == record.OTHER_SPLIT:
        message = f"made from {made.source}: another split{made.note}; scores on it are not comparable, and predictions"
        report.warn("another-split", where, f"{message} cannot be submitted")
    else:
        message = f"made from {made.source}: the order of the test images is not ELEVATER's{made.note}, so predictions"
        report.warn("unofficial-order", where, f"{message} cannot be submitted")


# -- index files -------------------------------------------------------------------------------------------------


def _read(entry: Entry, root: Path, report: Report) -> dict[str, Listing]:
    """Return the splits that can be read."""
    reader = Reader(root, entry.folder, report)
    if entry.layout == "iris":
        return _read_iris(entry, reader)
    if entry.layout == "coco":
        return _read_coco(entry, reader)
    if entry.split_json and (reader.path / entry.split_json).exists():
        return reader.split_json(entry.split_json, entry.image_dir)
    if not _has_annotations(entry, reader):
        return {}
    try:
        if entry.layout == "coop":
            return _read_annotations(entry, reader)
        return _read_class_folders(entry, reader)
    except (OSError, ValueError, KeyError) as error:
        report.error("annotations", entry.folder, str(error))
        return {}


def _read_iris(entry: Entry, reader: Reader) -> dict[str, Listing]:
    classes = None
    if entry.labelmap:
        classes = reader.labelmap(entry.labelmap)
    if classes is not None:
        _check_names(entry, classes, reader.where(entry.labelmap), reader.report)
    splits = {}
    for split, index in _used_indexes(entry, reader).items():
        listing = reader.iris(index)
        if listing:
            listing.names = classes
            splits[split] = listing
    return splits


def _read_coco(entry: Entry, reader: Reader) -> dict[str, Listing]:
    splits = {}
    for split, index in _used_indexes(entry, reader).items():
        listing = reader.coco(index)
        if listing:
            _check_names(entry, listing.names or [], reader.where(index), reader.report)
            splits[split] = listing
    if (
        "train" in splits
        and "test" in splits
        and splits["train"].names != splits["test"].names
    ):
        message = f"the categories are not those of {entry.indexes['train']}"
        reader.report.error("label-names", reader.where(entry.indexes["test"]), message)
    return splits


def _used_indexes(entry: Entry, reader: Reader) -> dict[str, str]:
    """Return split -> index file, without those that are not there and that nobody
    needs.
    """
    used = {}
    for split, index in entry.indexes.items():
        is_optional = split == "val" or entry.images.get(split) == 0
        if not is_optional or (reader.path / index).exists():
            used[split] = index
    return used


def _has_annotations(entry: Entry, reader: Reader) -> bool:
    """Report missing split and annotation files; return whether the set can be read
    without them.
    """
    report = reader.report
    missing = [file for file in entry.annotations if not (reader.path / file).exists()]
    if entry.layout == "folders":  # the usual class names are known
        for file in missing:
            message = f"the file does not exist{near(reader.path / file)}"
            report.warn("missing-index", reader.where(file), message)
        return True
    if not entry.split_json:
        for file in missing:
            message = f"the file does not exist{near(reader.path / file)}"
            report.error("missing-index", reader.where(file), message)
    elif missing:
        message = f"the published split does not exist, and {', '.join(missing)} to make one from"
        report.error("missing-index", reader.where(entry.split_json), message)
    else:
        message = "the published split does not exist; a split is made from the raw annotations"
        report.warn("missing-index", reader.where(entry.split_json), message)
    return not missing


def _read_annotations(entry: Entry, reader: Reader) -> dict[str, Listing]:
    """Return the splits that are made from raw annotations, whose reader stops at the
    first fault.
    """
    splits = annotations.split_rows(entry.name, str(reader.path))
    content = {split: [list(row) for row in rows] for split, rows in splits.items()}
    return reader.split_content(content, entry.folder, entry.image_dir)


def _read_class_folders(entry: Entry, reader: Reader) -> dict[str, Listing]:
    """Return the splits of ImageNet or a variant, read by the task itself, which stops
    at the first fault.
    """
    from dassl.data.datasets import DATASET_REGISTRY

    from .. import register_all

    register_all()
    cls = DATASET_REGISTRY.get(entry.name)
    splits = cls.__new__(cls).read(str(reader.path))
    by_split = {}
    for split, samples in zip(("train", "val", "test"), splits, strict=True):
        if entry.images.get(split) or not entry.images:
            where = f"{entry.folder}: {split}"
            by_split[split] = Listing(
                [Row(where, item.key, item.labels, item.impath) for item in samples]
            )
    return by_split


def _check_names(entry: Entry, found: list[str], where: str, report: Report) -> None:
    """Report class names that are not those of the set, however spelled."""
    if len(found) != entry.classes:
        report.error(
            "labelmap-size",
            where,
            f"{len(found)} class names, but {entry.name} has {entry.classes} classes",
        )
    elif entry.suite == "elevater":
        try:
            names.match(entry.name, found, where)
        except ValueError as error:
            report.error("labelmap-name", where, str(error).removeprefix(f"{where}: "))


# -- images of a split -------------------------------------------------------------------------------------------


def _check_listing(entry: Entry, split: str, listing: Listing, report: Report) -> None:
    """Report wrong labels, images that are listed twice, and classes without images."""
    classes = entry.classes
    if listing.names and entry.layout in ("iris", "coco"):
        classes = len(listing.names)
    first: dict[str, Row] = {}
    for row in listing.rows:
        _check_labels(entry, row, classes, report)
        other = first.setdefault(row.key, row)
        if other is not row:
            report.error(
                "image-twice", row.where, f"{row.key} is listed before ({other.where})"
            )
    if listing.rows and split != "val":
        _check_classes(entry, split, listing, classes, report)


def _check_labels(entry: Entry, row: Row, classes: int, report: Report) -> None:
    wrong = [label for label in row.labels if not 0 <= label < classes]
    if wrong:
        message = f"label {wrong[0]} is out of range: there are {classes} classes, counted from 0"
        report.error("label-range", row.where, message)
    if entry.label_kind == "multiclass" and len(row.labels) != 1:
        kind = "many-labels" if row.labels else "no-label"
        message = f"{row.key} has {len(row.labels) or 'no'} labels, but {entry.name} is multiclass"
        report.error(kind, row.where, message)
    for label in repeated(row.labels):
        report.warn(
            "label-twice", row.where, f"{row.key} has the label {label} more than once"
        )


def _check_classes(
    entry: Entry, split: str, listing: Listing, classes: int, report: Report
) -> None:
    shown = Counter(label for row in listing.rows for label in row.labels)
    absent = [label for label in range(classes) if label not in shown]
    if not absent:
        return
    described = []
    for label in absent[:3]:
        name = ""
        if listing.names and label < len(listing.names):
            name = f" ({listing.names[label]})"
        described.append(f"{label}{name}")
    more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
    level = report.error if split == "train" else report.warn
    level(
        "empty-class",
        f"{entry.folder}: {split}",
        f"no image of class {', '.join(described)}{more}",
    )


def _check_counts(
    entry: Entry, splits: dict[str, Listing], root: Path, report: Report
) -> None:
    """Report numbers of images that are not the published ones; a warning for
    ELEVATER's val split, which is unused.
    """
    made = record.read(root / entry.folder)
    for split, listing in splits.items():
        if split in entry.indexes:
            where = f"{entry.folder}/{entry.indexes[split]}"
        elif entry.split_json and (root / entry.folder / entry.split_json).is_file():
            where = f"{entry.folder}/{entry.split_json}: {split}"
        else:
            where = f"{entry.folder}: {split}"
        expected = entry.images.get(split)
        count = len(listing.rows)
        if not count:
            report.error("no-images", where, "no image is listed")
        elif expected and count != expected:
            is_unused = split == "val" and entry.layout in ("iris", "coco")
            is_recorded = made is not None and made.images.get(split) == count
            level = report.warn if is_unused or is_recorded else report.error
            level(
                "image-count", where, f"{count} images, but {entry.name} has {expected}"
            )
