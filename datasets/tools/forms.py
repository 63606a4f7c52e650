"""Is a file what its name says? And: unpack it, where it is an archive."""

from __future__ import annotations

import json
import lzma
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

TARS = (".tar.gz", ".tgz", ".tar")
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
        ValueError: the archive is damaged, or has none of `wanted` in it.
    """
    work = Path(tempfile.mkdtemp(prefix=f".{archive.name}-", dir=folder))
    try:
        _extract(archive, work)
        base = _base(work, wanted)
        if base is None:
            for inner in sorted(path for path in work.rglob("*") if path.is_file() and is_archive(path.name)):
                _extract(inner, inner.parent)
                inner.unlink()
            base = _base(work, wanted)
        if base is None:
            raise ValueError(f"{archive.name} has none of {', '.join(wanted)} in it")
        return _move(base, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _extract(archive: Path, work: Path) -> None:
    try:
        if archive.name.endswith(".zip"):
            with zipfile.ZipFile(archive) as content:
                content.extractall(work)
        else:
            with tarfile.open(archive) as content:
                content.extractall(work, filter="data")
    except _DAMAGED as error:
        raise ValueError(f"{archive.name} is damaged: {error}") from error


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
