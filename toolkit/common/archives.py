"""Files that may be in a zip: ``a/b.zip@c/d.png`` is the member c/d.png of a/b.zip."""

import hashlib
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO

from toolkit.common.files import require_data

# zips that a process keeps open; there may be more than the system lets it open at once
OPEN = 64
# of a zip's member, unpacked: index files and images are smaller, and a zip may declare
# anything
MAX_BYTES = 1 << 29
_MARK = ".zip@"  # other @ are part of names
_NOT_A_ZIP = (zipfile.BadZipFile, zlib.error, struct.error)
# what reading a damaged zip raises
DAMAGED = (*_NOT_A_ZIP, EOFError, OSError, RuntimeError)
_archives: dict[str, zipfile.ZipFile] = {}  # with their directories, each read once
# By process, so that a forked worker opens its own; least recently used first.
_files: dict[tuple[int, str], BinaryIO] = {}
# of plain files: the state in which each was read, and its hash
_hashes: dict[str, tuple[tuple[int, ...], str]] = {}


def split_archive(path: str) -> tuple[str, str | None]:
    """Return (zip file, member), or (path, None) for a plain file."""
    head, mark, member = path.partition(_MARK)
    if not mark:
        return path, None
    return head + _MARK[:-1], member


def read_bytes(path: str) -> bytes:
    """Return the content of a plain file or of a zip's member. Raises FileNotFoundError
    if it is missing; ValueError if it is damaged, too large, a device or a pipe.
    """
    archive, member = split_archive(path)
    if member is None:
        try:
            mode = os.stat(path).st_mode
        except FileNotFoundError:
            raise FileNotFoundError(f"no file {path}") from None
        if stat.S_ISDIR(mode):
            raise FileNotFoundError(f"no file {path}, but a folder")
        if not stat.S_ISREG(mode):  # may never end
            raise ValueError(f"{path} is a device or a pipe, not a file")
        with open(path, "rb") as file:
            return file.read()
    entry = _entry(archive, member)
    if entry.file_size > MAX_BYTES:
        raise ValueError(
            f"{path} declares {entry.file_size:,} bytes; of a zip's member at most {MAX_BYTES:,} are read"
        )
    check_method(entry, archive)
    try:
        with _open_archive(archive).open(entry) as file:
            return file.read(entry.file_size)  # no more than it declares is unpacked
    except DAMAGED as error:
        raise ValueError(f"{path} cannot be read from its zip: {error}") from error


def content_checksum(path: str) -> str:
    """Return a checksum of the content: CRC-32 and size of a zip's member, as the zip
    states them, else a BLAKE2b hash. A file is read once; its hash is kept as long as
    its size, times and inode stay. Raises the errors of `read_bytes`.
    """
    archive, member = split_archive(path)
    if member is not None:
        entry = _entry(archive, member)
        return f"{entry.CRC:08x}-{entry.file_size}"
    try:
        info = os.stat(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"no file {path}") from None
    state = (info.st_size, info.st_mtime_ns, info.st_ctime_ns, info.st_ino)
    known = _hashes.get(path)
    if known is None or known[0] != state:
        known = state, hashlib.blake2b(read_bytes(path), digest_size=16).hexdigest()
        _hashes[path] = known
    return known[1]


def check_method(entry: zipfile.ZipInfo, archive: str) -> None:
    """Raise ValueError for a packing that Python unpacks without a bound."""
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(
            f"{archive}: its member {entry.filename!r} is neither stored nor deflated; pack it again"
        )


def require_files(paths: Iterable[str]) -> None:
    """Raise FileNotFoundError naming the first file, zip or member that is not there,
    ValueError for a damaged zip. Nothing is read but the zips' directories.
    """
    for path in dict.fromkeys(paths):
        archive, member = split_archive(path)
        if member is not None:
            _entry(archive, member)
        elif not os.path.isfile(path):
            raise FileNotFoundError(f"no file {path}")


class _File:
    """A zip's file, which `ZipFile` lets go of between two reads: `_files` keeps some
    open. A thread that reads has it for itself.
    """

    def __init__(self, path: str) -> None:
        self.name = path
        self._position = 0
        self._size = os.path.getsize(path)

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        origins = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}
        position = origins[whence] + offset
        if position < 0:
            raise OSError(f"{self.name} has no position {position}")
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
        """Keep the file among those that are open."""


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


def _entry(archive: str, member: str) -> zipfile.ZipInfo:
    try:
        return _open_archive(archive).getinfo(member)
    except KeyError:
        raise FileNotFoundError(f"{archive} has no member {member!r}") from None


def _open_archive(archive: str) -> zipfile.ZipFile:
    if archive not in _archives:
        try:
            require_data(archive)
            _archives[archive] = zipfile.ZipFile(_File(archive))
        except (FileNotFoundError, IsADirectoryError):
            raise FileNotFoundError(f"no zip file {archive}") from None
        except DAMAGED as error:
            raise ValueError(
                f"{archive} is not a readable zip file: {error}"
            ) from error
    return _archives[archive]
