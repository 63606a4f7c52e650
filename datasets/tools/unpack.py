"""Check that a downloaded file is of the type of its name, and unpack it if it is an
archive.
"""

import json
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from toolkit.common.archives import DAMAGED, check_method
from toolkit.common.files import no_data_reason, require_data

TARS = (".tar.gz", ".tgz", ".tar")
# an archive may become so many times its size, or so many bytes; images hardly shrink
RATIO, SMALL = 100, 1 << 28
_DAMAGED = (*DAMAGED, tarfile.TarError, lzma.LZMAError)


def check_form(path: Path, name: str, thorough: bool = True) -> None:
    """Raise ValueError if `path` is not a file called `name`: a damaged zip, tar or
    json, or a web page. thorough: read archives to their end.
    """
    with open(path, "rb") as file:
        reason = no_data_reason(file.read(256))
    if reason and not name.endswith((".html", ".htm")):
        raise ValueError(f"it is {reason}")
    try:
        if name.endswith(".zip"):
            _check_zip(path, thorough)
        elif name.endswith(TARS) and thorough:
            with tarfile.open(path) as tar:
                for _ in tar:
                    pass
        elif name.endswith(".json"):
            json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise ValueError(f"no valid json: line {error.lineno}: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ValueError("no valid json: not UTF-8 text") from error
    except _DAMAGED as error:
        raise ValueError(f"a damaged archive: {error}") from error


def _check_zip(path: Path, thorough: bool):
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            check_method(entry, path.name)
        damaged = archive.testzip() if thorough else None
    if damaged:
        raise ValueError(f"its member {damaged} is damaged")


def is_archive(name: str) -> bool:
    """Return whether a file name is that of a zip or tar."""
    return name.endswith((".zip", *TARS))


def unpack(archive: Path, folder: Path, wanted: Sequence[str]) -> list[str]:
    """Unpack the folder of an archive that has one of the paths `wanted` in it, also in
    an archive in it, into `folder`, in which existing files stay; return the new names.
    Raises ValueError if it is damaged, has none of `wanted`, or holds links, devices,
    names that lead out of the folder or occur twice, or far more bytes than it has
    itself.
    """
    require_data(archive)
    work = Path(tempfile.mkdtemp(prefix=f".{archive.name}-", dir=folder))
    try:
        budget = max(RATIO * archive.stat().st_size, SMALL)
        budget -= _extract(archive, work, budget)
        base = _base(work, wanted)
        if base is None:
            for inner in sorted(work.rglob("*")):
                if inner.is_file() and is_archive(inner.name):
                    budget -= _extract(inner, inner.parent, budget)
                    inner.unlink()
            base = _base(work, wanted)
        if base is None:
            raise ValueError(f"{archive.name} has none of {', '.join(wanted)} in it")
        return _move(base, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(archive: Path, work: Path, budget: int):
    """Unpack all files and folders, `budget` bytes at most; return the number of bytes.
    Whatever the archive says, all is written inside `work`, and over no file.
    """
    total = 0
    try:
        for name, size, stream in _members(archive):
            place = Path(name)
            if place.anchor or ".." in name.replace("\\", "/").split("/"):
                raise ValueError(
                    f"{archive.name} is hostile: its member {name!r} leads out of the folder"
                )
            if stream is None:
                (work / place).mkdir(parents=True, exist_ok=True)
                continue
            total += size
            if total > budget or size > shutil.disk_usage(work).free:
                raise ValueError(
                    f"{archive.name} is not unpacked: it holds {total / 1e9:.1f} GB or more, too much for "
                    f"its size ({archive.stat().st_size / 1e9:.3f} GB) or for the disk"
                )
            (work / place).parent.mkdir(parents=True, exist_ok=True)
            with stream, open(work / place, "xb") as file:
                shutil.copyfileobj(stream, file)
    except FileExistsError as error:
        name = Path(error.filename).relative_to(work)
        raise ValueError(
            f"{archive.name} holds {str(name)!r} twice, or names that are one on this disk"
        ) from error
    except _DAMAGED as error:
        raise ValueError(f"{archive.name} is damaged: {error}") from error
    return total


def _members(archive: Path) -> Iterator[tuple[str, int, BinaryIO | None]]:
    """Yield (name, bytes, content or None) of each file or folder; refuse all else."""
    if archive.name.endswith(".zip"):
        with zipfile.ZipFile(archive) as content:
            for entry in content.infolist():
                check_method(entry, archive.name)
                if stat.S_ISLNK(entry.external_attr >> 16):
                    raise ValueError(
                        f"{archive.name} holds a link, {entry.filename!r}; unpack it by hand"
                    )
                stream = None if entry.is_dir() else content.open(entry)
                yield entry.filename, entry.file_size, stream
    else:
        with tarfile.open(archive) as content:
            for entry in content:
                if not (entry.isfile() or entry.isdir()):
                    raise ValueError(
                        f"{archive.name} holds a link or device, {entry.name!r}; unpack it by hand"
                    )
                yield entry.name, entry.size, content.extractfile(entry)


def _base(work: Path, wanted: Sequence[str]):
    """Return the folder nearest to `work` that has one of the paths, or None."""
    waiting = [work]
    for folder in waiting:  # grows: level by level
        if any((folder / path).exists() for path in wanted):
            return folder
        waiting += sorted(child for child in folder.iterdir() if child.is_dir())
    return None


def _move(source: Path, target: Path):
    moved = []
    for child in sorted(source.iterdir()):
        place = target / child.name
        if place.is_dir() and child.is_dir():
            moved += [f"{child.name}/{name}" for name in _move(child, place)]
        elif not place.exists():
            child.rename(place)
            moved.append(child.name)
    return moved
