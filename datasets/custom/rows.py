"""One image of custom data, the tables that list images, and how images without splits
are split.
"""

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.common.archives import require_files
from toolkit.common.files import decode_text

TEST_SHARE = 0.2  # of the images, if a folder has no splits
_LABEL_MARKS = re.compile(r"[|;,]")
_DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Row:
    """One image."""

    split: str  # "train", "val" or "test"
    impath: str
    key: str  # its path in the folder or table, the same on every machine
    labels: tuple[str, ...]  # as the data have them
    where: str  # the folder or line that it is from, for messages


def table_lines(file: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield (file and line, fields) of each line of a CSV that is not blank; first the
    header, in lower case. The delimiter is the most frequent one in the header. Raises
    ValueError for a line that is no CSV or has too few or too many fields.
    """
    text = decode_text(file.read_bytes(), str(file))
    stream = io.StringIO(text, newline="")
    delimiter = max(_DELIMITERS, key=stream.readline().count)
    stream.seek(0)
    lines = csv.reader(stream, delimiter=delimiter, strict=True, skipinitialspace=True)
    try:
        header = [name.strip().lower() for name in next(lines, [])]
        yield f"{file}:1", header
        for line in lines:
            where = f"{file}:{lines.line_num}"
            if not any(line):
                continue
            if len(line) != len(header):
                raise ValueError(
                    f"{where}: {len(line)} fields, but the header has {len(header)}"
                )
            yield where, line
    except csv.Error as error:
        raise ValueError(
            f"{file}:{lines.line_num}: not a valid CSV line: {error}"
        ) from None


def split_labels(text: str) -> tuple[str, ...]:
    """Return the labels of a field, which "|", ";" or "," separates, each once."""
    parts = map(str.strip, _LABEL_MARKS.split(text))
    return tuple(filter(None, dict.fromkeys(parts)))


def require_image(path: str, where: str) -> None:
    """Raise an error that begins with `where` if an image of a table is not there."""
    try:
        require_files([path])
    except (FileNotFoundError, ValueError) as error:
        raise type(error)(f"{where}: {error}") from None


def split_paths(paths: Sequence[str], where: str) -> dict[str, str]:
    """Return path -> "train" or "test" of a class's images, by their names alone.
    Raises ValueError with `where` if there are fewer than two.
    """
    if len(paths) < 2:
        count = "1 image" if len(paths) == 1 else f"{len(paths)} images"
        raise ValueError(
            f"{where} has {count}; a class needs two, to train and to test"
        )
    shares = {}  # numbers from 0 to 1
    for path in paths:
        digest = hashlib.sha256(path.encode()).digest()
        shares[path] = int.from_bytes(digest[:8], "big") / 2**64
    ranked = sorted(paths, key=shares.__getitem__)
    splits = {}
    for path in paths:
        is_test = shares[path] < TEST_SHARE and path != ranked[-1]
        splits[path] = "test" if is_test or path == ranked[0] else "train"
    return splits
