"""Files that appear whole or not at all, and locks that end with their process."""

import codecs
import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock

from toolkit.common.text import require_printable

StrPath = str | os.PathLike


class InUse(ValueError):
    """Another process is at work in a folder or on a file."""


@contextlib.contextmanager
def atomic_write(path: StrPath) -> Iterator[Path]:
    """Yield a temporary path beside `path` that takes its place at the end, on disk,
    and is removed if the block fails. The folder is made. Raises IsADirectoryError if
    `path` is a folder, and ValueError if it is a device or a pipe.
    """
    path = Path(path)
    check_output(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    try:
        yield temporary
        with temporary.open("rb") as file:  # a power cut leaves no empty file
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    """Return a path that no other process, thread or machine takes."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def check_output(path: Path) -> None:
    """Raise IsADirectoryError for a folder, ValueError for a device or a pipe."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, a file name is needed")
    # "/dev/stdout" may be a link to a plain file
    if path.parent == Path("/dev") or (path.exists() and not path.is_file()):
        raise ValueError(f"{path} is a device or a pipe, a file name is needed")


@contextlib.contextmanager
def atomic_folder(path: StrPath) -> Iterator[Path]:
    """Yield a temporary folder beside `path` that takes its place at the end, and is
    removed if the block fails. Raises OSError at the end if `path` exists and is not
    empty.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def new_parents(path: Path) -> Iterator[None]:
    """Make the folders above `path`, and at the end remove new ones that are empty."""
    made = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    finally:
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()


def write_bytes(path: StrPath, content: bytes | memoryview) -> None:
    """Write a file whole or not at all, making its folder."""
    with atomic_write(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: StrPath, text: str) -> None:
    """Write UTF-8 text whole or not at all, making its folder."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def exclusive_lock(path: StrPath, message: str) -> Iterator[None]:
    """Hold a lock file, which this process may enter again, and remove it at the end
    (filelock sees to processes that opened it before). Raises InUse with `message` if
    another process holds it.
    """
    lock = filelock.FileLock(os.path.realpath(path), timeout=0, is_singleton=True)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise InUse(message) from None
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            # a file that is open cannot be removed on Windows
            with contextlib.suppress(OSError):
                os.unlink(lock.lock_file)
        lock.release()


def no_data_reason(beginning: bytes) -> str:
    """Return what a file is whose first bytes show that it holds no data, or ""."""
    if not beginning:
        return "empty"
    if beginning.startswith(b"version https://git-lfs.github.com/"):
        return "a pointer of Git LFS in the place of the file, which `git lfs pull` fetches"
    if beginning.lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page, as servers send instead of a refusal"
    return ""


def require_data(path: StrPath) -> None:
    """Raise ValueError if a file is empty, a pointer of Git LFS or a web page."""
    with open(path, "rb") as file:
        reason = no_data_reason(file.read(256))
    if reason:
        raise ValueError(f"{path} is {reason}")


def decode_text(content: bytes, where: str) -> str:
    """Return UTF-8 text, or UTF-16 with a mark; ValueError begins with `where`."""
    is_utf16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8 text: {error}") from None


def read_names(path: StrPath, where: str) -> list[str]:
    """Return the names in a text file, a name a line; empty lines are left out. Raises
    FileNotFoundError, or ValueError, which begin with `where`, if there is no file, no
    name, or no text.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{where}: no file {path} of names")
    where = f"{where}: {path}"
    lines = decode_text(path.read_bytes(), where).splitlines()
    names = [line.strip() for line in lines if line.strip()]
    for name in names:
        require_printable(name, where)
    if not names:
        raise ValueError(f"{where} holds no names")
    return names
