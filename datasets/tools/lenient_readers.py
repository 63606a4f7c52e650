"""What the index files of a set say, read to the end however damaged they are: every fault is a finding, none stops the reading."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets.io.index_files import split_line

from .findings import Report


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a split. `where` is its place in the index, `key` its path as the index has it, `path` that on disk."""

    where: str
    key: str
    labels: tuple[int, ...]
    path: str


@dataclass
class Listing:
    """The images of one split. `names` are class names in label order, where the index holds them."""

    rows: list[Row] = field(default_factory=list)
    names: list[str] | None = None


class Reader:
    """Reads the files of the set in `root`/`folder` and adds what is wrong with them to `report`."""

    def __init__(self, root: Path, folder: str, report: Report):
        self.root, self.folder, self.report = root, folder, report

    def where(self, file: str) -> str:
        return f"{self.folder}/{file}"

    def text(self, file: str, kind: str) -> str | None:
        """The content of a text file, or None after a finding `missing-<kind>` or `unreadable-<kind>`."""
        path = self.root / self.folder / file
        try:
            return path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            self.report.error(f"missing-{kind}", self.where(file), f"the file does not exist{near(path)}")
        except UnicodeDecodeError as error:
            self.report.error(f"unreadable-{kind}", self.where(file), f"not UTF-8 text: {error}")
        except OSError as error:
            self.report.error(f"unreadable-{kind}", self.where(file), str(error))
        return None

    def json(self, file: str) -> Any:
        """The content of a json file, or None after a finding."""
        text = self.text(file, "index")
        try:
            return None if text is None else json.loads(text)
        except json.JSONDecodeError as error:
            self.report.error("index-syntax", f"{self.where(file)}:{error.lineno}", f"not valid json: {error.msg}")
        return None

    def labelmap(self, file: str) -> list[str] | None:
        """Class names, one a line."""
        text = self.text(file, "labelmap")
        if text is None:
            return None
        lines = [line.strip() for line in text.rstrip().split("\n")]
        for number, line in enumerate(lines, start=1):
            if not line and any(lines):
                self.report.warn("labelmap-blank", f"{self.where(file)}:{number}", "a blank line among the class names")
            elif line in lines[: number - 1]:
                first = lines.index(line) + 1
                self.report.warn(
                    "labelmap-twice", f"{self.where(file)}:{number}", f"the name {line!r} is also on line {first}"
                )
        return [line for line in lines if line]

    def iris(self, file: str) -> Listing | None:
        """An index of lines `<path> <label>[,<label>...]`."""
        text = self.text(file, "index")
        if text is None:
            return None
        listing = Listing()
        for number, line in enumerate(text.split("\n"), start=1):
            if not line.strip():
                continue
            where = f"{self.where(file)}:{number}"
            try:
                key, labels = split_line(line.strip(), where)
            except ValueError as error:
                self.report.error("index-line", where, str(error).removeprefix(f"{where}: "))
                continue
            listing.rows.append(self.row(where, key, labels))
        return listing

    def coco(self, file: str) -> Listing | None:
        """A COCO json; rows by ascending image id, labels by ascending category id."""
        content = self.json(file)
        if content is None:
            return None
        place = self.where(file)
        categories = self._entries(content, "categories", ("id", "name"), place)
        images = self._entries(content, "images", ("id", "file_name"), place)
        annotations = self._entries(content, "annotations", ("image_id", "category_id"), place)
        for kind, entries in (("category", categories), ("image", images)):
            for value in repeated([entry["id"] for entry in entries]):
                self.report.error("id-twice", place, f"the {kind} id {value} occurs more than once")
        categories, images = (sorted(entries, key=_by_id) for entries in (categories, images))
        label_of = {category["id"]: label for label, category in enumerate(categories)}
        labels: dict[Any, list[int]] = {image["id"]: [] for image in images}
        for position, annotation in enumerate(annotations):
            where = f"{place}: annotations[{position}]"
            if annotation["category_id"] not in label_of:
                message = f"no category has the id {annotation['category_id']}; there are {len(label_of)} categories"
                self.report.error("label-range", where, message)
            elif annotation["image_id"] not in labels:
                self.report.error("unknown-image", where, f"no image has the id {annotation['image_id']}")
            else:
                labels[annotation["image_id"]].append(label_of[annotation["category_id"]])
        rows = []
        for image in images:
            key = f"{image['zip_file']}@{image['file_name']}" if image.get("zip_file") else str(image["file_name"])
            rows.append(self.row(f"{place}: image {image['id']}", key, tuple(labels[image["id"]])))
        return Listing(rows, [str(category["name"]) for category in categories])

    def split_json(self, file: str, image_dir: str) -> dict[str, Listing] | None:
        """CoOp's split file: the lists train, val and test of [path, label, class name]."""
        content = self.json(file)
        if content is None:
            return None
        splits: dict[str, Listing] = {}
        names: dict[int, str] = {}
        for split in ("train", "val", "test"):
            entries = content.get(split) if isinstance(content, dict) else None
            if not isinstance(entries, list):
                self.report.error("missing-split", self.where(file), f"there is no list {split!r}")
                continue
            splits[split] = Listing()
            for position, entry in enumerate(entries):
                where = f"{self.where(file)}: {split}[{position}]"
                try:
                    key, label, name = entry
                    label = int(label)
                except (TypeError, ValueError):
                    self.report.error("index-line", where, f"expected [path, label, class name], found {entry!r}")
                    continue
                if names.setdefault(label, name) != name:
                    message = f"label {label} is called {name!r} here, but {names[label]!r} before"
                    self.report.error("label-names", where, message)
                splits[split].rows.append(self.row(where, str(key), (label,), image_dir))
        for listing in splits.values():
            listing.names = [str(names.get(label, "")) for label in range(1 + max(names, default=-1))]
        return splits

    def row(self, where: str, key: str, labels: tuple[int, ...], image_dir: str = "") -> Row:
        """A row; its path must stay in the set's folder."""
        if os.path.isabs(key) or ".." in key.replace("\\", "/").split("/"):
            self.report.error("path-outside", where, f"the path {key!r} leads out of the set's folder")
        return Row(where, key, labels, os.path.join(self.root, self.folder, image_dir, key))

    def _entries(self, content: Any, name: str, keys: tuple[str, ...], place: str) -> list[dict]:
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            self.report.error("index-key", place, f"there is no list {name!r}")
            return []
        good = []
        for position, entry in enumerate(entries):
            lacking = [key for key in keys if not isinstance(entry, dict) or key not in entry]
            if lacking:
                self.report.error("index-key", f"{place}: {name}[{position}]", f"there is no {lacking[0]!r}")
            elif isinstance(entry.get("id", 0), (dict, list)):
                self.report.error("index-key", f"{place}: {name}[{position}]", "the id is neither a number nor a text")
            else:
                good.append(entry)
        return good


def near(path: Path) -> str:
    """A hint at a file beside `path` whose name differs in case only."""
    found = [
        other.name
        for other in path.parent.glob("*")
        if other.name.lower() == path.name.lower() and other.name != path.name
    ]
    return f", but {found[0]} does" if found else ""


def repeated(values: list) -> list:
    """The values that occur more than once, in order of their second occurrence, each once."""
    seen: set = set()
    twice: dict = {}
    for value in values:
        if value in seen:
            twice[value] = None
        seen.add(value)
    return list(twice)


def _by_id(entry: dict) -> tuple[str, Any]:
    return (type(entry["id"]).__name__, entry["id"])
