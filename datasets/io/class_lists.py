"""Files with a class name a line, in label order."""

from __future__ import annotations

from pathlib import Path

from toolkit.common.files import decode_text

NAMES_FILE = "classnames.txt"


def read_class_list(path: Path) -> list[str]:
    """Return the class names of a file; blank lines may end it.

    Raises ValueError if the file is no text, names no class, or has a blank line before
    a name, which would be a label.
    """
    lines = decode_text(path.read_bytes(), str(path)).splitlines()
    names = [line.strip() for line in lines]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise ValueError(f"{path} names no class")
    if "" in names:
        raise ValueError(
            f"{path}:{names.index('') + 1} is blank, but each line is a label: name the class, or delete the line"
        )
    return names
