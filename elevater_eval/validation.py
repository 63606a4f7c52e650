"""Checks of a submission: its form, its tasks, what the leaderboard needs."""

from collections.abc import Sequence
from pathlib import Path
from zipfile import is_zipfile

import numpy as np

from elevater_eval.entry import PredictionFile, seed_list
from elevater_eval.issues import ERROR, WARNING, Issue, Issues, error, errors_of
from elevater_eval.labels import Labels, order_note, read_labels
from elevater_eval.merging import one_experiment, uneven_seeds
from elevater_eval.reading import Sources, path_list, read_entries
from elevater_eval.tasks import Root, TaskInfo, Tasks, load_tasks, members
from toolkit.common.grouping import grouped
from toolkit.common.suggest import nearest

ROW_SUM_TOLERANCE = 1e-3
NEAR = 0.75  # similarity from which an unknown task is a misspelt one

Entries = Sequence[PredictionFile]
Gap = tuple[str, str]  # where, message
# n_shot of a leaderboard track: the seeds it takes
TRACKS = {0: [0], 5: [0, 1, 2], -1: [0]}


def validate(
    path: Sources,
    root: Root | None = None,
    *,
    leaderboard: bool = False,
    tasks: Tasks | None = None,
) -> Issues:
    """Return all that is wrong with a submission, or prediction files and folders.
    Sizes are those of the table of tasks, or of the index files if a data `root` is
    given. A gap of a well-formed entry for the leaderboard is a warning, and an error
    with `leaderboard`.
    """
    return inspect(path, root, leaderboard=leaderboard, tasks=tasks)[1]


def inspect(
    path: Sources,
    root: Root | None = None,
    *,
    leaderboard: bool = False,
    tasks: Tasks | None = None,
) -> tuple[list[PredictionFile], Issues]:
    """Return outlines of the entries that can be read, and the result of `validate`."""
    tasks = load_tasks() if tasks is None else tasks
    if root is not None:
        check_root(root)
    paths = path_list(path)
    outlines, issues, warnings = [], [], []
    all_read = True
    for entry, found in read_entries(paths):
        issues += found
        all_read &= not errors_of(found)
        if entry is None:
            continue
        labels = None
        if root is not None:
            labels, missing = labels_of(entry, tasks, root)
            issues += missing
        issues += check(entry, tasks, labels)
        warnings += order_issues(entry, tasks, root)
        outlines.append(entry.outline())
    issues += one_experiment(outlines) + warnings
    gaps = leaderboard_gaps(outlines, tasks, all_read)
    if outlines and not is_zipfile(paths[0]):
        message = "not a zip archive; the leaderboard takes what `combine` writes"
        gaps.append((str(paths[0]), message))
    level = ERROR if leaderboard else WARNING
    return outlines, issues + [Issue(level, *gap) for gap in gaps]


def check_root(root: Root) -> None:
    """Raise FileNotFoundError if the data root is no folder."""
    if not Path(root).is_dir():
        raise FileNotFoundError(f"data root {root} is not a folder")


def labels_of(
    entry: PredictionFile, tasks: Tasks, root: Root, missing_level: str = WARNING
) -> tuple[Labels | None, Issues]:
    """Return the labels of the entry's task, and issues of its index file."""
    if entry.dataset_name not in tasks:
        return None, []
    try:
        return read_labels(root, tasks[entry.dataset_name]), []
    except FileNotFoundError as reason:
        return None, [Issue(missing_level, entry.where(), str(reason))]
    except ValueError as reason:
        return None, [error(entry.where(), str(reason))]


def order_issues(entry: PredictionFile, tasks: Tasks, root: Root | None) -> Issues:
    """Return a warning of another order of test images, an error for other images."""
    if root is None or entry.dataset_name not in tasks:
        return []
    message, is_other_split = order_note(root, tasks[entry.dataset_name])
    if not message:
        return []
    return [Issue(ERROR if is_other_split else WARNING, entry.where(), message)]


def check(entry: PredictionFile, tasks: Tasks, labels: Labels | None = None) -> Issues:
    """Return how an entry does not fit its task."""
    task = tasks.get(entry.dataset_name)
    if task is None:
        unknown = f"unknown task {entry.dataset_name!r}"
        near = nearest(entry.dataset_name, tasks, cutoff=NEAR)
        if near:
            found = error(entry.where(), f"{unknown}; did you mean {near[0]!r}?")
        else:
            message = f"{unknown}, sizes not checked"
            found = Issue(WARNING, entry.where(), message)
        return [found, *_size_issues(entry, task, labels)]
    issues = _size_issues(entry, task, labels)
    if task.label_kind == "multiclass":
        issues += _sum_issues(entry)
    return issues


def _size_issues(entry: PredictionFile, task: TaskInfo | None, labels: Labels | None):
    if labels is not None:
        expected = (len(labels.targets), labels.classes)
        origin = "in the index file"
    elif task is not None:
        expected = (task.test, task.classes)
        origin = "expected"
    else:
        expected = entry.predictions[0].shape
        origin = f"for seed {entry.rnd_seeds[0]}"
    issues = []
    for i, fold in enumerate(entry.predictions):
        sizes = zip(("rows", "columns"), fold.shape, expected, strict=True)
        for name, found, wanted in sizes:
            if found != wanted:
                message = f"{found} {name}, but {wanted} {origin}"
                issues.append(error(entry.where(i), message))
    return issues


def _sum_issues(entry: PredictionFile) -> Issues:
    issues = []
    for i, fold in enumerate(entry.predictions):
        sums = fold.sum(axis=1)
        # NaN is reported as not finite
        wrong = np.flatnonzero(np.abs(sums - 1) > ROW_SUM_TOLERANCE + 1e-9)
        if not wrong.size:
            continue
        total = sums[wrong[0]]
        shown = f"{total:.6f}" if abs(total) < 1e6 else f"{total:g}"
        more = f" (and {wrong.size - 1} more rows)" if wrong.size > 1 else ""
        limit = f"not to 1 within {ROW_SUM_TOLERANCE:g}{more}"
        message = f"row {wrong[0]} sums to {shown}, {limit}"
        issues.append(error(entry.where(i), message))
    return issues


def leaderboard_gaps(
    entries: Entries, tasks: Tasks, all_read: bool = True
) -> list[Gap]:
    """Return (place, message) for each lack of a complete leaderboard entry."""
    on_track = [entry for entry in entries if entry.n_shot in TRACKS]
    off_track = [entry for entry in entries if entry.n_shot not in TRACKS]
    gaps = []
    for group in grouped(off_track, lambda one: one.n_shot).values():
        tracks = ", ".join(map(str, TRACKS))
        message = f"n_shot {group[0].n_shot} has no leaderboard track ({tracks}): {_names(group, entries)}"
        gaps.append((group[0].sources[0], message))
    by_seeds = grouped(on_track, lambda one: (one.n_shot, *sorted(one.rnd_seeds)))
    for group in by_seeds.values():
        shots = group[0].n_shot
        seeds = sorted(group[0].rnd_seeds)
        if seeds != TRACKS[shots]:
            shown = f"[{seed_list(seeds).replace(',', ', ')}]"
            message = f"rnd_seeds {shown}, but the track with n_shot {shots} takes {TRACKS[shots]}"
            gaps.append((group[0].sources[0], f"{message}: {_names(group, entries)}"))
    gaps += uneven_seeds(off_track)  # on a track, its seeds are named
    if all_read:  # an entry that could not be read is not a missing one
        gaps += _missing_tasks(entries, tasks)
    return gaps


def _missing_tasks(entries: Entries, tasks: Tasks) -> list[Gap]:
    gaps = []
    present = {entry.dataset_name for entry in entries}
    suites = {tasks[name].suite for name in present if name in tasks}
    for suite in sorted(suites):
        wanted = members(tasks, suite)
        missing = [name for name in wanted if name not in present]
        if missing:
            message = f"{len(missing)} of the {len(wanted)} tasks of suite {suite!r} are missing: {', '.join(missing)}"
            gaps.append((entries[0].sources[0], message))
    return gaps


def _names(group: Entries, entries: Entries) -> str:
    if len(group) == len(entries) > 1:
        return "all tasks"
    return ", ".join(entry.dataset_name for entry in group)
