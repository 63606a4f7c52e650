"""Tasks: Dassl datasets that also say how they are labelled, prompted and scored. Every
module and package in this folder may register datasets; to add one, drop a file in.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import toolkit  # noqa: F401  (makes `dassl` importable)
from toolkit.common.suggest import nearest

if TYPE_CHECKING:
    from .custom.task import is_custom, task_name
    from .task import Sample, Task, as_task, register_task

__all__ = [
    "Sample",
    "Task",
    "as_task",
    "build_task",
    "is_custom",
    "register_all",
    "register_task",
    "task_name",
]


def __getattr__(name: str) -> object:
    """Return a public name; the first one imports Dassl and torch."""
    if name in __all__:
        module = ".custom.task" if name in ("is_custom", "task_name") else ".task"
        return getattr(importlib.import_module(module, __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def register_all() -> None:
    """Import the modules of this folder, and the files of --import."""
    from toolkit import plugin_files

    plugin_files.import_modules(sys.modules[__name__], "datasets.pocket.tasks")
    plugin_files.import_all(plugin_files.DATA_SETS)


def build_task(cfg, name: str) -> Task:
    """Build the registered dataset `name`, or custom images (`folder:PATH`, `csv:FILE`,
    `wds:PATH`, `parquet:PATH`), with those of a record in `cfg.DATASET.FEWSHOT`, if
    any; `cfg` is left untouched. Raises ValueError for another name or data that
    contradict themselves or the record, FileNotFoundError for missing data.
    """
    from .custom.task import is_custom, task_class, task_name
    from .few_shot import find_record, replay_record
    from .task import Task, as_task

    cls = task_class(name) if is_custom(name) else _registered(name)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASET.NAME = name
    shots = cfg.DATASET.NUM_SHOTS
    records = getattr(cfg.DATASET, "FEWSHOT", "") if shots != 0 else ""
    record = find_record(records, task_name(name)) if records else None
    if record:
        cfg.DATASET.NUM_SHOTS = -1  # all images, to find the record's among
    which = getattr(cfg.DATASET, "SUBSAMPLE_CLASSES", "all")
    if not issubclass(cls, Task):
        # a data set written for Dassl may part its classes itself
        cfg.DATASET.SUBSAMPLE_CLASSES = "all"
    cfg.freeze()
    task = as_task(cls(cfg), name)
    if record:
        replay_record(task, record, shots)
    cfg.defrost()
    cfg.DATASET.SUBSAMPLE_CLASSES = which
    task.subsample(cfg)
    return task


def _registered(name: str) -> type:
    """Return the dataset called `name`, registering all if it is not there yet."""
    from dassl.data.datasets import DATASET_REGISTRY

    from toolkit import plugin_files

    if name not in DATASET_REGISTRY.registered_names():
        register_all()
    names = DATASET_REGISTRY.registered_names()
    found = DATASET_REGISTRY.get(name) if name in names else None
    plugin_files.raise_failure(name, found)
    if found is None:
        hint = f"the nearest names are {', '.join(nearest(name, names, count=3))}"
        path = Path(name).expanduser()
        kind, _, place = name.partition(":")
        if path.exists():
            hint = f"custom images are called {_custom_kind(path)}:{name}"
        elif place and Path(place).expanduser().exists():
            hint = f"custom images are called {_custom_kind(Path(place))}:{place}, not {kind}:"
        raise ValueError(f"unknown dataset {name!r}; {hint}")
    return found


def _custom_kind(path: Path) -> str:
    """Return the kind of custom images that a file or folder seems to be."""
    for pattern in ("*.parquet", "data/*.parquet"):
        if path.suffix == ".parquet" or any(path.glob(pattern)):
            return "parquet"
    if (path / "classnames.txt").is_file():
        return "wds"
    return "folder" if path.is_dir() else "csv"
