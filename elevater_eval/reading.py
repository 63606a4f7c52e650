"""Entries of submissions and prediction files; one task is in memory at once."""

import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

from elevater_eval.entry import (
    KEYS,
    PredictionFile,
    Record,
    fold_place,
    is_name,
    parse_entry,
    place_of,
)
from elevater_eval.folds import FoldError, kind, read_folds
from elevater_eval.issues import Issue, Issues, error, errors
from elevater_eval.jsonstream import JSONError, Reader
from elevater_eval.merging import merge
from toolkit.common.text import printable, shortened

MEMBER = "all_predictions.json"
MEMBERS_NAMED = 5
TOP_LEVEL = "the top level must be an object with the key 'data'"
# of tqdm: only for terminals
BAR: dict[str, Any] = dict(leave=False, dynamic_ncols=True, disable=None, delay=1)
DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)

Sources = str | Path | Iterable[str | Path]
Only = Collection[str] | None  # names of tasks; None for all
# an entry, None if it cannot be read, and its issues
Found = tuple[PredictionFile | None, Issues]


def read_entries(sources: Sources, only: Only = None) -> Iterator[Found]:
    """Yield the entries of a submission: a zip, its unpacked JSON, or all that
    `combine` takes, its files merged by task. With `only`, prediction files of other
    tasks are skipped. Damage is returned, never raised; a path that does not exist
    raises FileNotFoundError.
    """
    paths = path_list(sources)
    if len(paths) == 1 and paths[0].is_file():
        path = paths[0]
        if zipfile.is_zipfile(path) or path.suffix != ".json":
            yield from _read_zip(path)
            return
        if _first_member(path, {"data", *KEYS})[0] == "data":
            with path.open("rb") as stream:
                size = path.stat().st_size
                yield from _read_submission(stream, size, path.name, str(path))
            return
    yield from read_merged(prediction_files(paths), only)


def path_list(sources: Sources) -> list[Path]:
    """Return one or several sources as paths."""
    if isinstance(sources, str | Path):
        return [Path(sources)]
    return [Path(source) for source in sources]


def prediction_files(sources: Sources) -> list[Path]:
    """Return the prediction files of folders, runs and files, sorted, each once."""
    files: dict[Path, Path] = {}
    for source in path_list(sources):
        if source.is_dir():
            found = _files_of_folder(source)
        elif source.is_file():
            found = [source]
        else:
            raise FileNotFoundError(f"{source} does not exist")
        for file in found:
            files.setdefault(file.resolve(), file)
    if not files:
        raise FileNotFoundError("no prediction files are given")
    return list(files.values())


def _files_of_folder(source: Path) -> list[Path]:
    folder = source / "predictions"
    if not folder.is_dir():
        folder = source
        if (source / "adapt").is_dir():
            message = f"{source} holds no predictions/ yet: its run of two stages has not ended"
            raise FileNotFoundError(message)
    files = sorted(folder.glob("*.json"))
    if not files:
        raise FileNotFoundError(f"{folder} holds no prediction files (*.json)")
    return files


def read_merged(files: Iterable[Path], only: Only = None) -> Iterator[Found]:
    """Yield prediction files merged by task: those that name none first, as issues."""
    groups: dict[str, list[Path]] = {}
    for file in files:
        name = _first_member(file, {"dataset_name"})[1]
        if not is_name(name):
            name = ""
        if name and only is not None and name not in only:
            continue
        groups.setdefault(name, []).append(file)
    size = sum(file.stat().st_size for file in chain.from_iterable(groups.values()))
    with _progress(size, "prediction files") as bar:
        for name in sorted(groups):
            yield _merged(groups[name], bar)


def _merged(files: list[Path], bar: tqdm) -> Found:
    parts, issues = [], []
    for file in files:
        part, found = read_file(file, bar)
        issues += found
        if part:
            parts.append(part)
    if not parts:
        return None, issues
    entry, found = merge(parts)
    return entry, issues + found


def read_file(path: Path, bar: tqdm | None = None) -> Found:
    """Return the content of a prediction file, and all issues of its form."""
    where = str(path)
    record: Record = {}
    with path.open("rb") as stream:
        reader = Reader(_counted(stream, bar))
        try:
            content = _read_record(reader, record)
            reader.end()
        except JSONError as damage:
            return None, [_damage_issue(damage, record, where)]
    issues = errors(where, reader.take_faults())
    if isinstance(content, dict) and not set(content) & set(KEYS):
        reason = "it has none of the nine keys"
        if "data" in content:
            reason = "a whole submission"
        return None, [*issues, error(where, f"not a prediction file: {reason}")]
    entry, found = parse_entry(content, where)
    return entry, issues + found


def _read_zip(path: Path) -> Iterator[Found]:
    if not zipfile.is_zipfile(path):
        yield None, [error(str(path), "not a zip archive, or a truncated one")]
        return
    try:
        with zipfile.ZipFile(path) as archive:
            fault = _member_fault(archive)
            if fault:
                yield None, [error(str(path), fault)]
                return
            size = archive.getinfo(MEMBER).file_size
            with archive.open(MEMBER) as stream:
                where = f"{path}/{MEMBER}"
                yield from _read_submission(stream, size, path.name, where)
    except DAMAGED as damage:
        message = f"the zip cannot be read, it is damaged or encrypted: {damage}"
        yield None, [error(str(path), message)]


def _member_fault(archive: zipfile.ZipFile) -> str:
    """Return why an archive, whose checksum is checked, is no submission, or ""."""
    names = archive.namelist()
    if names != [MEMBER]:
        found = ", ".join(map(repr, names[:MEMBERS_NAMED])) or "none"
        if len(names) > MEMBERS_NAMED:
            found += ", ..."
        return f"the zip must hold exactly one member, {MEMBER!r}; it holds {found}"
    known = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if archive.getinfo(MEMBER).compress_type not in known:
        # Python unpacks it without a bound
        raise NotImplementedError("its member is neither stored nor deflated")
    if archive.testzip():
        raise zipfile.BadZipFile("its checksum is wrong")
    return ""


def _read_submission(stream: IO[bytes], size: int, name: str, where: str):
    """Yield the entries of a submission's text, and last the issues of the whole."""
    record: Record = {}
    issues: Issues = []
    with _progress(size, name) as bar:
        reader = Reader(_counted(stream, bar))
        try:
            if reader.peek() == "{":
                yield from _read_members(reader, record, where, issues)
            else:
                found = kind(reader.value())
                issues.append(error(where, f"{TOP_LEVEL}, got {found}"))
            reader.end()
        except JSONError as damage:
            issues.append(_damage_issue(damage, record, where))
    yield None, errors(where, reader.take_faults()) + issues


def _read_members(reader: Reader, record: Record, where: str, issues: Issues):
    """Yield the entries below "data"; add the object's issues to `issues`."""
    has_data = False
    for key in reader.members():
        if key != "data":
            reader.value()
            message = f"unknown key {printable(repr(key), 100)} beside 'data'"
            issues.append(error(where, message))
            continue
        has_data = True
        entries = 0
        if reader.peek() == "[":
            for position in reader.elements():
                yield _read_entry(reader, record, position, where)
                record.clear()
                entries += 1
        else:
            reader.value()
        if not entries:
            issues.append(error(where, "'data' must be a non-empty list of tasks"))
    if not has_data:
        issues.append(error(where, TOP_LEVEL))


def _read_entry(reader: Reader, record: Record, position: int, where: str) -> Found:
    content = _read_record(reader, record)
    place = place_of(record, where)
    faults = errors(place, reader.take_faults())
    if place == where:
        where = f"{where}: data[{position}]"
    entry, issues = parse_entry(content, where)
    return entry, faults + issues


def _read_record(reader: Reader, record: Record) -> Any:
    """Return the next value; an object is read into `record`, up to a damage."""
    if reader.peek() != "{":
        return reader.value()
    for key in reader.members():
        record[key] = _read_member(reader, key)
    return record


def _read_member(reader: Reader, key: str) -> Any:
    if key == "predictions":
        return read_folds(reader)
    return reader.value()


def _damage_issue(damage: JSONError, record: Record, where: str) -> Issue:
    place = place_of(record, where)
    if isinstance(damage, FoldError):
        place = fold_place(place, record.get("rnd_seeds"), damage.fold)
    return error(place, f"not JSON: {damage}")


def _first_member(path: Path, keys: Collection[str]) -> tuple[str | None, Any]:
    """Return the first of `keys` in a file's object and its value, or (None, None)."""
    with path.open("rb") as stream:
        reader = Reader(stream, block=1 << 12)
        try:
            for key in reader.members():
                if key == "data" and key in keys:
                    return key, None
                value = _read_member(reader, key)
                if key in keys:
                    return key, value
        except JSONError:
            pass
    return None, None


def _counted(stream: IO[bytes], bar: tqdm | None) -> IO[bytes]:
    """Return a stream that moves the bar, if there is one, as it is read."""
    if bar is None:
        return stream
    return cast(IO[bytes], CallbackIOWrapper(bar.update, stream))


def _progress(total: int, what: str) -> tqdm:
    what = shortened(printable(what), 24)
    return tqdm(total=total, desc=what, unit="B", unit_scale=True, **BAR)
