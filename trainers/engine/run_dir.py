"""The folder of a run: one process at a time works in it, and an earlier run there is replaced only by a right one."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from toolkit.common.files import InUse

from . import distributed

try:
    import fcntl
except ImportError:  # Windows: no lock
    fcntl = None

LOCK = ".lock"  # there while a folder is worked in, or where a process was killed; then nobody holds it

_held: dict[str, int] = {}  # folder -> how often this process has entered it


@contextlib.contextmanager
def exclusive_folder(folder: str | os.PathLike) -> Iterator[None]:
    """Keep other processes out of `folder`, which is made; the process that holds it may enter again.

    Of the processes of one run (torchrun) the main one holds it. Raises InUse where another process is at work
    there. The lock ends with the process, however it ends.
    """
    if not distributed.main():
        yield
        return
    key = os.path.realpath(folder)
    if key in _held:
        _held[key] += 1
        try:
            yield
        finally:
            _held[key] -= 1
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder) / LOCK
    handle = _acquire(path)
    _held[key] = 1
    try:
        yield
    finally:
        del _held[key]
        with contextlib.suppress(OSError):
            path.unlink()  # still held: whoever waits for this very file sees that it is gone
        os.close(handle)


def check_free(folder: str | os.PathLike) -> None:
    """Raise InUse where another process is at work in `folder`."""
    if (Path(folder) / LOCK).is_file():
        with exclusive_folder(folder):
            pass


def check_folder(folder: str | os.PathLike) -> None:
    """Raise ValueError where `folder` can't be one, as a file is in its way."""
    there = next((path for path in (Path(folder), *Path(folder).parents) if path.exists()), Path())
    if not there.is_dir():
        raise ValueError(f"--output-dir (OUTPUT_DIR): {there} is a file, not a folder")


@contextlib.contextmanager
def put_aside(folder: str, wanted: bool) -> Iterator[None]:
    """With `wanted`, the run in `folder` is put aside while the new one is checked, and removed if nothing is wrong."""
    path = Path(folder)
    if not wanted or not path.exists() or (path.is_dir() and not any(path.iterdir())):
        yield
        return
    if not (path / "config.yaml").is_file():
        raise ValueError(f"--overwrite: {folder} holds no run (no config.yaml), so it is left alone")
    aside = path.with_name(f".{path.name}.{os.getpid()}.old")
    path.rename(aside)
    try:
        yield
    except BaseException:
        aside.rename(path)
        raise
    shutil.rmtree(aside)


def _acquire(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        if fcntl is None:
            return handle
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise InUse(f"another process is at work in {path.parent}: use another --output-dir") from None
        except OSError:  # a file system without locks
            return handle
        if path.exists() and os.path.samestat(os.fstat(handle), os.stat(path)):
            return handle
        os.close(handle)  # the one before removed it just now
