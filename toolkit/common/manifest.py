"""manifest.json: the size and checksum of a folder's files, to find damaged ones."""

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.common.archives import content_checksum
from toolkit.common.structured import read_json, write_json

NAME = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """A folder's files as they were written."""

    folder: Path
    files: Mapping[str, list]  # name -> [size in bytes, checksum]
    about: Mapping[str, object]  # how the files were made

    def damaged(self) -> list[str]:
        """Return the names of files that are missing or have another content."""
        return list(itertools.filterfalse(self.is_whole, self.files))

    def is_whole(self, name: str) -> bool:
        """Return True if a file has the content that it was written with."""
        try:
            return _entry(self.folder / name) == self.files[name]
        except (OSError, ValueError):
            return False

    def expects(self, name: str, content: bytes) -> bool:
        """Return True if a file was written with this content."""
        return self.files[name] == [len(content), digest(content)]


def digest(content: bytes) -> str:
    """Return the checksum of a file's content: BLAKE2b, 32 hexadecimal digits."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def write(
    folder: Path, names: Iterable[str], about: Mapping[str, object] | None = None
) -> None:
    """Write the manifest of some files of a folder."""
    files = {name: _entry(folder / name) for name in sorted(names)}
    body = {"files": files, "about": dict(about or {})}
    write_json(folder / NAME, {**body, "checksum": _checksum(body)}, indent=1)


def read(folder: Path) -> Manifest | None:
    """Return a folder's manifest or None. Raise ValueError if it is damaged."""
    path = folder / NAME
    if not path.is_file():
        return None
    content = read_json(path)
    if not isinstance(content, dict) or content.get("checksum") != _checksum(content):
        raise ValueError(f"{path} is damaged: its checksum is wrong")
    return Manifest(folder, content["files"], content["about"])


def _entry(path: Path) -> list:
    return [path.stat().st_size, content_checksum(str(path))]


def _checksum(body: Mapping) -> str:
    text = json.dumps([body.get("files"), body.get("about")], sort_keys=True)
    return digest(text.encode())
