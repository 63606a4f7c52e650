"""Reading the index files of a set to the end, however damaged they are: each fault is
a finding, none stops it.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets.catalog import names
from datasets.catalog.entries import SPLITS, Entry
from datasets.io.index_files import (
    MOST_CLASSES,
    Row,
    leads_outside,
    parse_coco,
    parse_iris,
)
from datasets.io.split_files import parse_split
from toolkit.common.structured import parse_json

from . import annotations
from .report import Report


@dataclass
class Listing:
    """The images of one split, and its index's class names in label order, if any."""

    rows: list[Row]
    names: list[str] | None = None


class Reader:
    """Reads the files of a set below the data root and adds their faults to `report`."""

    def __init__(self, entry: Entry, root: Path, report: Report):
        self.entry = entry
        self.folder = root / entry.folder
        self.report = report

    def read(self) -> dict[str, Listing]:
        """Return the splits that can be read."""
        entry = self.entry
        if entry.layout in ("iris", "coco"):
            return self._indexed()
        if entry.split_json and (self.folder / entry.split_json).exists():
            content = self._json(entry.split_json)
            if content is None:
                return {}
            return self._split(content, self.where(entry.split_json))
        if not self._has_annotations():
            return {}
        try:  # readers that stop at the first fault
            if entry.layout == "folders":
                return self._class_folders()
            rows = annotations.split_rows(entry.name, str(self.folder))
            content = {split: list(map(list, rows[split])) for split in rows}
            return self._split(content, entry.folder)
        except (OSError, ValueError, KeyError) as error:
            self.report.error("annotations", entry.folder, str(error))
            return {}

    def where(self, file: str) -> str:
        """Return the name of a file in findings."""
        return f"{self.entry.folder}/{file}"

    def _text(self, file: str, kind: str = "index") -> str | None:
        """Return the text of a file, or None after a finding `<fault>-<kind>`."""
        path = self.folder / file
        try:
            return path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            kind, message = f"missing-{kind}", f"the file does not exist{near(path)}"
        except UnicodeDecodeError as error:
            kind, message = f"unreadable-{kind}", f"not UTF-8 text: {error}"
        except OSError as error:
            kind, message = f"unreadable-{kind}", str(error)
        self.report.error(kind, self.where(file), message)
        return None

    def _json(self, file: str) -> Any:
        """Return the content of a json file, or None after a finding."""
        text = self._text(file)
        if text is None:
            return None
        try:
            return parse_json(text, "")
        except ValueError as error:  # ":<line>: <message>"
            line, _, message = str(error).rpartition(": not valid json: ")
            where = f"{self.where(file)}{line}"
            self.report.error("index-syntax", where, f"not valid json: {message}")
            return None

    def _labelmap(self) -> list[str] | None:
        file = self.entry.labelmap
        text = self._text(file, "labelmap")
        if text is None:
            return None
        lines = [line.strip() for line in text.rstrip().split("\n")]
        first: dict[str, int] = {}
        for number, line in enumerate(lines, start=1):
            where = f"{self.where(file)}:{number}"
            if not line and text.strip():
                message = "a blank line among the class names"
                self.report.warn("labelmap-blank", where, message)
            elif line in first:
                message = f"the name {line!r} is also on line {first[line]}"
                self.report.warn("labelmap-twice", where, message)
            first.setdefault(line, number)
        classes = [line for line in lines if line]
        self._check_names(classes, self.where(file))
        return classes

    def _indexed(self) -> dict[str, Listing]:
        """Return the splits of an IRIS or COCO set; optional ones may be absent."""
        entry, folder = self.entry, str(self.folder)
        classes = self._labelmap() if entry.labelmap else None
        splits = {}
        for split, index in entry.indexes.items():
            is_optional = split == "val" or entry.images.get(split) == 0
            if is_optional and not (self.folder / index).exists():
                continue
            read = self._text if entry.layout == "iris" else self._json
            content, where = read(index), self.where(index)
            if content is None:
                continue
            if entry.layout == "iris":
                rows = parse_iris(content, where, folder, self.report.error)
            else:
                rows, classes = parse_coco(content, where, folder, self.report.error)
                self._check_names(classes, where)
            splits[split] = Listing(self._inside(rows), classes)
        if {"train", "test"} <= splits.keys():
            if splits["train"].names != splits["test"].names:
                message = f"the categories are not those of {entry.indexes['train']}"
                where = self.where(entry.indexes["test"])
                self.report.error("label-names", where, message)
        return splits

    def _has_annotations(self) -> bool:
        """Report missing annotations; return if the set can be read without."""
        entry = self.entry
        files = entry.annotations
        missing = [file for file in files if not (self.folder / file).exists()]
        is_optional = entry.layout == "folders"  # the usual class names are known
        if is_optional or not entry.split_json:
            level = self.report.warn if is_optional else self.report.error
            for file in missing:
                message = f"the file does not exist{near(self.folder / file)}"
                level("missing-index", self.where(file), message)
            return is_optional or not missing
        level, message = self.report.warn, "; a split is made from the raw annotations"
        if missing:
            level = self.report.error
            message = f", and {', '.join(missing)} to make one from"
        message = f"the published split does not exist{message}"
        level("missing-index", self.where(entry.split_json), message)
        return not missing

    def _class_folders(self) -> dict[str, Listing]:
        """Return the splits of ImageNet or a variant, read by the task itself."""
        from dassl.data.datasets import DATASET_REGISTRY

        from .. import register_all

        register_all()
        entry = self.entry
        cls = DATASET_REGISTRY.get(entry.name)
        splits = cls.__new__(cls).read(str(self.folder))
        listings = {}
        for split, samples in zip(SPLITS, splits, strict=True):
            if entry.images.get(split) or not entry.images:
                where = f"{entry.folder}: {split}"
                rows = []
                for item in samples:
                    rows.append(Row(where, item.key, item.labels, item.impath))
                listings[split] = Listing(rows)
        return listings

    def _split(self, content: Any, source: str) -> dict[str, Listing]:
        """Return the splits of the content of a split file, whose name is `source`."""
        images = os.path.join(self.folder, self.entry.image_dir)
        splits = parse_split(content, source, images, self.report.error)
        named: dict[int, str] = {}
        for rows in splits.values():
            for row in self._inside(rows):
                label = row.labels[0]
                first = named.setdefault(label, row.classname)
                if first != row.classname:
                    message = f"label {label} is called {row.classname!r} here, but {first!r} before"
                    self.report.error("label-names", row.where, message)
        count = 1 + max(named, default=-1)
        classes = [named.get(label, "") for label in range(min(count, MOST_CLASSES))]
        return {split: Listing(rows, classes) for split, rows in splits.items()}

    def _inside(self, rows: list[Row]):
        """Report paths that lead out of the set's folder."""
        for row in rows:
            if leads_outside(row.key):
                message = f"the path {row.key!r} leads out of the set's folder"
                self.report.error("path-outside", row.where, message)
        return rows

    def _check_names(self, found: list[str], where: str):
        """Report class names that are not those of the set, however spelled."""
        name, classes = self.entry.name, self.entry.classes
        if len(found) != classes:
            message = f"{len(found)} class names, but {name} has {classes} classes"
            self.report.error("labelmap-size", where, message)
        elif self.entry.suite == "elevater":
            try:
                names.match_labels(name, found, where)
            except ValueError as error:
                message = str(error).removeprefix(f"{where}: ")
                self.report.error("labelmap-name", where, message)


def near(path: Path) -> str:
    """Return a hint at a file beside `path` whose name differs in case only, or ""."""
    for other in path.parent.glob("*"):
        if other.name.lower() == path.name.lower() and other.name != path.name:
            return f", but {other.name} does"
    return ""
