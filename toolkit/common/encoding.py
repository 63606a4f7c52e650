"""Names of files and command lines when Python does not read them as UTF-8: in an ASCII
or Latin-1 locale without PYTHONUTF8=1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence


def check_arguments(arguments: Sequence[str]) -> None:
    """Raise ValueError if a command line has letters that were not understood: a class
    name would be another text. Paths of files that are there work all the same.
    """
    if _is_utf8():
        return
    for argument in arguments:
        if not is_text(argument) and not os.path.lexists(argument):
            raise ValueError(
                f"{argument!r} is not what was typed: Python reads the command line as "
                f"{sys.getfilesystemencoding()} here; set PYTHONUTF8=1"
            )


def is_text(name: str) -> bool:
    """Return False if a name of a file has bytes that were not understood."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def require_text(name: str, where: str | os.PathLike) -> None:
    """Raise ValueError if a name of a file or folder has bytes that were not
    understood.
    """
    if is_text(name):
        return
    encoding, advice = "UTF-8", "rename it"
    if not _is_utf8():
        encoding, advice = sys.getfilesystemencoding(), "set PYTHONUTF8=1"
    raise ValueError(
        f"{where}: the name {os.fsencode(name)!r} is not {encoding}; {advice}"
    )


def hint(message: str) -> str:
    """Return a note for an error that may be about such a name, else ""."""
    if _is_utf8() or (message.isascii() and "codec can't encode" not in message):
        return ""
    encoding = sys.getfilesystemencoding()
    return f" (names of files are {encoding} here; PYTHONUTF8=1 makes them UTF-8)"


def _is_utf8() -> bool:
    return sys.getfilesystemencoding() == "utf-8"
