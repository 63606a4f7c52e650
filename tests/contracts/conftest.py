"""The trainers and tasks of the contracts: --trainer and --task, or all that are
registered and no part of this project.
"""

import importlib

import datasets
import trainers
from toolkit.common import plugins


def pytest_generate_tests(metafunc):
    """Give `trainer_name` and `task_name` their values."""
    if not {"trainer_name", "task_name"} & set(metafunc.fixturenames):
        return
    for path in metafunc.config.getoption("imports"):
        plugins.add_path(path)
    trainers.register_all()
    datasets.register_all()
    if "trainer_name" in metafunc.fixturenames:
        registry = importlib.import_module("dassl.engine").TRAINER_REGISTRY
        names = metafunc.config.getoption("trainer") or ["CoOp", *_users(registry)]
        metafunc.parametrize("trainer_name", names)
    if "task_name" in metafunc.fixturenames:
        registry = importlib.import_module("dassl.data.datasets").DATASET_REGISTRY
        given = metafunc.config.getoption("task")
        users = _users(registry) if metafunc.config.getoption("root") else []
        metafunc.parametrize("task_name", given or ["pocket-breeds", *users])


def _users(registry) -> list[str]:
    """Return the names that plugins have registered."""
    names = []
    for name in registry.registered_names():
        module = registry.get(name).__module__
        file = getattr(importlib.import_module(module), "__file__", "") or ""
        if plugins.is_users(file) or module.startswith("plugin_"):
            names.append(name)
    return names
