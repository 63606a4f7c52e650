"""Scores of prediction files or a submission against the labels of a data root, by each
task's official metric.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from elevater_eval import metrics
from elevater_eval.entry import PredictionFile, Record
from elevater_eval.issues import ERROR, Issues, error, errors_of, raise_errors
from elevater_eval.labels import Labels
from elevater_eval.merging import one_experiment
from elevater_eval.reading import Only, Sources, read_entries
from elevater_eval.tasks import Root, TaskInfo, Tasks, load_tasks, members
from elevater_eval.validation import check, check_root, labels_of
from toolkit.common.suggest import did_you_mean


def score(
    path: Sources,
    root: Root,
    *,
    only: Only = None,
    extra: Sequence[str] = (),
    tasks: Tasks | None = None,
) -> Record:
    """Score a submission, prediction files, or folders of them; `only` restricts tasks.

    Returns ``{"model_name", "n_shot", "tasks": [...], "suites": [...]}``: for each task
    its metric, seeds, the score of each and their mean, for each suite the mean over
    its tasks that are present, all as fractions; with names of `metrics.EXTRA`, also
    ``"extra"``: the same of each, None for a multilabel task. Raises
    InvalidSubmissionError with all faults, ValueError for no task to score, or an
    unknown name.
    """
    tasks = load_tasks() if tasks is None else tasks
    for name in extra:
        metrics.known(name, metrics.EXTRA, "extra metric")
    records: list[Record] = []
    outlines: list[PredictionFile] = []
    issues: Issues = []
    for entry, labels, found in entries_with_labels(path, root, only, tasks):
        issues += found
        if entry is not None:
            outlines.append(entry.outline())
        if entry is None or labels is None or errors_of(found):
            continue
        try:
            records.append(_record(entry, tasks[entry.dataset_name], labels, extra))
        except ValueError as reason:
            issues.append(error(entry.where(), str(reason)))
    raise_errors(issues + one_experiment(outlines))
    if not records:
        raise ValueError("no task is left to score")
    records.sort(key=lambda record: record["task"])
    return {
        "model_name": outlines[0].model_name,
        "n_shot": outlines[0].n_shot,
        "tasks": records,
        "suites": suite_means(records, tasks),
    }


def entries_with_labels(
    path: Sources, root: Root, only: Only, tasks: Tasks
) -> Iterator[tuple[PredictionFile | None, Labels | None, Issues]]:
    """Yield entries with the labels that score them, and all that is wrong with either."""
    check_root(root)
    present = set()
    readable = True
    for entry, issues in read_entries(path, only):
        readable &= not errors_of(issues)
        if entry is None or (only is not None and entry.dataset_name not in only):
            yield None, None, issues
            continue
        name = entry.dataset_name
        present.add(name)
        labels, missing = labels_of(entry, tasks, root, missing_level=ERROR)
        issues = issues + missing + check(entry, tasks, labels)
        if name not in tasks and not errors_of(issues):
            issues.append(error(entry.where(), f"unknown task {name!r} has no labels"))
        yield entry, labels, issues
    absent = sorted(set(only or ()) - present)
    if absent and readable:
        message = f"no predictions of {', '.join(absent)}"
        if absent[0] not in tasks:
            message += f"; {did_you_mean(absent[0], tasks)}"
        raise ValueError(message)


def _record(
    entry: PredictionFile, task: TaskInfo, labels: Labels, extra: Sequence[str]
) -> Record:
    folds = entry.predictions
    scores = [metrics.compute(task.metric, labels.targets, fold) for fold in folds]
    record = {
        "task": task.name,
        "suite": task.suite,
        "metric": task.metric,
        "images": len(labels.targets),
        "classes": labels.classes,
        "seeds": list(entry.rnd_seeds),
        "scores": scores,
        "score": float(np.mean(scores)),
    }
    if extra:
        record["extra"] = {name: _extra(name, entry, task, labels) for name in extra}
    return record


def _extra(name: str, entry: PredictionFile, task: TaskInfo, labels: Labels):
    """Return ``{"scores", "score"}``, of each seed and the mean: numbers or lists."""
    if task.label_kind != "multiclass":
        return None
    metric = metrics.EXTRA[name]
    scores: list[Any] = [metric(labels.targets, fold) for fold in entry.predictions]
    if not isinstance(scores[0], list):
        return {"scores": scores, "score": float(np.mean(scores))}
    means: list[float | None] = []
    for values in zip(*scores, strict=True):  # of one class
        means.append(None if None in values else float(np.mean(values)))
    return {"scores": scores, "score": means}


def suite_means(
    records: list[Record], tasks: Tasks, key: str = "score"
) -> list[Record]:
    """Return the records' mean score over each suite, reference tasks left out."""
    means = []
    for suite in sorted({record["suite"] for record in records}):
        wanted = members(tasks, suite)
        scores = [record[key] for record in records if record["task"] in wanted]
        mean = float(np.mean(scores)) if scores else None
        counts = {"tasks": len(scores), "of": len(wanted)}
        means.append({"suite": suite, "score": mean, **counts})
    return means
