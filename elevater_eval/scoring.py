"""Scores of prediction files or a submission against the labels of a data root, by each task's official metric."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elevater_eval import metrics
from elevater_eval.entry import PredictionFile
from elevater_eval.labels import Labels
from elevater_eval.merging import one_experiment
from elevater_eval.problems import ERROR, InvalidSubmissionError, Problem, errors_of
from elevater_eval.reading import Sources, read_entries
from elevater_eval.tasks import TaskInfo, load_tasks, members
from elevater_eval.validation import check, check_root, labels_of


def score(
    path: Sources,
    root: str | Path,
    *,
    only: Collection[str] | None = None,
    extra: Sequence[str] = (),
    tasks: Mapping[str, TaskInfo] | None = None,
) -> dict[str, Any]:
    """Score a submission, prediction files, or folders of them; ``only`` restricts it to the named tasks.

    Returns ``{"model_name", "n_shot", "tasks": [...], "suites": [...]}``: for each task its metric, seeds, the score of
    each seed and their mean; for each suite the mean over its tasks that are present. Scores are fractions. With names
    of ``metrics.EXTRA``, each task has ``"extra"``: for each name its value for each seed and their mean, or None for
    a multilabel task. Raises ``InvalidSubmissionError`` naming all that stands in the way.
    """
    tasks = load_tasks() if tasks is None else tasks
    for name in extra:
        metrics.known(name, metrics.EXTRA, "extra metric")
    records, outlines, problems = [], [], []
    for entry, labels, found in judged_entries(path, root, only, tasks):
        problems += found
        if entry is not None:
            outlines.append(entry.outline())
        if labels is not None and not errors_of(found):
            try:
                records.append(_record(entry, tasks[entry.dataset_name], labels, extra))
            except ValueError as error:
                problems.append(Problem(ERROR, entry.where(), str(error)))
    problems += one_experiment(outlines)
    if errors_of(problems):
        raise InvalidSubmissionError(errors_of(problems))
    if not records:
        raise ValueError("no task is left to score")
    records.sort(key=lambda record: record["task"])
    return {
        "model_name": outlines[0].model_name,
        "n_shot": outlines[0].n_shot,
        "tasks": records,
        "suites": suite_means(records, tasks),
    }


def judged_entries(
    path: Sources, root: str | Path, only: Collection[str] | None, tasks: Mapping[str, TaskInfo]
) -> Iterator[tuple[PredictionFile | None, Labels | None, list[Problem]]]:
    """Entries with the labels that they are scored by, and all that stands in the way of it."""
    check_root(root)
    present, readable = set(), True
    for entry, problems in read_entries(path, only):
        readable &= not errors_of(problems)
        if entry is None or only is not None and entry.dataset_name not in only:
            yield None, None, problems
            continue
        present.add(entry.dataset_name)
        labels, found = labels_of(entry, tasks, root, level_of_absent=ERROR)
        problems = problems + found + check(entry, tasks, labels)
        if entry.dataset_name not in tasks and not errors_of(problems):
            problems.append(Problem(ERROR, entry.where(), f"unknown task {entry.dataset_name!r} has no labels"))
        yield entry, labels, problems
    absent = sorted(set(only or ()) - present)
    if absent and readable:
        raise ValueError(f"no predictions of {', '.join(absent)}{_nearest(absent[0], tasks)}")


def _nearest(name: str, tasks: Mapping[str, TaskInfo]) -> str:
    near = difflib.get_close_matches(name, tasks, n=1, cutoff=0.0) if name not in tasks else []
    return f"; did you mean {near[0]!r}?" if near else ""


def _record(entry: PredictionFile, task: TaskInfo, labels: Labels, extra: Sequence[str]) -> dict[str, Any]:
    scores = [metrics.compute(task.metric, labels.targets, fold) for fold in entry.predictions]
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


def _extra(name: str, entry: PredictionFile, task: TaskInfo, labels: Labels) -> dict[str, Any] | None:
    """``{"scores", "score"}``: a number, or a list over the classes, for each seed and as the mean over seeds."""
    if task.label_kind != "multiclass":
        return None
    scores = [metrics.EXTRA[name](labels.targets, fold) for fold in entry.predictions]
    if isinstance(scores[0], list):
        means = [None if None in of_class else float(np.mean(of_class)) for of_class in zip(*scores, strict=True)]
        return {"scores": scores, "score": means}
    return {"scores": scores, "score": float(np.mean(scores))}


def suite_means(records: list[dict[str, Any]], tasks: Mapping[str, TaskInfo]) -> list[dict[str, Any]]:
    """Plain means of the records' ``score`` over the tasks of each suite; reference tasks do not count."""
    means = []
    for suite in sorted({record["suite"] for record in records}):
        wanted = members(tasks, suite)
        scores = [record["score"] for record in records if record["task"] in wanted]
        mean = float(np.mean(scores)) if scores else None
        means.append({"suite": suite, "score": mean, "tasks": len(scores), "of": len(wanted)})
    return means
