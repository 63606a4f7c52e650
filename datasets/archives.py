"""Files that may lie inside a zip: ``folder/train.zip@a/b.png`` is the member ``a/b.png`` of ``folder/train.zip``."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO

OPEN = 64  # zips that a process keeps open; there may be more than the system lets it open at once
_MARK = ".zip@"
_archives: dict[str, zipfile.ZipFile] = {}  # with their directories, each read once
# By process, so that a forked worker opens its own; least recently used first.
_files: dict[tuple[int, str], BinaryIO] = {}


def split_archive(path: str) -> tuple[str, str | None]:
    """(zip file, member), or (path, None) for a plain file. Only ``.zip@`` separates: other ``@`` are part of names."""
    head, mark, member = path.partition(_MARK)
    return (head + _MARK[:-1], member) if mark else (path, None)


def read_bytes(path: str) -> bytes:
    """The content of a plain file or of a zip's member.

    Raises:
        FileNotFoundError: the file, the zip or the member does not exist.
        ValueError: the zip or the member is damaged.
    """
    archive, member = split_archive(path)
    if member is None:
        with open(path, "rb") as file:
            return file.read()
    handle = _open_archive(archive)
    try:
        return handle.read(member)
    except KeyError:
        raise FileNotFoundError(f"{archive} has no member {member!r}") from None
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read from its zip: {error}") from error


def checksum(path: str) -> int:
    """The CRC-32 of a zip's member, as the zip states it; the size in bytes of a plain file; -1 where it is not there."""
    archive, member = split_archive(path)
    try:
        return os.path.getsize(path) if member is None else _open_archive(archive).getinfo(member).CRC
    except (OSError, KeyError):
        return -1


def require_archives(paths: Iterable[str]) -> None:
    """Raise FileNotFoundError naming the first zip that `paths` point into and that does not exist."""
    for archive in sorted({archive for archive, member in map(split_archive, paths) if member is not None}):
        if not os.path.isfile(archive):
            raise FileNotFoundError(f"no zip file {archive}")


class _File:
    """A zip's file as `ZipFile` reads it, which lets go of it between any two reads: `_files` keeps those used last open.

    While a thread reads, the file is its own.
    """

    def __init__(self, path: str) -> None:
        self.name, self._position = path, 0
        self._size = os.path.getsize(path)

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if position < 0:
            raise OSError(f"{self.name} has no place {position}")
        self._position = position
        return position

    def read(self, count: int = -1) -> bytes:
        key = (os.getpid(), self.name)
        file = _files.pop(key, None) or open(self.name, "rb")
        try:
            file.seek(self._position)
            content = file.read(count)
        except BaseException:
            file.close()
            raise
        self._position += len(content)
        _keep(key, file)
        return content

    def close(self) -> None:
        """The file stays among those that are kept open."""


def _keep(key: tuple[int, str], file: BinaryIO) -> None:
    other = _files.pop(key, None)  # of another thread
    if other is not None:
        other.close()
    _files[key] = file
    while len(_files) > OPEN:
        try:
            _files.pop(next(iter(_files))).close()
        except (KeyError, StopIteration, RuntimeError):  # another thread is at it
            break


def _open_archive(archive: str) -> zipfile.ZipFile:
    if archive not in _archives:
        try:
            _archives[archive] = zipfile.ZipFile(_File(archive))
        except FileNotFoundError:
            raise FileNotFoundError(f"no zip file {archive}") from None
        except zipfile.BadZipFile as error:
            raise ValueError(f"{archive} is not a readable zip file: {error}") from error
    return _archives[archive]
