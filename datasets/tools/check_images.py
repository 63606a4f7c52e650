"""Are the files that an index names there, whole and readable as images?"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

from toolkit.common.archives import read_bytes, split_archive
from toolkit.common.images import ImageError, read_image

from .findings import Report
from .listings import Row, near, repeated

BATCH = 64  # images that a thread takes at a time
Progress = Callable[[int], None]  # is told how many images are done
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError)


class Members:
    """The directories of zips, each read once. A zip that cannot be read is reported once and has no members."""

    def __init__(self, root: Path, report: Report):
        self._root, self._report = root, report
        self._known: dict[str, dict[str, tuple[int, int]] | None] = {}

    def of(self, archive: str) -> dict[str, tuple[int, int]] | None:
        """Member name -> (size, CRC) by the zip's directory, or None for a zip that cannot be read."""
        if archive not in self._known:
            self._known[archive] = self._read(archive)
        return self._known[archive]

    def zips(self) -> list[str]:
        return [archive for archive, members in self._known.items() if members is not None]

    def _read(self, archive: str) -> dict[str, tuple[int, int]] | None:
        where = relative(archive, self._root)
        try:
            with zipfile.ZipFile(archive) as handle:
                entries = [(entry.filename, (entry.file_size, entry.CRC)) for entry in handle.infolist()]
        except FileNotFoundError:
            self._report.error("missing-zip", where, f"the zip does not exist{near(Path(archive))}")
            return None
        except _ZIP_ERRORS as error:
            self._report.error("damaged-zip", where, what_is(archive) or f"not a readable zip: {error}")
            return None
        for name in repeated([name for name, _ in entries]):
            self._report.warn(
                "member-twice", f"{where}@{name}", "the zip holds this member more than once; the last one counts"
            )
        return dict(entries)


def what_is(archive: str) -> str:
    """What a file that is no readable zip seems to be, or ""."""
    size = os.path.getsize(archive) if os.path.isfile(archive) else -1
    if size < 0:
        return "a folder, not a zip"
    with open(archive, "rb") as file:
        head = file.read(64).lstrip().lower()
    if not size:
        return "the file is empty"
    if head.startswith(b"pk\x03\x04"):
        return f"the zip is truncated: it has {size} bytes, but no directory at its end"
    if head.startswith((b"<!doctype html", b"<html")):
        return "a web page, not a zip: the download was refused"
    return ""


def check_present(rows: Iterable[Row], members: Members, report: Report) -> list[Row]:
    """Report files, zips and members that are not there; return the rows whose file is."""
    present = []
    for row in rows:
        archive, member = split_archive(row.path)
        if member is None:
            if os.path.isfile(row.path):
                present.append(row)
            else:
                report.error("missing-image", row.where, f"there is no file {row.key}")
            continue
        entries = members.of(archive)
        if entries is None:
            continue
        if member in entries:
            present.append(row)
        else:
            report.error("missing-member", row.where, f"{os.path.basename(archive)} has no member {member}")
    return present


def check_readable(
    rows: Sequence[Row], root: Path, members: Members, report: Report, workers: int, progress: Progress
) -> None:
    """Decode every image, and read those members of their zips too that no index names (which checks their CRC)."""
    named = {row.path: None for row in rows}
    others = [
        f"{archive}@{name}" for archive in members.zips() for name in members.of(archive) if not name.endswith("/")
    ]
    todo = [*((path, True) for path in named), *((path, False) for path in others if path not in named)]
    with ThreadPoolExecutor(workers) as pool:
        for count, faults in _in_order(pool, _examine, _batches(todo), 4 * workers):
            progress(count)
            for path, kind, message in faults:
                report.error(kind, relative(path, root), message)


def _examine(batch: list[tuple[str, bool]]) -> tuple[int, list[tuple[str, str, str]]]:
    faults = [(path, *fault) for path, is_image in batch for fault in [_fault(path, is_image)] if fault]
    return len(batch), faults


def _fault(path: str, is_image: bool) -> tuple[str, str] | None:
    """(kind, message) of what is wrong with a file, or None."""
    try:
        if is_image:
            read_image(path)
        else:
            read_bytes(path)
        return None
    except ImageError as error:
        message = str(error).removeprefix(f"cannot decode {path}: ")
        try:
            read_bytes(path)
        except (OSError, ValueError) as damage:
            return "damaged-member", str(damage).removeprefix(f"{path} ")
        return "unreadable-image", "empty" if not read_bytes(path) else f"cannot be decoded: {message}"
    except (OSError, ValueError) as error:
        return "damaged-member" if split_archive(path)[1] else "unreadable-image", str(error).removeprefix(f"{path} ")


def check_overlap(train: Sequence[Row], test: Sequence[Row], members: Members, report: Report, loose: bool) -> None:
    """Report test images that are among the training images, by path (an error) or by content (a warning).

    Files outside zips are compared by content only if `loose`, as they have to be read for it.
    """
    paths = {row.path: row for row in train}
    for row in test:
        if row.path in paths:
            message = f"the test image {row.key} is a training image too ({paths[row.path].where})"
            report.error("train-in-test", row.where, message)
    sizes = {size for row in test if (size := _size(row.path, members)) is not None}
    print_of: dict[tuple[int, int], Row] = {}
    for row in train:
        size = _size(row.path, members)
        if size in sizes and (loose or split_archive(row.path)[1]):
            print_of.setdefault((size, _crc(row.path, members)), row)
    train_sizes = {size for size, _ in print_of}
    for row in test:
        size = _size(row.path, members)
        if row.path in paths or size not in train_sizes or not (loose or split_archive(row.path)[1]):
            continue
        twin = print_of.get((size, _crc(row.path, members)))
        if twin and _same(twin.path, row.path):
            message = f"the test image {row.key} has the same bytes as the training image {twin.key} ({twin.where})"
            report.warn("same-content", row.where, message)


def _size(path: str, members: Members) -> int | None:
    archive, member = split_archive(path)
    if member is None:
        return os.path.getsize(path)
    size, _ = (members.of(archive) or {}).get(member, (None, None))
    return size


def _crc(path: str, members: Members) -> int:
    archive, member = split_archive(path)
    entries = members.of(archive) if member is not None else None
    return entries[member][1] if entries else zlib.crc32(read_bytes(path))


def _same(first: str, second: str) -> bool:
    try:
        return read_bytes(first) == read_bytes(second)
    except (OSError, ValueError):
        return False


def relative(path: str, root: Path) -> str:
    """`path` below the data root, with slashes."""
    return os.path.relpath(path, root).replace(os.sep, "/")


def _batches(items: Sequence) -> Iterator[list]:
    return (list(items[start : start + BATCH]) for start in range(0, len(items), BATCH))


def _in_order(pool: ThreadPoolExecutor, function: Callable, items: Iterator, ahead: int) -> Iterator:
    """Like `pool.map`, with at most `ahead` calls waiting."""
    waiting = [pool.submit(function, item) for item in islice(items, ahead)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(function, item) for item in islice(items, 1)]
