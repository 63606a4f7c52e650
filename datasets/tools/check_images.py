"""Check the files that an index names: they exist, are whole, can be decoded, and test
images are no training images.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from datasets.io.index_files import Row, repeated
from toolkit.common.archives import read_bytes, split_archive
from toolkit.common.images import ImageError, read_image

from .lenient_readers import near
from .report import Report

BATCH = 64  # images that a thread takes at a time
# gets the number of images that were read since the last call
Progress = Callable[[int], None]
Fault = tuple[str, str, str]  # path, kind, message
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    OSError,
)


class Members:
    """The directories of zips, each read once.

    A zip that cannot be read is reported once and has no members.
    """

    def __init__(self, root: Path, report: Report):
        self._root = root
        self._report = report
        self._known: dict[str, dict[str, tuple[int, int]] | None] = {}

    def of(self, archive: str) -> dict[str, tuple[int, int]] | None:
        """Return member name -> (size, CRC) by the zip's directory, or None for a zip
        that cannot be read.
        """
        if archive not in self._known:
            self._known[archive] = self._read(archive)
        return self._known[archive]

    def paths(self) -> list[str]:
        """Return the paths of all members of the zips that were read, without folders."""
        paths = []
        for archive, members in self._known.items():
            paths += [
                f"{archive}@{name}" for name in members or {} if not name.endswith("/")
            ]
        return paths

    def _read(self, archive: str) -> dict[str, tuple[int, int]] | None:
        where = relative(archive, self._root)
        try:
            with zipfile.ZipFile(archive) as handle:
                entries = handle.infolist()
        except FileNotFoundError:
            self._report.error(
                "missing-zip", where, f"the zip does not exist{near(Path(archive))}"
            )
            return None
        except _ZIP_ERRORS as error:
            self._report.error(
                "damaged-zip",
                where,
                describe(archive) or f"not a readable zip: {error}",
            )
            return None
        for name in repeated([entry.filename for entry in entries]):
            message = "the zip holds this member more than once; the last one counts"
            self._report.warn("member-twice", f"{where}@{name}", message)
        return {entry.filename: (entry.file_size, entry.CRC) for entry in entries}


def describe(archive: str) -> str:
    """Return the likely kind of a file that is no readable zip, or ""."""
    if not os.path.isfile(archive):
        return "a folder, not a zip"
    size = os.path.getsize(archive)
    if not size:
        return "the file is empty"
    with open(archive, "rb") as file:
        head = file.read(64).lstrip().lower()
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
            found = os.path.isfile(row.path)
            if not found:
                report.error("missing-image", row.where, f"there is no file {row.key}")
        else:
            entries = members.of(archive)
            found = entries is not None and member in entries
            if entries is not None and not found:
                report.error(
                    "missing-member",
                    row.where,
                    f"{os.path.basename(archive)} has no member {member}",
                )
        if found:
            present.append(row)
    return present


def check_readable(
    rows: Sequence[Row],
    root: Path,
    members: Members,
    report: Report,
    workers: int,
    progress: Progress,
) -> None:
    """Decode every image, and read those members of their zips too that no index names
    (which checks their CRC).
    """
    tasks = {row.path: True for row in rows}  # path -> it is an image
    for path in members.paths():
        tasks.setdefault(path, False)
    with ThreadPoolExecutor(workers) as pool:
        for count, faults in _in_order(pool, list(tasks.items()), 4 * workers):
            progress(count)
            for path, kind, message in faults:
                report.error(kind, relative(path, root), message)


def _in_order(
    pool: ThreadPoolExecutor, tasks: Sequence[tuple[str, bool]], ahead: int
) -> Iterator[tuple[int, list[Fault]]]:
    """Yield the results of all batches in order, with at most `ahead` batches waiting."""
    waiting: list[Future] = []
    for start in range(0, len(tasks), BATCH):
        if len(waiting) == ahead:
            yield waiting.pop(0).result()
        waiting.append(pool.submit(_examine, tasks[start : start + BATCH]))
    for future in waiting:
        yield future.result()


def _examine(batch: Sequence[tuple[str, bool]]) -> tuple[int, list[Fault]]:
    """Return the number of files of a batch, and their faults."""
    faults = []
    for path, is_image in batch:
        fault = _fault_of_image(path) if is_image else _fault_of_file(path)
        if fault:
            faults.append((path, *fault))
    return len(batch), faults


def _fault_of_file(path: str) -> tuple[str, str] | None:
    """Return (kind, message) if a file cannot be read."""
    try:
        read_bytes(path)
    except (OSError, ValueError) as error:
        kind = "damaged-member" if split_archive(path)[1] else "unreadable-image"
        return kind, str(error).removeprefix(f"{path} ")
    return None


def _fault_of_image(path: str) -> tuple[str, str] | None:
    """Return (kind, message) if an image cannot be read or decoded."""
    try:
        read_image(path)
    except (OSError, ValueError) as error:
        fault = _fault_of_file(path)
        if fault or not isinstance(error, ImageError):
            return fault or ("unreadable-image", str(error).removeprefix(f"{path} "))
        if not read_bytes(path):
            return "unreadable-image", "empty"
        message = str(error).removeprefix(f"cannot decode {path}: ")
        return "unreadable-image", f"cannot be decoded: {message}"
    return None


def check_overlap(
    train: Sequence[Row],
    test: Sequence[Row],
    members: Members,
    report: Report,
    loose: bool,
) -> None:
    """Report test images that are training images too, by path (an error) or by content
    (a warning).

    Files outside zips are compared by content only if `loose`, as they have to be read
    for it.
    """
    by_path = {row.path: row for row in train}
    others = []
    for row in test:
        if row.path in by_path:
            message = f"the test image {row.key} is a training image too ({by_path[row.path].where})"
            report.error("train-in-test", row.where, message)
        elif loose or split_archive(row.path)[1]:
            others.append((_size(row.path, members), row))
    by_content = _by_content(train, {size for size, _ in others}, members, loose)
    train_sizes = {size for size, _ in by_content}
    for size, row in others:
        if size in train_sizes:
            twin = by_content.get((size, _crc(row.path, members)))
            if twin and _same(twin.path, row.path):
                message = f"the test image {row.key} has the same bytes as the training image {twin.key} ({twin.where})"
                report.warn("same-content", row.where, message)


def _by_content(
    rows: Sequence[Row], sizes: set[int | None], members: Members, loose: bool
) -> dict[tuple[int, int], Row]:
    """Return (size, CRC) -> the first image with it, of the images that have one of
    `sizes`.
    """
    found: dict[tuple[int, int], Row] = {}
    for row in rows:
        if not loose and not split_archive(row.path)[1]:
            continue
        size = _size(row.path, members)
        if size is not None and size in sizes:
            found.setdefault((size, _crc(row.path, members)), row)
    return found


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
    """Return `path` below the data root, with slashes."""
    return os.path.relpath(path, root).replace(os.sep, "/")
