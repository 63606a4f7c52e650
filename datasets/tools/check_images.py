"""Check the files that an index names: they exist, are whole, can be decoded, and test
images are no training images.
"""

import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from datasets.io.index_files import Row, repeated
from toolkit.common.archives import DAMAGED, read_bytes, split_archive
from toolkit.common.images import ImageError, read_image

from .lenient_readers import near
from .report import Report

BATCH = 64  # images that a thread takes at a time
# gets the number of images that were read since the last call
Progress = Callable[[int], None]
Directory = dict[str, zipfile.ZipInfo]  # member -> its metadata
Fault = tuple[str, str]  # its kind, and a message


class Members:
    """The directories of zips, each read, and reported if it cannot be, once."""

    def __init__(self, root: Path, report: Report):
        self.root = root
        self.known: dict[str, Directory | None] = {}
        self._report = report

    def of(self, archive: str) -> Directory | None:
        """Return the members of a zip by name, or None for a zip that cannot be read."""
        if archive not in self.known:
            self.known[archive] = self._read(archive)
        return self.known[archive]

    def find(self, path: str) -> zipfile.ZipInfo | None:
        """Return the member of a zip that a path names, or None."""
        archive, member = split_archive(path)
        if member is None:
            return None
        return (self.of(archive) or {}).get(member)

    def relative(self, path: str) -> str:
        """Return `path` below the data root, with slashes."""
        return os.path.relpath(path, self.root).replace(os.sep, "/")

    def _read(self, archive: str) -> Directory | None:
        where = self.relative(archive)
        try:
            with zipfile.ZipFile(archive) as handle:
                entries = handle.infolist()
        except FileNotFoundError:
            message = f"the zip does not exist{near(Path(archive))}"
            self._report.error("missing-zip", where, message)
            return None
        except DAMAGED as error:
            message = describe(archive) or f"not a readable zip: {error}"
            self._report.error("damaged-zip", where, message)
            return None
        for name in repeated([entry.filename for entry in entries]):
            message = "the zip holds this member more than once; the last one counts"
            self._report.warn("member-twice", f"{where}@{name}", message)
        return {entry.filename: entry for entry in entries}


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
        else:
            found = members.find(row.path) is not None
        if found:
            present.append(row)
        elif member is None:
            report.error("missing-image", row.where, f"there is no file {row.key}")
        elif members.of(archive) is not None:
            message = f"{os.path.basename(archive)} has no member {member}"
            report.error("missing-member", row.where, message)
    return present


def check_readable(
    images: Iterable[str],
    members: Members,
    report: Report,
    workers: int,
    progress: Progress,
) -> None:
    """Decode all images, and check the CRC of other members of their zips."""
    checks = dict.fromkeys(images, _fault_of_image)
    for archive, found in members.known.items():
        for name in found or ():
            if not name.endswith("/"):
                checks.setdefault(f"{archive}@{name}", _fault_of_file)
    paths = list(checks)
    starts = range(0, len(paths), BATCH)

    def examine(start: int) -> list[tuple[str, Fault | None]]:
        batch = paths[start : start + BATCH]
        return [(path, checks[path](path)) for path in batch]

    with ThreadPoolExecutor(workers) as pool:
        for examined in pool.map(examine, starts):
            progress(len(examined))
            for path, fault in examined:
                if fault:
                    report.error(fault[0], members.relative(path), fault[1])


def _fault_of_file(path: str) -> Fault | None:
    try:
        read_bytes(path)
    except (OSError, ValueError) as error:
        kind = "damaged-member" if split_archive(path)[1] else "unreadable-image"
        return kind, str(error).removeprefix(f"{path} ")
    return None


def _fault_of_image(path: str) -> Fault | None:
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
    images: Mapping[str, Sequence[Row]], members: Members, report: Report, loose: bool
) -> None:
    """Report test images that are training images too, by path (an error) or by content
    (a warning). Files outside zips are read, to be compared by content, only if `loose`.
    """
    train = images.get("train", ())
    by_path = {row.path: row for row in train}
    others = []
    for row in images.get("test", ()):
        if row.path in by_path:
            message = f"the test image {row.key} is a training image too ({by_path[row.path].where})"
            report.error("train-in-test", row.where, message)
        elif loose or split_archive(row.path)[1]:
            others.append(row)
    by_size: dict[int, list[Row]] = {}
    for row in train:
        if loose or split_archive(row.path)[1]:
            by_size.setdefault(_size(row.path, members), []).append(row)
    by_crc: dict[int, dict[int, Row]] = {}  # of the sizes that test images have, too
    for row in others:
        size = _size(row.path, members)
        if size not in by_size:
            continue
        if size not in by_crc:
            rows = reversed(by_size[size])
            by_crc[size] = {_crc(twin.path, members): twin for twin in rows}
        twin = by_crc[size].get(_crc(row.path, members))
        if twin and _same(twin.path, row.path):
            message = f"the test image {row.key} has the same bytes as the training image {twin.key} ({twin.where})"
            report.warn("same-content", row.where, message)


def _size(path: str, members: Members) -> int:
    member = members.find(path)
    return member.file_size if member else os.path.getsize(path)


def _crc(path: str, members: Members) -> int:
    member = members.find(path)
    return member.CRC if member else zlib.crc32(read_bytes(path))


def _same(first: str, second: str) -> bool:
    try:
        return read_bytes(first) == read_bytes(second)
    except (OSError, ValueError):
        return False
