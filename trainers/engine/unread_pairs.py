"""Keys that are given on a command line or in a plan, though no trainer of its runs
reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from yacs.config import CfgNode

from .config import default_values, is_native, trainer_class, without_alias
from .config_values import flatten
from .declared_keys import SHARED_KEYS, keys_of_others, readers, reads


def unread_pairs(cfg: CfgNode, given: Iterable[str]) -> list[str]:
    """Return the given keys of a configuration that only other trainers read.

    A shared key may be given at its default, as the reference's scripts do.
    """
    cls = trainer_class(cfg.TRAINER.NAME)
    others = keys_of_others(cfg.TRAINER.NAME)
    values, defaults = dict(flatten(cfg)), default_values()
    unread = []
    for name in given:
        key = without_alias(name) if is_native(cls) else name
        shared = key.startswith(SHARED_KEYS) and reads(cls, key) is False
        if key in others or (shared and values[key] != defaults[key]):
            unread.append(name)
    return unread


def message(given: str, trainers: Sequence[str]) -> str:
    """Return the sentence about a given key that none of these trainers reads."""
    others = readers(without_alias(given))
    if not others:
        return f"{given} is given, but no trainer reads it: leave it out"
    verb = "does" if len(trainers) == 1 else "do"
    return (
        f"{given} is given, but {', '.join(trainers)} {verb} not read it: leave it out, or use "
        f"--trainer {' or '.join(others)}"
    )
