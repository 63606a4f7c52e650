"""The record that `prepare` leaves in a set's folder, `order.json`: its source, counts
and how it differs from the published set.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from datasets.catalog.entries import Entry

from . import ORDER_FILE

SAME, OTHER_ORDER, OTHER_SPLIT = (
    "same images and split",
    "same images, other order",
    "another split",
)
VERDICTS = (SAME, OTHER_ORDER, OTHER_SPLIT)


@dataclass(frozen=True)
class Record:
    """The metadata of a prepared set.

    Attributes:
        source: its source, without a local path.
        verdict: one of `VERDICTS`, of the test images.
        revision: of the source on the Hub, or "".
        images: split -> number of images.
        note: other differences, or "".
    """

    source: str
    verdict: str
    revision: str = ""
    images: Mapping[str, int] = field(default_factory=dict)
    note: str = ""


def judge(entry: Entry, images: Mapping[str, int], published: str = OTHER_ORDER) -> str:
    """Return `published`, or "another split" if the number of test images is not that
    of the set.
    """
    expected = entry.images.get("test")
    if expected and images.get("test") != expected:
        return OTHER_SPLIT
    return published


def describe_differences(
    entry: Entry, images: Mapping[str, int], note: str = ""
) -> str:
    """Return the note with the number of images of each split that is not the published
    one.
    """
    parts = [note] if note else []
    for split, expected in entry.images.items():
        count = images.get(split, 0)
        if expected and count != expected:
            parts.append(f"{split}: {count:,} of {expected:,} images")
    return "; ".join(parts)


def write(folder: Path, record: Record) -> None:
    """Write the record into a set's folder."""
    order = "official" if record.verdict == SAME else "unofficial"
    content = {"order": order} | asdict(record)
    (folder / ORDER_FILE).write_text(
        json.dumps(content, indent=1) + "\n", encoding="utf-8"
    )


def read(folder: Path) -> Record | None:
    """Return the record in a set's folder, None if there is none.

    A damaged one is from elsewhere, in another order.
    """
    file = folder / ORDER_FILE
    if not file.is_file():
        return None
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        content = None
    if not isinstance(content, dict):
        content = {}
    verdict = content.get("verdict")
    if verdict not in VERDICTS:
        verdict = OTHER_ORDER
    images = content.get("images")
    if not isinstance(images, dict):
        images = {}
    texts = {key: str(content.get(key) or "") for key in ("source", "revision", "note")}
    texts["source"] = texts["source"] or "elsewhere"
    return Record(verdict=verdict, images=images, **texts)
