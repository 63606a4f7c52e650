"""Scores of prediction files or a submission against the labels of a data root, by each task's official metric."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from elevater_eval import metrics
from elevater_eval.problems import ERROR, InvalidSubmissionError, Problem, errors_of
from elevater_eval.submission import Sources, load
from elevater_eval.tasks import TaskInfo, load_tasks, members
from elevater_eval.validation import check, gather_labels


def score(
    path: Sources,
    root: str | Path,
    *,
    only: Collection[str] | None = None,
    tasks: Mapping[str, TaskInfo] | None = None,
) -> dict[str, Any]:
    """Score a submission, prediction files, or folders of them; ``only`` restricts it to the named tasks.

    Returns ``{"model_name", "n_shot", "tasks": [...], "suites": [...]}``: for each task its metric, seeds, the score of
    each seed and their mean; for each suite the mean over its tasks that are present. Scores are fractions. Raises
    ``InvalidSubmissionError`` naming all that stands in the way.
    """
    tasks = load_tasks() if tasks is None else tasks
    entries, problems = load(path)
    if only is not None:
        absent = sorted(set(only) - {entry.dataset_name for entry in entries})
        if absent and not errors_of(problems):
            raise ValueError(f"no predictions of {', '.join(absent)}")
        entries = [entry for entry in entries if entry.dataset_name in only]
        if not entries and not errors_of(problems):
            raise ValueError("no task is left to score")
    labels, found = gather_labels(entries, tasks, root, level_of_absent=ERROR)
    problems = problems + found + check(entries, tasks, labels)
    hinted = {problem.where for problem in errors_of(problems)}
    for entry in entries:
        if entry.dataset_name not in tasks and entry.where() not in hinted:
            problems.append(Problem(ERROR, entry.where(), f"unknown task {entry.dataset_name!r} has no labels"))
    if errors_of(problems):
        raise InvalidSubmissionError(errors_of(problems))

    records = []
    for entry in sorted(entries, key=lambda entry: entry.dataset_name):
        task = tasks[entry.dataset_name]
        targets = labels[task.name].targets
        try:
            scores = [metrics.compute(task.metric, targets, fold) for fold in entry.predictions]
        except ValueError as error:
            raise InvalidSubmissionError([Problem(ERROR, entry.where(), str(error))]) from None
        records.append(
            {
                "task": task.name,
                "suite": task.suite,
                "metric": task.metric,
                "images": len(targets),
                "classes": labels[task.name].classes,
                "seeds": list(entry.rnd_seeds),
                "scores": scores,
                "score": float(np.mean(scores)),
            }
        )
    return {
        "model_name": entries[0].model_name,
        "n_shot": entries[0].n_shot,
        "tasks": records,
        "suites": _suite_means(records, tasks),
    }


def _suite_means(records: list[dict[str, Any]], tasks: Mapping[str, TaskInfo]) -> list[dict[str, Any]]:
    """Plain means over the tasks of each suite; reference tasks do not count."""
    means = []
    for suite in sorted({record["suite"] for record in records}):
        wanted = members(tasks, suite)
        scores = [record["score"] for record in records if record["task"] in wanted]
        mean = float(np.mean(scores)) if scores else None
        means.append({"suite": suite, "score": mean, "tasks": len(scores), "of": len(wanted)})
    return means
