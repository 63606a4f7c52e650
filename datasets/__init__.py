"""Tasks: Dassl datasets that also say how they are labelled, prompted and scored.

Every module and package in this folder may register datasets; to add one, drop a file in.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil

import toolkit  # noqa: F401  (makes `dassl` importable)

from .task import Sample, Task, as_task, register_task

__all__ = ["Sample", "Task", "as_task", "build_task", "register_all", "register_task"]


def register_all() -> None:
    """Import every module of this folder, so that their registrations run. Repeated calls cost nothing."""
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        importlib.import_module(module.name)


def build_task(cfg, name: str) -> Task:
    """Build the registered dataset `name` as a task, leaving `cfg` untouched.

    Raises:
        ValueError: the name is not registered, or the data on disk contradict themselves.
        FileNotFoundError: the data, or a part of them, are not there.
    """
    from dassl.data.datasets import DATASET_REGISTRY

    register_all()
    names = DATASET_REGISTRY.registered_names()
    if name not in names:
        raise ValueError(f"unknown dataset {name!r}; the nearest names are {', '.join(_nearest(name, names))}")
    cfg = cfg.clone()
    cfg.defrost()
    cfg.DATASET.NAME = name
    cfg.freeze()
    return as_task(DATASET_REGISTRY.get(name)(cfg), name)


def _nearest(name: str, names: list[str]) -> list[str]:
    folded = {known.lower(): known for known in names}
    return [folded[match] for match in difflib.get_close_matches(name.lower(), folded, n=3, cutoff=0.0)]
