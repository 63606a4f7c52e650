"""Trainers: the Dassl plugins. Each says which prompt is learnt and whether several tasks share it.

Every module in this folder may register trainers; to add one, drop a file in.
"""

from __future__ import annotations

import importlib
import pkgutil

import toolkit  # noqa: F401  (makes `dassl` importable)


def register_all() -> None:
    """Import every module of this folder, so that their registrations run. Repeated calls cost nothing."""
    for module in pkgutil.iter_modules(__path__, prefix=f"{__name__}."):
        importlib.import_module(module.name)
