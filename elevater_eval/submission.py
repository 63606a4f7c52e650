"""Submissions: prediction files of many tasks and seeds, merged into one zip with the member all_predictions.json."""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from elevater_eval.entry import PredictionFile, is_name, parse_entry
from elevater_eval.order import order_warnings
from elevater_eval.predictions import decode, json_pieces, load_predictions, parse_file, written_whole
from elevater_eval.problems import ERROR, InvalidSubmissionError, Problem, errors_of
from elevater_eval.tasks import load_tasks

log = logging.getLogger(__name__)

MEMBER = "all_predictions.json"
SAME_OVER_SEEDS = ("model_name", "num_params", "num_visual_params", "num_backbone_params", "n_shot")
SAME_OVER_TASKS = ("model_name", "n_shot")
EPOCH = (1980, 1, 1, 0, 0, 0)  # a fixed time, so that equal predictions make equal bytes

Sources = str | Path | Iterable[str | Path]


def combine(sources: Sources, out: str | Path, root: str | Path | None = None) -> Path:
    """Merge prediction files into the submission ``out`` and return its path.

    ``sources`` is one or several of: a run's folder (its ``predictions/`` is taken), a folder of prediction files, a
    prediction file. Tasks are sorted by name and seeds ascending, so equal input gives equal bytes. All but seeds,
    predictions and ``num_trainable_params`` (averaged) must agree; otherwise ``InvalidSubmissionError`` names the
    files and nothing is written. With a data ``root``, a warning is logged for each task whose test images there are
    not in ELEVATER's order.
    """
    files = prediction_files(sources)
    parts, problems = read_files(files)
    entries, found = merge(parts)
    problems += found + one_experiment(entries)
    if errors_of(problems):
        raise InvalidSubmissionError(errors_of(problems))
    for problem in order_warnings(entries, load_tasks(), root) if root is not None else []:
        log.warning("%s", problem)

    member = zipfile.ZipInfo(MEMBER, date_time=EPOCH)
    member.compress_type = zipfile.ZIP_DEFLATED
    member.external_attr = 0o644 << 16
    member.file_size = sum(file.stat().st_size for file in files)  # lets zipfile choose the 64-bit form if needed
    with written_whole(out) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open(member, "w") as stream:
            stream.write(b'{"data": [')
            for i, entry in enumerate(entries):
                stream.write(b", " if i else b"")
                for piece in json_pieces(entry):
                    stream.write(piece.encode("utf-8"))
            stream.write(b"]}")
    return Path(out)


def prediction_files(sources: Sources) -> list[Path]:
    """The files that ``sources`` stand for, sorted within each folder, each once."""
    files: dict[Path, Path] = {}
    for source in [sources] if isinstance(sources, (str, Path)) else sources:
        source = Path(source)
        if source.is_dir():
            folder = source / "predictions" if (source / "predictions").is_dir() else source
            found = sorted(folder.glob("*.json"))
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


def load(sources: Sources) -> tuple[list[PredictionFile], list[Problem]]:
    """The entries of a submission: a zip, its unpacked JSON, or all that ``combine`` takes."""
    paths = [Path(p) for p in ([sources] if isinstance(sources, (str, Path)) else sources)]
    if len(paths) == 1 and paths[0].is_file():
        path = paths[0]
        if zipfile.is_zipfile(path) or path.suffix != ".json":
            return read_zip(path)
        record, problems = decode(path.read_bytes(), str(path))
        if isinstance(record, dict) and "data" in record:
            entries, found = _entries(record, str(path))
        else:
            entry, found = parse_file(record, str(path)) if record is not None else (None, [])
            entries = [entry] if entry else []
        return entries, problems + found
    parts, problems = read_files(prediction_files(paths))
    entries, found = merge(parts)
    return entries, problems + found


def read_files(files: Iterable[Path]) -> tuple[list[PredictionFile], list[Problem]]:
    entries, problems = [], []
    for file in files:
        entry, found = load_predictions(file)
        entries += [entry] if entry else []
        problems += found
    return entries, problems


def read_zip(path: Path) -> tuple[list[PredictionFile], list[Problem]]:
    """The entries of a submission's zip, and all that is wrong with their form."""
    where = str(path)
    if not zipfile.is_zipfile(path):
        return [], [Problem(ERROR, where, "not a zip archive, or a truncated one")]
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if names != [MEMBER]:
                found = ", ".join(map(repr, names[:5])) + (", ..." if len(names) > 5 else "")
                message = f"the zip must hold exactly one member, {MEMBER!r}; it holds {found or 'none'}"
                return [], [Problem(ERROR, where, message)]
            content = archive.read(MEMBER)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
        return [], [Problem(ERROR, where, f"the zip cannot be read, it is damaged or encrypted: {error}")]
    where = f"{path}/{MEMBER}"
    record, problems = decode(content, where)
    entries, found = _entries(record, where) if record is not None else ([], [])
    return entries, problems + found


def _entries(record: object, where: str) -> tuple[list[PredictionFile], list[Problem]]:
    if not isinstance(record, dict) or "data" not in record:
        return [], [Problem(ERROR, where, "the top level must be an object with the key 'data'")]
    data = record["data"]
    problems = [Problem(ERROR, where, f"unknown key {key!r} beside 'data'") for key in record if key != "data"]
    if not isinstance(data, list) or not data:
        return [], [*problems, Problem(ERROR, where, "'data' must be a non-empty list of tasks")]
    entries = []
    for i, item in enumerate(data):
        named = isinstance(item, dict) and is_name(item.get("dataset_name"))
        entry, found = parse_entry(item, where if named else f"{where}: data[{i}]")
        entries += [entry] if entry else []
        problems += found
    return entries, problems


def merge(parts: Sequence[PredictionFile]) -> tuple[list[PredictionFile], list[Problem]]:
    """One entry a task, sorted by name, its seeds ascending; conflicting parts are reported and left out."""
    groups: dict[str, list[PredictionFile]] = {}
    for part in parts:
        groups.setdefault(part.dataset_name, []).append(part)
    entries, problems = [], []
    for _, group in sorted(groups.items()):
        found = [problem for part in group[1:] for problem in _conflicts(group[0], part)] + _repeated_seeds(group)
        problems += found
        if not found:
            entries.append(_merged(group))
    return entries, problems


def _merged(group: Sequence[PredictionFile]) -> PredictionFile:
    folds = [fold for part in group for fold in zip(part.rnd_seeds, part.predictions, part.sources, strict=True)]
    seeds, predictions, sources = zip(*sorted(folds, key=lambda fold: fold[0]), strict=True)
    return replace(
        group[0],
        num_trainable_params=float(np.mean([part.num_trainable_params for part in group])),
        rnd_seeds=seeds,
        predictions=predictions,
        sources=sources,
    )


def _conflicts(first: PredictionFile, other: PredictionFile) -> list[Problem]:
    problems = []
    for key in SAME_OVER_SEEDS:
        mine, theirs = getattr(first, key), getattr(other, key)
        if mine != theirs:
            message = f"{key} is {theirs!r}, but {mine!r} in {first.sources[0]}: two experiments are mixed"
            problems.append(Problem(ERROR, other.where(), message))
    shape, shape_of_other = first.predictions[0].shape, other.predictions[0].shape
    if shape != shape_of_other:
        message = f"predictions are {_size(shape_of_other)}, but {_size(shape)} in {first.sources[0]}"
        problems.append(Problem(ERROR, other.where(), message))
    return problems


def _repeated_seeds(group: Sequence[PredictionFile]) -> list[Problem]:
    problems, seen = [], {}
    for part in group:
        for i, seed in enumerate(part.rnd_seeds):
            if seed in seen:
                problems.append(Problem(ERROR, part.where(i), f"seed {seed} is also in {seen[seed]}"))
            seen.setdefault(seed, part.sources[i])
    return problems


def one_experiment(entries: Sequence[PredictionFile]) -> list[Problem]:
    """Errors for tasks whose model_name or n_shot is not that of most tasks."""
    problems = []
    for key in SAME_OVER_TASKS:
        counts = Counter(getattr(entry, key) for entry in entries)
        if len(counts) < 2:
            continue
        usual = counts.most_common(1)[0][0]
        example = next(entry for entry in entries if getattr(entry, key) == usual)
        for entry in entries:
            value = getattr(entry, key)
            if value != usual:
                message = f"{key} is {value!r}, but {usual!r} in {example.where()}: two experiments are mixed"
                problems.append(Problem(ERROR, entry.where(), message))
    return problems


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} x {shape[1]}"
