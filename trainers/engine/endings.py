"""The message of a command line after an error, and its exit code."""

from __future__ import annotations

import errno
import os
import sysconfig
import traceback
import urllib.error
from pathlib import Path

from toolkit.common import plugins
from toolkit.common.cli import BAD_INPUT, FAILED
from toolkit.common.text import error_message

AGAIN = "with --resume auto the same command continues"


def ending(error: Exception) -> tuple[str, int]:
    """Return the message and the exit code of an error: a traceback of a plugin's."""
    if plugins.raised_by_user(error):
        return traceback.format_exc(), FAILED
    if isinstance(
        error, (ValueError, FileNotFoundError, NotADirectoryError, PermissionError)
    ):
        return input_message(error), BAD_INPUT
    if isinstance(error, FloatingPointError):
        return f"{error_message(error)}\n", FAILED
    if isinstance(error, urllib.error.URLError):
        return f"{error_message(f'a download failed: {error.reason}')}\n", FAILED
    message = str(error.strerror or error)
    if error.filename:
        message = f"{error.filename}: {message}"
    if error.errno == errno.EROFS:
        return f"{error_message(message)}\n", BAD_INPUT
    if "--resume" not in message:
        message += f"; all that was finished is kept, {AGAIN}"
    return f"{error_message(message)}\n", FAILED


def input_message(error: Exception) -> str:
    """Return the line about wrong input."""
    message = str(error).strip() + raised_in(error)
    # from a worker of a loader: its last line is the message
    if "Traceback" in message:
        message = message.splitlines()[-1]
    shown = traceback.format_exc() if os.environ.get("MVLPT_DEBUG") else ""
    return f"{shown}{error_message(message)}\n"


def raised_in(error: Exception) -> str:
    """Return a note that names file and line of the plugin that raised, else ""."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    file = Path(frames[-1].filename).resolve()
    paths = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    for folder in (plugins.ROOT, *(Path(path).resolve() for path in paths)):
        if file.is_relative_to(folder):
            return ""
    line = frames[-1].lineno
    return f" (raised in {file.name}, line {line}; MVLPT_DEBUG=1 shows how)"
