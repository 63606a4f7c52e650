"""The table of known tasks: size, metric and index file of each, from `tasks.json`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from toolkit.common.structured import read_json

Root = str | Path  # of the data
TASKS_FILE = Path(__file__).with_name("tasks.json")


@dataclass(frozen=True)
class TaskInfo:
    """The metadata of a task. Paths are relative to the data root."""

    name: str
    suite: str
    classes: int
    test: int  # images of the test set
    metric: str
    label_kind: str  # "multiclass" or "multilabel"
    test_index: str
    labelmap: str | None
    format: str  # "iris" or "coco"
    reference: bool = False  # scored, but no part of its suite's average


Tasks = Mapping[str, TaskInfo]


def load_tasks(path: str | Path = TASKS_FILE) -> dict[str, TaskInfo]:
    """Return the tasks of a table, by name; unknown fields are ignored."""
    known = {field.name for field in fields(TaskInfo)}
    tasks = {}
    for name, record in read_json(path).items():
        values = {key: value for key, value in record.items() if key in known}
        try:
            tasks[name] = TaskInfo(name=name, **values)
        except TypeError as error:
            raise ValueError(f"{path}: task {name!r}: {error}") from None
    return tasks


def members(tasks: Tasks, suite: str) -> list[str]:
    """Return the names of the tasks that make up a suite's average."""
    return [
        task.name
        for task in tasks.values()
        if task.suite == suite and not task.reference
    ]
