"""One image of custom data, and how images without splits are split."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

TEST_SHARE = 0.2  # of the images, if a folder has no splits
LABEL_MARKS = re.compile(r"[|;,]")
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Row:
    """One image.

    Attributes:
        split: "train", "val" or "test".
        key: its path in the folder or table, the same on every machine.
        labels: as the data have them.
        where: the folder or line that it is from, for messages.
    """

    split: str
    impath: str
    key: str
    labels: tuple[str, ...]
    where: str


def delimiter_of(header: str) -> str:
    """Return the delimiter of a table: the most frequent one in its first line."""
    return max(DELIMITERS, key=header.count)


def split_paths(paths: Sequence[str], where: str) -> dict[str, str]:
    """Return path -> "train" or "test" of the images of one class, at least one each;
    their names alone decide.

    Raises ValueError with `where` if there are fewer than two.
    """
    if len(paths) < 2:
        count = "1 image" if len(paths) == 1 else f"{len(paths)} images"
        raise ValueError(
            f"{where} has {count}; a class needs two, to train and to test"
        )
    shares = {path: _share(path) for path in paths}
    ranked = sorted(paths, key=shares.__getitem__)
    splits = {}
    for path in paths:
        is_test = shares[path] < TEST_SHARE and path != ranked[-1]
        splits[path] = "test" if is_test or path == ranked[0] else "train"
    return splits


def _share(name: str) -> float:
    """Return a number from 0 to 1 that depends on the name alone."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
