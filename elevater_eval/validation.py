"""Checks of a submission: is it well formed, does it fit its tasks, is it complete for the leaderboard."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from zipfile import is_zipfile

import numpy as np

from elevater_eval.entry import PredictionFile
from elevater_eval.labels import Labels, read_labels
from elevater_eval.merging import one_experiment, uneven_seeds
from elevater_eval.order import order_warning
from elevater_eval.problems import ERROR, WARNING, Problem, errors_of
from elevater_eval.reading import Sources, path_list, read_entries
from elevater_eval.tasks import TaskInfo, load_tasks, members

ROW_SUM_TOLERANCE = 1e-3
TRACKS = {0: [0], 5: [0, 1, 2], -1: [0]}  # n_shot of a leaderboard track: the seeds it takes


def validate(
    path: Sources,
    root: str | Path | None = None,
    *,
    leaderboard: bool = False,
    tasks: Mapping[str, TaskInfo] | None = None,
) -> list[Problem]:
    """All that is wrong with a submission, or with prediction files and folders of them. Nothing found: an empty list.

    Sizes are those of the table of tasks, or of the index files where a data ``root`` is given. What is well formed but
    not complete for the leaderboard is a warning, and an error with ``leaderboard``.
    """
    return inspect(path, root, leaderboard=leaderboard, tasks=tasks)[1]


def inspect(
    path: Sources,
    root: str | Path | None = None,
    *,
    leaderboard: bool = False,
    tasks: Mapping[str, TaskInfo] | None = None,
) -> tuple[list[PredictionFile], list[Problem]]:
    """Like ``validate``, with the outlines of the entries that could be read."""
    tasks = load_tasks() if tasks is None else tasks
    if root is not None:
        check_root(root)
    paths = path_list(path)
    outlines, problems, warnings, all_read = [], [], [], True
    for entry, found in read_entries(paths):
        problems += found
        all_read &= not errors_of(found)
        if entry is None:
            continue
        labels, absent = labels_of(entry, tasks, root) if root is not None else (None, [])
        problems += absent + check(entry, tasks, labels)
        warnings += order_warning(entry, tasks, root)
        outlines.append(entry.outline())
    problems += one_experiment(outlines) + warnings
    level = ERROR if leaderboard else WARNING
    problems += [Problem(level, where, message) for where, message in leaderboard_gaps(outlines, tasks, all_read)]
    if outlines and not is_zipfile(paths[0]):
        problems.append(Problem(level, str(paths[0]), "not a zip archive; the leaderboard takes what `combine` writes"))
    return outlines, problems


def check_root(root: str | Path) -> None:
    """``FileNotFoundError`` where the data root is no folder."""
    if not Path(root).is_dir():
        raise FileNotFoundError(f"data root {root} is not a folder")


def labels_of(
    entry: PredictionFile, tasks: Mapping[str, TaskInfo], root: str | Path, level_of_absent: str = WARNING
) -> tuple[Labels | None, list[Problem]]:
    """Labels of the entry's task; an absent index file is a problem of the given level, an unreadable one an error."""
    try:
        return read_labels(root, tasks[entry.dataset_name]) if entry.dataset_name in tasks else None, []
    except FileNotFoundError as error:
        return None, [Problem(level_of_absent, entry.where(), str(error))]
    except ValueError as error:
        return None, [Problem(ERROR, entry.where(), str(error))]


def check(entry: PredictionFile, tasks: Mapping[str, TaskInfo], labels: Labels | None = None) -> list[Problem]:
    """Does the entry fit its task?"""
    task = tasks.get(entry.dataset_name)
    problems = [_unknown(entry, tasks)] if task is None else []
    problems += _size_problems(entry, task, labels)
    return problems + (_sum_problems(entry) if task is not None and task.label_kind == "multiclass" else [])


def _unknown(entry: PredictionFile, tasks: Mapping[str, TaskInfo]) -> Problem:
    lowered = {name.lower(): name for name in tasks}
    near = difflib.get_close_matches(entry.dataset_name.lower(), lowered, n=1, cutoff=0.75)
    if near:
        message = f"unknown task {entry.dataset_name!r}; did you mean {lowered[near[0]]!r}?"
        return Problem(ERROR, entry.where(), message)
    return Problem(WARNING, entry.where(), f"unknown task {entry.dataset_name!r}, sizes not checked")


def _size_problems(entry: PredictionFile, task: TaskInfo | None, labels: Labels | None) -> list[Problem]:
    if labels is not None:
        (images, classes), origin = (len(labels.targets), labels.classes), "in the index file"
    elif task is not None:
        (images, classes), origin = (task.test, task.classes), "expected"
    else:
        (images, classes), origin = entry.predictions[0].shape, f"for seed {entry.rnd_seeds[0]}"
    problems = []
    for i, fold in enumerate(entry.predictions):
        for what, size, wanted in (("rows", len(fold), images), ("columns", fold.shape[1], classes)):
            if size != wanted:
                problems.append(Problem(ERROR, entry.where(i), f"{size} {what}, but {wanted} {origin}"))
    return problems


def _sum_problems(entry: PredictionFile) -> list[Problem]:
    problems = []
    for i, fold in enumerate(entry.predictions):
        sums = fold.sum(axis=1)
        wrong = np.flatnonzero(np.abs(sums - 1) > ROW_SUM_TOLERANCE + 1e-9)  # NaN is reported as not finite
        if wrong.size:
            more = f" (and {wrong.size - 1} more rows)" if wrong.size > 1 else ""
            total = sums[wrong[0]]
            total = f"{total:.6f}" if abs(total) < 1e6 else f"{total:g}"
            message = f"row {wrong[0]} sums to {total}, not to 1 within {ROW_SUM_TOLERANCE:g}{more}"
            problems.append(Problem(ERROR, entry.where(i), message))
    return problems


def leaderboard_gaps(
    entries: Sequence[PredictionFile], tasks: Mapping[str, TaskInfo], all_read: bool = True
) -> list[tuple[str, str]]:
    """(where, message) for each way in which well-formed entries fall short of a complete leaderboard entry."""
    gaps = []
    for entries_of_value in _grouped(entries, lambda entry: entry.n_shot):
        n_shot = entries_of_value[0].n_shot
        if n_shot not in TRACKS:
            tracks = ", ".join(map(str, TRACKS))
            message = f"n_shot {n_shot} has no leaderboard track ({tracks}): {_names(entries_of_value, entries)}"
            gaps.append((entries_of_value[0].sources[0], message))
    on_track = [entry for entry in entries if entry.n_shot in TRACKS]
    for group in _grouped(on_track, lambda entry: (entry.n_shot, tuple(sorted(entry.rnd_seeds)))):
        seeds, wanted = sorted(group[0].rnd_seeds), TRACKS[group[0].n_shot]
        if seeds != wanted:
            message = f"rnd_seeds {seeds}, but the track with n_shot {group[0].n_shot} takes {wanted}"
            gaps.append((group[0].sources[0], f"{message}: {_names(group, entries)}"))
    gaps += uneven_seeds([entry for entry in entries if entry.n_shot not in TRACKS])  # others are told their track's
    present = {entry.dataset_name for entry in entries}
    if not all_read:  # an entry that could not be read is not a missing one
        return gaps
    for suite in sorted({tasks[name].suite for name in present if name in tasks}):
        wanted = members(tasks, suite)
        missing = [name for name in wanted if name not in present]
        if missing:
            message = f"{len(missing)} of the {len(wanted)} tasks of suite {suite!r} are missing: {', '.join(missing)}"
            gaps.append((entries[0].sources[0], message))
    return gaps


def _grouped(entries: Sequence[PredictionFile], key: Callable[[PredictionFile], object]) -> list[list[PredictionFile]]:
    groups: dict[object, list[PredictionFile]] = {}
    for entry in entries:
        groups.setdefault(key(entry), []).append(entry)
    return list(groups.values())


def _names(group: Sequence[PredictionFile], entries: Sequence[PredictionFile]) -> str:
    return "all tasks" if len(group) == len(entries) > 1 else ", ".join(entry.dataset_name for entry in group)
