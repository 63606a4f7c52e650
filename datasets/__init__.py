"""Tasks: Dassl datasets that also say how they are labelled, prompted and scored.

Every module and package in this folder may register datasets; to add one, drop a file in.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import pkgutil

import toolkit  # noqa: F401  (makes `dassl` importable)

from .custom.task import is_own, task_class, task_name
from .few_shot import find_record, replay_record
from .task import Sample, Task, as_task, register_task

__all__ = ["Sample", "Task", "as_task", "build_task", "is_own", "register_all", "register_task", "task_name"]


def register_all() -> None:
    """Import every module of this folder, so that their registrations run. Repeated calls cost nothing."""
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        importlib.import_module(module.name)


def build_task(cfg, name: str) -> Task:
    """Build the registered dataset `name`, or one's own images (`folder:PATH`, `csv:FILE`), leaving `cfg` untouched.

    Where `cfg.DATASET.FEWSHOT` holds a record of the task, its images are taken instead of a new draw.

    Raises:
        ValueError: the name is not registered, or the data on disk contradict themselves or the record.
        FileNotFoundError: the data, or a part of them, are not there.
    """
    cls = task_class(name) if is_own(name) else _registered(name)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASET.NAME = name
    where, shots = getattr(cfg.DATASET, "FEWSHOT", ""), cfg.DATASET.NUM_SHOTS
    record = find_record(where, task_name(name)) if where and shots != 0 else None
    if record:
        cfg.DATASET.NUM_SHOTS = -1  # everything there is, to find the record's images among
    cfg.freeze()
    task = as_task(cls(cfg), name)
    if record:
        replay_record(task, record, shots)
    return task


def _registered(name: str) -> type:
    """The dataset registered under `name`; the modules of this folder are looked through only for one that is not there yet."""
    from dassl.data.datasets import DATASET_REGISTRY

    with contextlib.suppress(KeyError):
        return DATASET_REGISTRY.get(name)
    register_all()
    names = DATASET_REGISTRY.registered_names()
    if name not in names:
        raise ValueError(f"unknown dataset {name!r}; the nearest names are {', '.join(_nearest(name, names))}")
    return DATASET_REGISTRY.get(name)


def _nearest(name: str, names: list[str]) -> list[str]:
    folded = {known.lower(): known for known in names}
    return [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.0)]
