"""Files that may lie inside a zip: ``folder/train.zip@a/b.png`` is the member ``a/b.png`` of ``folder/train.zip``."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterable

_MARK = ".zip@"
_handles: dict[tuple[int, str], zipfile.ZipFile] = {}  # by process, so that a forked worker opens its own


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


def _open_archive(archive: str) -> zipfile.ZipFile:
    key = (os.getpid(), archive)
    if key not in _handles:
        try:
            _handles[key] = zipfile.ZipFile(archive)
        except FileNotFoundError:
            raise FileNotFoundError(f"no zip file {archive}") from None
        except zipfile.BadZipFile as error:
            raise ValueError(f"{archive} is not a readable zip file: {error}") from error
    return _handles[key]
