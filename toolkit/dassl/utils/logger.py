"""The run's log: Python's ``logging``, and a copy of the console's text."""

import contextlib
import logging
import os
import sys
import time

from toolkit.common.files import StrPath
from toolkit.common.text import PrintableFormatter

_handlers: list[logging.Handler] = []  # installed by setup_logger, as _tees
_tees: list["Logger"] = []


class Logger(contextlib.AbstractContextManager):
    """A text stream that passes on to the present ``sys.stdout`` and appends to a file.
    It makes output of plain ``print`` calls part of the log file. Other attributes of a
    stream (``isatty``, ...) are the console's; ``close`` closes only the file.
    """

    def __init__(self, fpath: StrPath | None = None):
        self.console = sys.stdout
        self.file = None
        if fpath is not None:
            folder = os.path.dirname(os.path.abspath(fpath))
            os.makedirs(folder, exist_ok=True)
            self.file = open(fpath, "a", encoding="utf-8")

    def write(self, msg: str) -> int:
        """Write to the console and the file."""
        if self.file is not None:
            # a full disk costs lines of the file, not the run
            with contextlib.suppress(OSError):
                self.file.write(msg)
                # the log handler appends to the same file: keep the order
                self.file.flush()
        return self.console.write(msg)

    def flush(self) -> None:
        """Flush the console and the file."""
        self.console.flush()
        if self.file is not None:
            self.file.flush()

    def close(self) -> None:
        """Close the file; the console stays open."""
        if self.file is not None:
            self.file.close()
            self.file = None

    def __exit__(self, *args) -> None:
        self.close()

    def __getattr__(self, name: str):
        if name == "console":  # not yet set: no attribute to ask
            raise AttributeError(name)
        return getattr(self.console, name)


class _ConsoleHandler(logging.StreamHandler):
    """Writes records to whatever ``sys.stdout`` is at that moment, past a ``Logger``."""

    def __init__(self):
        logging.Handler.__init__(self)

    @property
    def stream(self):
        return sys.stdout.console if isinstance(sys.stdout, Logger) else sys.stdout


def setup_logger(output: StrPath | None = None) -> None:
    """Show log records from level INFO on the console and in ``output``, a folder
    (``log.txt``) or a .txt or .log file; one that exists is left alone: the new name
    gets a time stamp, ``-%Y-%m-%d-%H-%M-%S``. A second call replaces the handlers.
    """
    root = logging.getLogger()
    while _handlers:
        handler = _handlers.pop()
        root.removeHandler(handler)
        handler.close()
    while _tees:
        tee = _tees.pop()
        tee.close()
        if sys.stdout is tee:
            sys.stdout = tee.console

    _handlers.append(_ConsoleHandler())
    if output:
        path = os.fspath(output)
        if not path.endswith((".txt", ".log")):
            path = os.path.join(path, "log.txt")
        if os.path.exists(path):
            path += time.strftime("-%Y-%m-%d-%H-%M-%S")
        sys.stdout = Logger(path)
        _tees.append(sys.stdout)
        _handlers.append(logging.FileHandler(path, mode="a", encoding="utf-8"))

    for handler in _handlers:
        handler.setFormatter(PrintableFormatter("%(message)s"))
        handler.setLevel(logging.INFO)
        root.addHandler(handler)
    root.setLevel(logging.INFO)
