"""Reading the index files of a set to the end, however damaged they are: each fault is
a finding, none stops it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from datasets.io.index_files import (
    MOST_CLASSES,
    Row,
    leads_outside,
    parse_coco,
    parse_iris,
)
from datasets.io.split_files import parse_split
from toolkit.common.structured import parse_json

from .report import Report


@dataclass
class Listing:
    """The images of one split.

    `names` are class names in label order, if the index holds them.
    """

    rows: list[Row] = field(default_factory=list)
    names: list[str] | None = None


class Reader:
    """Reads the files of the set in `root`/`folder` and adds their faults to `report`."""

    def __init__(self, root: Path, folder: str, report: Report):
        self.path = root / folder
        self.folder = folder
        self.report = report

    def where(self, file: str) -> str:
        """Return the name of a file in findings."""
        return f"{self.folder}/{file}"

    def text(self, file: str, kind: str) -> str | None:
        """Return the content of a text file, or None after a finding `missing-<kind>`
        or `unreadable-<kind>`.
        """
        path = self.path / file
        try:
            return path.read_bytes().decode("utf-8-sig")
        except FileNotFoundError:
            self.report.error(
                f"missing-{kind}",
                self.where(file),
                f"the file does not exist{near(path)}",
            )
        except UnicodeDecodeError as error:
            self.report.error(
                f"unreadable-{kind}", self.where(file), f"not UTF-8 text: {error}"
            )
        except OSError as error:
            self.report.error(f"unreadable-{kind}", self.where(file), str(error))
        return None

    def json(self, file: str) -> Any:
        """Return the content of a json file, or None after a finding."""
        text = self.text(file, "index")
        if text is None:
            return None
        try:
            return parse_json(text, "")
        except ValueError as error:  # ":<line>: <message>"
            line, _, message = str(error).rpartition(": not valid json: ")
            self.report.error(
                "index-syntax",
                f"{self.where(file)}{line}",
                f"not valid json: {message}",
            )
            return None

    def labelmap(self, file: str) -> list[str] | None:
        """Return the class names, one a line."""
        text = self.text(file, "labelmap")
        if text is None:
            return None
        first: dict[str, int] = {}
        for number, line in enumerate(
            map(str.strip, text.rstrip().split("\n")), start=1
        ):
            where = f"{self.where(file)}:{number}"
            if not line and text.strip():
                self.report.warn(
                    "labelmap-blank", where, "a blank line among the class names"
                )
            elif line in first:
                self.report.warn(
                    "labelmap-twice",
                    where,
                    f"the name {line!r} is also on line {first[line]}",
                )
            first.setdefault(line, number)
        return [line for line in map(str.strip, text.split("\n")) if line]

    def iris(self, file: str) -> Listing | None:
        """Return the images of an index of lines `<path> <label>[,<label>...]`."""
        text = self.text(file, "index")
        if text is None:
            return None
        return Listing(
            self._inside(
                parse_iris(text, self.where(file), str(self.path), self.report.error)
            )
        )

    def coco(self, file: str) -> Listing | None:
        """Return the images and class names of a COCO json."""
        content = self.json(file)
        if content is None:
            return None
        rows, names = parse_coco(
            content, self.where(file), str(self.path), self.report.error
        )
        return Listing(self._inside(rows), names)

    def split_json(self, file: str, image_dir: str) -> dict[str, Listing]:
        """Return the splits of CoOp's split file."""
        content = self.json(file)
        if content is None:
            return {}
        return self.split_content(content, self.where(file), image_dir)

    def split_content(
        self, content: Any, source: str, image_dir: str
    ) -> dict[str, Listing]:
        """Return the splits of the content of a split file, whose name is `source`."""
        splits = parse_split(
            content, source, os.path.join(self.path, image_dir), self.report.error
        )
        names: dict[int, str] = {}
        for rows in splits.values():
            for row in self._inside(rows):
                label = row.labels[0]
                first = names.setdefault(label, row.classname)
                if first != row.classname:
                    message = f"label {label} is called {row.classname!r} here, but {first!r} before"
                    self.report.error("label-names", row.where, message)
        count = 1 + max(names, default=-1)
        classes = [names.get(label, "") for label in range(min(count, MOST_CLASSES))]
        return {split: Listing(rows, classes) for split, rows in splits.items()}

    def _inside(self, rows: list[Row]) -> list[Row]:
        """Report paths that lead out of the set's folder."""
        for row in rows:
            if leads_outside(row.key):
                self.report.error(
                    "path-outside",
                    row.where,
                    f"the path {row.key!r} leads out of the set's folder",
                )
        return rows


def near(path: Path) -> str:
    """Return a hint at a file beside `path` whose name differs in case only, or ""."""
    for other in path.parent.glob("*"):
        if other.name.lower() == path.name.lower() and other.name != path.name:
            return f", but {other.name} does"
    return ""
