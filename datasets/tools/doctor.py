"""Examine the files of a set: missing, damaged and contradictory ones. Nothing is
changed.
"""

from collections import Counter
from pathlib import Path

from datasets.catalog.entries import Entry
from datasets.io.index_files import Row, repeated

from . import record
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
    root: Path,
    quick: bool = False,
    workers: int = 2,
    progress: Progress = lambda count: None,
) -> Report:
    """Return all that is wrong with the files of a set below the data root. quick: read
    no image, so check no CRC. workers: threads that read images. progress: gets the
    number of images that were read since the last call.
    """
    folder = root / entry.folder
    report = Report(entry.name, entry.folder)
    if not folder.is_dir() or not any(folder.iterdir()):
        report.missing = True
        message = f"the folder does not exist, or is empty{near(folder)}"
        report.error("missing-folder", entry.folder, message)
        return report
    _check_files(entry, folder, report)
    _check_record(folder, report)
    splits = Reader(entry, root, report).read()
    members = Members(root, report)
    for zip_file in entry.zips:
        members.of(str(folder / zip_file))
    present: dict[str, list[Row]] = {}
    for split, listing in splits.items():
        report.images[split] = len(listing.rows)
        _check_listing(entry, split, listing, report)
        first: dict[str, Row] = {}
        for row in listing.rows:
            first.setdefault(row.path, row)
        present[split] = check_present(first.values(), members, report)
    _check_counts(entry, folder, report)
    check_overlap(present, members, report, loose=not quick)
    if not quick:
        paths = [row.path for rows in present.values() for row in rows]
        check_readable(paths, members, report, workers, progress)
    return report


def _check_files(entry: Entry, folder: Path, report: Report):
    """Report missing files that no reader reports, and the rest of a stopped download."""
    reported_elsewhere = {entry.labelmap, entry.split_json, *entry.indexes.values()}
    reported_elsewhere.update(entry.zips, entry.annotations)
    for file in entry.files:
        path = folder / file
        # as in MVLPT, without the folder around
        if entry.layout == "folders" and not path.exists():
            path = folder / file.removeprefix(f"{entry.image_dir}/")
        if file not in reported_elsewhere and not path.exists():
            message = f"it does not exist{near(path)}"
            report.error("missing-file", f"{entry.folder}/{file}", message)
    for part in sorted(folder.rglob(".*.part")):
        message = "a download that was stopped; the same download command continues it"
        where = f"{entry.folder}/{part.relative_to(folder).as_posix()}"
        report.warn("unfinished-download", where, message)


def _check_record(folder: Path, report: Report) -> None:
    """Report a prepared set with other test images, or in another order."""
    made = record.read(folder)
    if made is None or made.verdict == record.SAME:
        return
    kind = "unofficial-order"
    fault = f"the order of the test images is not ELEVATER's{made.note}, so"
    if made.verdict == record.OTHER_SPLIT:
        kind = "another-split"
        fault = f"another split{made.note}; scores on it are not comparable, and"
    message = f"made from {made.source}: {fault} predictions cannot be submitted"
    report.warn(kind, f"{report.folder}/{record.FILE}", message)


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
            message = f"{row.key} is listed before ({other.where})"
            report.error("image-twice", row.where, message)
    if listing.rows and split != "val":
        _check_classes(f"{entry.folder}: {split}", split, listing, classes, report)


def _check_classes(
    where: str, split: str, listing: Listing, classes: int, report: Report
) -> None:
    shown = Counter(label for row in listing.rows for label in row.labels)
    absent = [label for label in range(classes) if label not in shown]
    if not absent:
        return
    described = []
    for label in absent[:3]:
        described.append(str(label))
        if listing.names and label < len(listing.names):
            described[-1] += f" ({listing.names[label]})"
    message = f"no image of class {', '.join(described)}"
    if len(absent) > 3:
        message += f" and {len(absent) - 3} more"
    level = report.error if split == "train" else report.warn
    level("empty-class", where, message)


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
        message = f"{row.key} has the label {label} more than once"
        report.warn("label-twice", row.where, message)


def _check_counts(entry: Entry, folder: Path, report: Report):
    """Report numbers of images that are not the published ones: an error, unless they
    are in the record, or of ELEVATER's val split, which is unused.
    """
    made = record.read(folder)
    for split, count in report.images.items():
        where = f"{entry.folder}: {split}"
        if split in entry.indexes:
            where = f"{entry.folder}/{entry.indexes[split]}"
        elif entry.split_json and (folder / entry.split_json).is_file():
            where = f"{entry.folder}/{entry.split_json}: {split}"
        expected = entry.images.get(split)
        if not count:
            report.error("no-images", where, "no image is listed")
        elif expected and count != expected:
            is_unused = split == "val" and entry.layout in ("iris", "coco")
            is_recorded = made is not None and made.images.get(split) == count
            level = report.warn if is_unused or is_recorded else report.error
            message = f"{count} images, but {entry.name} has {expected}"
            level("image-count", where, message)
