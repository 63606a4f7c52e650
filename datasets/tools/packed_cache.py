"""The cache of unpacked images: its entries, and removing those that no source needs."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from datasets.custom.packed import INDEX, entry_folder, home
from toolkit.common.structured import read_json
from toolkit.common.text import aligned_table, printable

MEANINGS = {
    "there": "",
    "gone": "source is gone",
    "changed": "source has changed",
    "unknown": "source is not recorded",
    "unfinished": "left unfinished",
}
REMOVABLE = ("gone", "changed", "unfinished")
HEAD = ("folder", "size", "", "source")
# seconds after which an unfinished entry is taken for that of a process that died
STALE = 3600


@dataclass(frozen=True)
class CacheEntry:
    """The unpacked images of one source."""

    folder: Path
    source: str  # "wds:PATH" or "parquet:PATH", "" if it is not recorded
    state: str  # one of `MEANINGS`
    bytes: int  # of the entry's files

    def to_dict(self) -> dict:
        """Return plain JSON: folder, source, state, bytes."""
        return asdict(self) | {"folder": str(self.folder)}


def list_entries() -> list[CacheEntry]:
    """Return the entries of the cache by name; none is changed."""
    children = sorted(home().glob("*"))
    found = map(_examine, filter(Path.is_dir, children))
    return [entry for entry in found if entry]


def describe(entries: Sequence[CacheEntry], removed: Sequence[CacheEntry]) -> str:
    """Return a table of the entries, and the number and size of those that are left."""
    rows = []
    left = []
    for entry in entries:
        state = MEANINGS[entry.state]
        if entry in removed:
            state += ", removed"
        else:
            left.append(entry)
        size = _megabytes([entry])
        rows.append((entry.folder.name, size, state, printable(entry.source)))
    lines = []
    if rows:
        lines.append(aligned_table(HEAD, rows, numbers=(1,)))
    lines.append(f"{len(left)} in {home()}: {_megabytes(left)}")
    removable = [entry for entry in left if entry.state in REMOVABLE]
    if removable:
        lines.append(
            f"--remove removes {len(removable)} of them, whose source is gone or changed: {_megabytes(removable)}"
        )
    return "\n".join(lines)


def _megabytes(entries: Sequence[CacheEntry]) -> str:
    total = sum(entry.bytes for entry in entries)
    return f"{total / 1e6:.1f} MB"


def _examine(folder: Path) -> CacheEntry | None:
    """Return the entry in a folder, None if it is being written now, or is no entry."""
    files = filter(Path.is_file, folder.rglob("*"))
    stats = [file.stat() for file in files]
    size = sum(stat.st_size for stat in stats)
    if folder.name.startswith(".") and folder.name.endswith(".tmp"):
        newest = max(stat.st_mtime for stat in [folder.stat(), *stats])
        if time.time() - newest < STALE:
            return None
        return CacheEntry(folder, "", "unfinished", size)
    if not (folder / INDEX).is_file():
        return None
    source = ""
    with contextlib.suppress(ValueError, AttributeError):  # a damaged index
        source = str(read_json(folder / INDEX).get("source", ""))
    kind, _, path = source.partition(":")
    if not path:
        state = "unknown"
    elif not Path(path).exists():
        state = "gone"
    elif entry_folder(kind, Path(path)).name != folder.name:
        state = "changed"
    else:
        state = "there"
    return CacheEntry(folder, source, state, size)
