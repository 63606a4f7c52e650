"""The keys of the plugins and trainers, and their defaults."""

from pathlib import Path
from typing import Any

from dassl.engine import TRAINER_REGISTRY
from yacs.config import CfgNode

from toolkit.common.structured import read_yaml

TABLES = read_yaml(Path(__file__).with_name("keys.yaml"))
RANGES: dict[str, list] = TABLES["ranges"]
MAX_VECTORS = RANGES["TRAINER.MVLPT.VPT.N_CTX"][1]
MAX_WIDTH = RANGES["TRAINER.MVLPT.PROJECT_DIM"][1]
PROJECTIONS = {
    "transformer": "attention",
    "per-token": "per-token",
    "mlp": "mlp",
    "identity": "identity",
}
# keys, or the beginnings of keys, of prompts that several trainers share; `reads` of a
# trainer names those that it reads
SHARED_KEYS = (
    *("TRAINER.MVLPT.COOP.", "TRAINER.MVLPT.VPT.", "TRAINER.MVLPT.PROJECT_"),
    *("TRAINER.MVLPT.COCOOP.", "TRAINER.COCOOP.", "TRAINER.COOP."),
)
# of the reference, which reads them as little
UNREAD_OF_REFERENCE = ("TRAINER.MVLPT.VPT.CSC", "TRAINER.MVLPT.VPT.CTX_INIT")


def extend(cfg: CfgNode) -> CfgNode:
    """Add the keys of the plugins and the registered trainers to `cfg`; return it."""
    added = dict(TABLES["defaults"])
    for cls in registered_trainers().values():
        for key, (default, _) in declared_keys(cls).items():
            added[key] = default
    for key, default in added.items():
        *groups, leaf = key.split(".")
        node = cfg
        for group in groups:
            node = node.setdefault(group, CfgNode())
        node[leaf] = default
    return cfg


def registered_trainers() -> dict[str, type]:
    """Return name -> trainer."""
    names = TRAINER_REGISTRY.registered_names()
    return {name: TRAINER_REGISTRY.get(name) for name in names}


def merged(cls: type, name: str) -> dict[str, Any]:
    """Return a dictionary that a trainer's bases, then itself, state as `name`."""
    values: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        values |= vars(base).get(name, {})
    return values


def declared_keys(cls: type) -> dict[str, tuple[object, str]]:
    """Return key -> (default, meaning or "") of `keys` of a trainer and its bases."""
    declared = {}
    for key, value in merged(cls, "keys").items():
        is_pair = isinstance(value, tuple) and len(value) == 2
        if not (is_pair and isinstance(value[1], str)):
            value = (value, "")
        declared[key] = value
    return declared


def reads(cls: type, key: str) -> bool | None:
    """Return True if a trainer reads a key of its own or one that several trainers
    share, None if it does not state `reads = (KEY, ...)`, keys or their beginnings,
    beside the `make_prompt` that reads them.
    """
    if key in declared_keys(cls):
        return True
    if key in UNREAD_OF_REFERENCE or not key.startswith(SHARED_KEYS):
        return False
    for base in cls.__mro__:
        if "reads" in vars(base):
            return key.startswith(vars(base)["reads"])
        if "make_prompt" in vars(base) or "build_prompt" in vars(base):
            return None
    return None


def task_names(cfg: CfgNode) -> list[str]:
    """Return the tasks of a run, in order."""
    return split_names(cfg.DATASET.DATASET or cfg.DATASET.NAME)


def all_task_names(cfg: CfgNode) -> list[str]:
    """Return the tasks of a run and those of its source stage."""
    return task_names(cfg) + split_names(cfg.MULTITASK.SOURCE)


def split_names(text: str) -> list[str]:
    """Return comma-separated names."""
    names = map(str.strip, text.split(","))
    return list(filter(None, names))
