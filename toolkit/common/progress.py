"""Progress on stderr: a bar in a terminal, a line now and then in a log."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator

from tqdm import tqdm

from toolkit.common.text import shortened

NARROW = 60  # columns: a narrower bar shows no rates
SHORT_BAR = "{desc} {n_fmt}/{total_fmt}{postfix} {remaining}{bar}"
# a line after this share or this time, and never more often than each second
TENTH, SECONDS, AT_LEAST = 0.1, 30, 1


def progress(items: Iterable | None = None, **options) -> tqdm | ProgressLines:
    """Return a progress of `items`, or one to be updated. It is a context manager, as
    tqdm's. options: `total`, `desc`, `unit`, `initial` and `leave` of tqdm.
    """
    if not (sys.stderr.isatty() or os.environ.get("TQDM_DISABLE")):
        return ProgressLines(items, **options)
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        columns = 80
    options["desc"] = shortened(options.get("desc", ""), columns // 2)
    if columns < NARROW:
        options["bar_format"] = SHORT_BAR
    return tqdm(items, dynamic_ncols=True, **options)


class ProgressLines(contextlib.AbstractContextManager):
    """Progress without a terminal: a line after every tenth or 30 s."""

    def __init__(
        self,
        items: Iterable | None = None,
        total: int | None = None,
        desc: str = "",
        unit: str = "it",
        initial: int = 0,
        leave: bool = True,
    ) -> None:
        if total is None and hasattr(items, "__len__"):
            total = len(items)
        self.items, self.total, self.desc, self.unit = items, total, desc, unit
        self.n = self._shown = initial
        self.postfix = ""
        self._started = self._last = time.monotonic()

    def __iter__(self) -> Iterator:
        for item in self.items:
            yield item
            self.update()

    def close(self, *error: object) -> None:
        """Do nothing, as there is no bar to remove."""

    __exit__ = close

    def set_postfix_str(self, text: str = "", refresh: bool = True) -> None:
        """Set the end of the lines to come."""
        self.postfix = text

    def update(self, n: int = 1) -> None:
        """Count `n` more, and write a line if it is time."""
        self.n += n
        now = time.monotonic()
        since = now - self._last
        is_tenth = bool(self.total) and self.n - self._shown >= TENTH * self.total
        if since < AT_LEAST or not (is_tenth or since >= SECONDS):
            return
        self._shown, self._last = self.n, now
        sys.stderr.write(self.line(now - self._started) + "\n")
        sys.stderr.flush()

    def line(self, seconds: float) -> str:
        """Return the present state after some seconds."""
        total = f"/{self.total}" if self.total else ""
        postfix = f", {self.postfix}" if self.postfix else ""
        time_ = tqdm.format_interval(seconds)
        return f"{self.desc}: {self.n}{total} {self.unit}s, {time_}{postfix}"
