"""Members of a tar of images: fast for plain ones, and strict about content."""

import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from toolkit.common.files import require_data

BUFFER = 1 << 20
_BLOCK = 512
_PAX, _REGULAR = ord("x"), b"0\0"  # kinds of members
# headers that change how a member is read
_PAX_KEYS = (b" path=", b" size=", b" linkpath=", b" GNU.")
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_ODD_PATH = re.compile(r"^/|\\|(^|/)\.\.(/|$)|^[^/]*:")


def tar_members(tar: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (name, content) of each file of a tar. Raises ValueError for links, odd
    names, and a tar that is compressed or ends too early. Plain members are parsed
    here, several times faster than by tarfile.
    """
    require_data(tar)
    with open(tar, "rb", buffering=BUFFER) as file:
        if file.peek(8).startswith(_COMPRESSED):
            raise ValueError(f"{tar} is compressed, unlike a shard; unpack it")
        start = 0  # of the member that is next
        last = "its start"
        while True:
            header = file.read(_BLOCK)
            if len(header) == _BLOCK and header[156] == _PAX:
                size = _size(header)
                if size is None:
                    break
                records = file.read(_padded(size))
                if any(key in records for key in _PAX_KEYS):
                    break
                header = file.read(_BLOCK)
            name, size = _plain_header(header)
            if not name:
                break
            last = name
            content = file.read(_padded(size))
            if len(content) < size:
                raise ValueError(f"{tar} is truncated: it ends within {name!r}")
            yield name.removeprefix("./"), content[:size]
            start = file.tell()
        file.seek(start)
        yield from _other_members(tar, file, last)


def _plain_header(header: bytes) -> tuple[str, int]:
    """Return name and size of a plain file with a short ASCII name, else ("", 0)."""
    size = _size(header)
    if size is None or header[156] not in _REGULAR or header[345]:
        return "", 0
    name = header[:100].rstrip(b"\0")
    if not name.isascii() or name.endswith(b"/"):
        return "", 0
    text = name.decode("ascii")
    if _ODD_PATH.search(text) or not text.isprintable():
        return "", 0
    return text, size


def _size(header: bytes) -> int | None:
    """Return the size that a header states in octal digits, None if it is damaged."""
    if len(header) < _BLOCK:
        return None
    try:
        size = int(header[124:136].strip(b"\0 "), 8)
        checksum = int(header[148:156].strip(b"\0 "), 8)
    except ValueError:
        return None
    blank = 8 * ord(" ")  # the checksum counts itself as spaces
    if sum(header) - sum(header[148:156]) + blank != checksum:
        return None
    return size


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _other_members(tar: Path, file: BinaryIO, name: str) -> Iterator[tuple[str, bytes]]:
    """Yield the members after the one called `name`, as tarfile reads them."""
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            while member := archive.next():
                name, where = member.name, f"{tar}: member {member.name!r}"
                archive.members.clear()  # millions of members are not kept
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise ValueError(f"{where} is a link or a device, not a file")
                if not name.isprintable():
                    raise ValueError(
                        f"{where} has characters that no file name should have"
                    )
                if _ODD_PATH.search(name):
                    raise ValueError(f"{where} leads out of the folder")
                file.seek(member.offset_data)
                content = file.read(member.size)
                if len(content) < member.size:
                    raise ValueError(f"{tar} is truncated: it ends within {name!r}")
                yield name.removeprefix("./"), content
            file.seek(archive.offset)
            if file.read(_BLOCK) != bytes(_BLOCK):
                raise ValueError(f"{tar} is truncated: it ends after {name!r}")
    except tarfile.TarError as error:
        raise ValueError(
            f"{tar} is truncated or no tar: {error} (after {name!r})"
        ) from None
