"""Trainers: the Dassl plugins. Each says which prompt is learned and whether several
tasks share it.

Every module in this folder and in `methods/` may register trainers; to add one, drop a
file in.
"""

from __future__ import annotations

import importlib
import pkgutil

import toolkit  # noqa: F401  (makes `dassl` importable)
from toolkit.common import plugins


def register_all() -> None:
    """Import every module of this folder and of `methods/`, and the files of --import,
    so that their registrations run.

    Repeated calls cost nothing.
    """
    from . import methods

    for package in (methods.__name__, __name__):
        for module in pkgutil.iter_modules(
            importlib.import_module(package).__path__, prefix=f"{package}."
        ):
            importlib.import_module(module.name)
    plugins.import_all()
