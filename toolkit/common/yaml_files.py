"""YAML files of anyone's: plain values, whatever they say, and one sentence where they can't be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

MOST = 100_000  # values in a file, those that aliases repeat included


def read_yaml(path: str | Path, what: str = "") -> Any:
    """The content of a YAML file: dicts, lists, numbers and texts; nothing in it is executed.

    Args:
        what: whose file it is, such as a flag, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no YAML, has tags of Python's, or aliases that make it endless.
    """
    named = f"{what}: {path}" if what else str(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise FileNotFoundError(f"{what}: no file {path}" if what else f"no file {path}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{named} is not UTF-8 text: {error}") from None
    try:
        content = yaml.safe_load(text)
    except RecursionError:
        raise ValueError(f"{named} is no YAML: it is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError) as error:  # dates and numbers that can't be; keys that are lists
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}: {error.problem}" if mark else " ".join(str(error).split())
        raise ValueError(f"{named} is no YAML: {where}") from None
    if _size(content) > MOST:
        raise ValueError(f"{named} holds more than {MOST:,} values; its aliases repeat too much")
    return content


def _size(content: Any) -> int:
    """How many values there are, counted up to a little more than `MOST`."""
    left, count = [content], 0
    while left and count <= MOST:
        value = left.pop()
        count += 1
        left += [*value.values()] if isinstance(value, dict) else value if isinstance(value, (list, set, tuple)) else []
    return count
