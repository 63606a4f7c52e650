"""Trainers, the Dassl plugins: each says which prompt is learned by how many tasks.
Every module in this folder and in `methods/` may register trainers; to add one, drop a
file in.
"""

import importlib
import pkgutil
import sys

import toolkit  # noqa: F401  (makes `dassl` importable)


def register_all() -> None:
    """Import the modules of this folder and `methods/`, and the files of --import."""
    import datasets
    from toolkit import plugin_files

    from . import methods

    datasets.register_all()
    for module in pkgutil.iter_modules(methods.__path__, f"{methods.__name__}."):
        importlib.import_module(module.name)
    plugin_files.import_modules(sys.modules[__name__])
    plugin_files.import_all()
