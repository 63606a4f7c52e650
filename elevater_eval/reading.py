"""Entries of submissions and prediction files, one task at a time: what is in memory at once is one task."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm
from tqdm.utils import CallbackIOWrapper

from elevater_eval.entry import KEYS, PredictionFile, is_name, parse_entry
from elevater_eval.folds import FoldError, kind, read_folds
from elevater_eval.jsonstream import JSONError, Reader
from elevater_eval.merging import merge
from elevater_eval.problems import ERROR, Problem

MEMBER = "all_predictions.json"

Sources = str | Path | Iterable[str | Path]
Found = tuple[PredictionFile | None, list[Problem]]  # an entry, None where it cannot be read, and what is wrong with it


def read_entries(sources: Sources, only: Collection[str] | None = None) -> Iterator[Found]:
    """The entries of a submission: a zip, its unpacked JSON, or all that ``combine`` takes, its files merged by task.

    With ``only``, prediction files of other tasks are passed over. Damage is returned, never raised; what does not
    exist raises ``FileNotFoundError``. On a terminal a bar shows how much is read.
    """
    paths = path_list(sources)
    if len(paths) == 1 and paths[0].is_file():
        path = paths[0]
        if zipfile.is_zipfile(path) or path.suffix != ".json":
            yield from _read_zip(path)
            return
        if _find(path, {"data", *KEYS})[0] == "data":
            with path.open("rb") as stream, _bar(path.stat().st_size, path.name) as bar:
                yield from _read_submission(CallbackIOWrapper(bar.update, stream), str(path))
            return
    yield from read_merged(prediction_files(paths), only)


def path_list(sources: Sources) -> list[Path]:
    """The paths that a source, or several, stand for."""
    return [Path(path) for path in ([sources] if isinstance(sources, (str, Path)) else sources)]


def prediction_files(sources: Sources) -> list[Path]:
    """The files that ``sources`` stand for, sorted within each folder, each once."""
    files: dict[Path, Path] = {}
    for source in path_list(sources):
        if source.is_dir():
            folder = source / "predictions" if (source / "predictions").is_dir() else source
            found = sorted(folder.glob("*.json"))
            if folder == source and (source / "adapt").is_dir():
                raise FileNotFoundError(f"{source} holds no predictions/ yet: its run of two stages has not ended")
            if not found:
                raise FileNotFoundError(f"{folder} holds no prediction files (*.json)")
        elif source.is_file():
            found = [source]
        else:
            raise FileNotFoundError(f"{source} does not exist")
        for file in found:
            files.setdefault(file.resolve(), file)
    if not files:
        raise FileNotFoundError("no prediction files are given")
    return list(files.values())


def read_merged(files: Iterable[Path], only: Collection[str] | None = None) -> Iterator[Found]:
    """Prediction files merged by task: first those that name no task, as problems, then the tasks by name."""
    groups: dict[str, list[Path]] = {}
    for file in files:
        name = _find(file, {"dataset_name"})[1]
        groups.setdefault(name if is_name(name) else "", []).append(file)
    wanted = [name for name in sorted(groups) if not (name and only is not None and name not in only)]
    with _bar(sum(file.stat().st_size for name in wanted for file in groups[name]), "prediction files") as bar:
        for name in wanted:
            parts, problems = [], []
            for file in groups[name]:
                part, found = read_file(file, bar)
                parts += [part] if part else []
                problems += found
            entry, found = merge(parts) if parts else (None, [])
            yield entry, problems + found


def read_file(path: Path, bar: tqdm | None = None) -> Found:
    """The content of a prediction file, and all that is wrong with its form."""
    where, record = str(path), {}
    with path.open("rb") as stream:
        reader = Reader(CallbackIOWrapper(bar.update, stream) if bar else stream)
        try:
            content = _read_record(reader, record)
            reader.end()
        except JSONError as error:
            return None, _broken(error, record, where)
    faults = [Problem(ERROR, where, fault) for fault in reader.take_faults()]
    if isinstance(content, dict) and not set(content) & set(KEYS):
        what = "a whole submission" if "data" in content else "it has none of the nine keys"
        return None, [*faults, Problem(ERROR, where, f"not a prediction file: {what}")]
    entry, problems = parse_entry(content, where)
    return entry, faults + problems


def _read_zip(path: Path) -> Iterator[Found]:
    where = str(path)
    if not zipfile.is_zipfile(path):
        yield None, [Problem(ERROR, where, "not a zip archive, or a truncated one")]
        return
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if names != [MEMBER]:
                found = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
                message = f"the zip must hold exactly one member, {MEMBER!r}; it holds {found or 'none'}"
                yield None, [Problem(ERROR, where, message)]
                return
            if archive.getinfo(MEMBER).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise NotImplementedError("its member is neither stored nor deflated")  # unpacked without a bound
            damaged = archive.testzip()  # before any content is believed
            if not damaged:
                with archive.open(MEMBER) as stream, _bar(archive.getinfo(MEMBER).file_size, path.name) as bar:
                    yield from _read_submission(CallbackIOWrapper(bar.update, stream), f"{path}/{MEMBER}")
                return
            message = "its checksum is wrong"
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        message = str(error)
    yield None, [Problem(ERROR, where, f"the zip cannot be read, it is damaged or encrypted: {message}")]


def _read_submission(stream: BinaryIO, where: str) -> Iterator[Found]:
    """The entries below ``data`` of a submission's text, and at the end what is wrong with the whole."""
    reader, record, problems = Reader(stream), {}, []
    position = None  # of the last entry; stays None where there is no 'data'
    try:
        if reader.peek() != "{":
            found = kind(reader.value())
            problems.append(Problem(ERROR, where, f"the top level must be an object with the key 'data', got {found}"))
        else:
            for key in reader.members():
                if key == "data" and reader.peek() == "[":
                    for position in reader.elements():
                        yield _read_entry(reader, record, position, where)
                        record.clear()
                else:
                    reader.value()
                    if key != "data":
                        problems.append(Problem(ERROR, where, f"unknown key {key!r} beside 'data'"))
                        continue
                if position is None:
                    problems.append(Problem(ERROR, where, "'data' must be a non-empty list of tasks"))
                    position = 0
            if position is None:
                problems.append(Problem(ERROR, where, "the top level must be an object with the key 'data'"))
        reader.end()
    except JSONError as error:
        problems += _broken(error, record, where)
    yield None, [Problem(ERROR, where, fault) for fault in reader.take_faults()] + problems


def _read_entry(reader: Reader, record: dict[str, Any], position: int, where: str) -> Found:
    content = _read_record(reader, record)
    place = _place(record, where)
    entry, problems = parse_entry(content, where if place != where else f"{where}: data[{position}]")
    return entry, [Problem(ERROR, place, fault) for fault in reader.take_faults()] + problems


def _read_record(reader: Reader, record: dict[str, Any]) -> Any:
    """The next value; an object is read into ``record``, which holds what came before where the text is damaged."""
    if reader.peek() != "{":
        return reader.value()
    for key in reader.members():
        record[key] = read_folds(reader) if key == "predictions" else reader.value()
    return record


def _broken(error: JSONError, record: dict[str, Any], where: str) -> list[Problem]:
    place, message = _place(record, where), str(error)
    if isinstance(error, FoldError):
        seeds = record.get("rnd_seeds")
        named = isinstance(seeds, list) and error.fold < len(seeds) and type(seeds[error.fold]) is int
        place += f", seed {seeds[error.fold]}" if named else f", fold {error.fold}"
    return [Problem(ERROR, place, f"not JSON: {message}")]


def _place(record: dict[str, Any], where: str) -> str:
    name = record.get("dataset_name")
    return f"{where}: {name}" if is_name(name) else where


def _find(path: Path, keys: Collection[str]) -> tuple[str | None, Any]:
    """The first of ``keys`` in a file's object and, but for ``data``, its value; (None, None) where there is none."""
    with path.open("rb") as stream:
        reader = Reader(stream, block=1 << 12)
        try:
            for key in reader.members():
                if key == "data" and key in keys:
                    return key, None
                value = read_folds(reader) if key == "predictions" else reader.value()
                if key in keys:
                    return key, value
        except JSONError:
            pass
    return None, None


def _bar(total: int, what: str) -> tqdm:
    return tqdm(
        total=total, desc=what, unit="B", unit_scale=True, leave=False, dynamic_ncols=True, disable=None, delay=1
    )
