"""Is a file what its name says? And: unpack it, where it is an archive."""

from __future__ import annotations

import json
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from toolkit.common.archives import check_method

TARS = (".tar.gz", ".tgz", ".tar")
RATIO, SMALL = 100, 1 << 28  # an archive may become so many times its size, or so many bytes; images hardly shrink
_DAMAGED = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
)


def check_form(path: Path, name: str, thorough: bool = True) -> None:
    """Raise ValueError where the content of `path` is not that of a file called `name`: a zip, tar or json that is damaged, or a web page.

    Args:
        thorough: read archives to their end, so that a damaged member is found.
    """
    with open(path, "rb") as file:
        head = file.read(256)
    if not head:
        raise ValueError("it is empty")
    if head.lstrip().lower().startswith((b"<!doctype html", b"<html")) and not name.endswith((".html", ".htm")):
        raise ValueError("it is a web page, as servers send instead of a refusal")
    try:
        if name.endswith(".zip"):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    check_method(entry, path.name)
                damaged = archive.testzip() if thorough else None
            if damaged:
                raise ValueError(f"its member {damaged} is damaged")
        elif name.endswith(TARS) and thorough:
            with tarfile.open(path) as archive:
                for _ in archive:
                    pass
        elif name.endswith(".json"):
            json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise ValueError(f"no valid json: line {error.lineno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ValueError("no valid json: not UTF-8 text") from error
    except _DAMAGED as error:
        raise ValueError(f"a damaged archive: {error}") from error


def is_archive(name: str) -> bool:
    return name.endswith((".zip", *TARS))


def unpack(archive: Path, folder: Path, wanted: Sequence[str]) -> list[str]:
    """Unpack what `wanted` needs into `folder`; return the names that are new in it. Names that are there already stay as they are.

    Archives differ in the folders around their content. The innermost folder of the archive is taken that has one of the
    paths `wanted` in it; an archive in the archive is unpacked too.

    Raises:
        ValueError: the archive is damaged, has none of `wanted` in it, or holds what archives of data don't: links,
            devices, names that lead out of the folder or that are there twice, or far more bytes than it has itself.
    """
    work = Path(tempfile.mkdtemp(prefix=f".{archive.name}-", dir=folder))
    try:
        room = max(RATIO * archive.stat().st_size, SMALL)
        room -= _extract(archive, work, room)
        base = _base(work, wanted)
        if base is None:
            for inner in sorted(path for path in work.rglob("*") if path.is_file() and is_archive(path.name)):
                room -= _extract(inner, inner.parent, room)
                inner.unlink()
            base = _base(work, wanted)
        if base is None:
            raise ValueError(f"{archive.name} has none of {', '.join(wanted)} in it")
        return _move(base, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(archive: Path, work: Path, room: int) -> int:
    """Unpack all files and folders, `room` bytes at most; how many there were. Nothing is written outside `work`, and
    nothing that is there is written over, whatever the archive says."""
    total = 0
    try:
        for name, size, stream in _members(archive):
            place = Path(name)
            if place.anchor or ".." in name.replace("\\", "/").split("/"):
                raise ValueError(f"{archive.name} is hostile: its member {name!r} leads out of the folder")
            if stream is None:
                (work / place).mkdir(parents=True, exist_ok=True)
                continue
            total += size
            if total > room or size > shutil.disk_usage(work).free:
                raise ValueError(
                    f"{archive.name} is not unpacked: it holds {total / 1e9:.1f} GB or more, too much for "
                    f"its size ({archive.stat().st_size / 1e9:.3f} GB) or for the disk"
                )
            (work / place).parent.mkdir(parents=True, exist_ok=True)
            with stream, open(work / place, "xb") as file:
                shutil.copyfileobj(stream, file)
    except FileExistsError as error:
        name = Path(error.filename).relative_to(work)
        raise ValueError(f"{archive.name} holds {str(name)!r} twice, or names that are one on this disk") from error
    except _DAMAGED as error:
        raise ValueError(f"{archive.name} is damaged: {error}") from error
    return total


def _members(archive: Path) -> Iterator[tuple[str, int, BinaryIO | None]]:
    """(name, bytes, content) of each file, and (name, 0, None) of each folder. Raises ValueError for anything else."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as content:
            for entry in content.infolist():
                check_method(entry, archive.name)
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise ValueError(f"{archive.name} holds a link, {entry.filename!r}; unpack it by hand")
                yield entry.filename, entry.file_size, None if entry.is_dir() else content.open(entry)
    else:
        with tarfile.open(archive) as content:
            for entry in content:
                if not (entry.isfile() or entry.isdir()):
                    raise ValueError(f"{archive.name} holds a link or device, {entry.name!r}; unpack it by hand")
                yield entry.name, entry.size, None if entry.isdir() else content.extractfile(entry)


def _base(work: Path, wanted: Sequence[str]) -> Path | None:
    """The folder nearest to `work` in which one of the paths is."""
    level = [work]
    while level:
        for folder in level:
            if any((folder / path).exists() for path in wanted):
                return folder
        level = [
            child for folder in level for child in sorted(folder.iterdir()) if child.is_dir() and not child.is_symlink()
        ]
    return None


def _move(source: Path, target: Path) -> list[str]:
    """Move what is in `source` into `target`, folders that both have being joined."""
    moved = []
    for child in sorted(source.iterdir()):
        place = target / child.name
        if place.is_dir() and child.is_dir():
            moved += [f"{child.name}/{name}" for name in _move(child, place)]
        elif not place.exists():
            child.rename(place)
            moved.append(child.name)
    return moved
