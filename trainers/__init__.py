"""Trainers, the Dassl plugins: each says which prompt is learned by how many tasks.

Every module in this folder and in `methods/` may register trainers; to add one, drop a
file in.
"""

import importlib
import pkgutil

import toolkit  # noqa: F401  (makes `dassl` importable)
from toolkit.common import plugins


def register_all() -> None:
    """Import every module of this folder and of `methods/`, and the files of --import,
    so that their registrations run. Repeated calls cost nothing.
    """
    import datasets
    from toolkit import plugin_files

    from . import methods

    datasets.register_all()
    for module in pkgutil.iter_modules(methods.__path__, f"{methods.__name__}."):
        importlib.import_module(module.name)
    dropped_in = []
    for module in pkgutil.iter_modules(__path__):
        name = f"{__name__}.{module.name}"
        if module.ispkg or module.name in plugins.OURS["trainers"]:
            importlib.import_module(name)
        else:
            dropped_in.append(name)
    for name in dropped_in:
        plugin_files.import_dropped_in(name)
    plugin_files.import_all()
