"""The configuration keys that trainers state, and the shared ones that they read."""

from __future__ import annotations

from typing import Any

from dassl.engine import TRAINER_REGISTRY

# keys, or the beginnings of keys, of prompts that several trainers share; `reads` of a
# trainer names those that it reads
SHARED_KEYS = (
    "TRAINER.MVLPT.COOP.",
    "TRAINER.MVLPT.VPT.",
    "TRAINER.MVLPT.PROJECT_",
    "TRAINER.MVLPT.COCOOP.",
    "TRAINER.COCOOP.",
    "TRAINER.COOP.",
)
# of the reference, which reads them as little
UNREAD_OF_REFERENCE = ("TRAINER.MVLPT.VPT.CSC", "TRAINER.MVLPT.VPT.CTX_INIT")


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
    share, None if it does not tell.

    A trainer states `reads = (KEY, ...)`, keys or their beginnings, beside the
    `make_prompt` that reads them.
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


def readers(key: str) -> list[str]:
    """Return the trainers that read such a key, without the multitask forms."""
    names = TRAINER_REGISTRY.registered_names()
    found = [name for name in names if reads(TRAINER_REGISTRY.get(name), key)]
    return sorted({*found} - {f"M{name}" for name in found})


def keys_of_others(trainer: str) -> set[str]:
    """Return the keys that only other trainers declare."""
    declared: set[str] = set()
    for name in TRAINER_REGISTRY.registered_names():
        declared.update(declared_keys(TRAINER_REGISTRY.get(name)))
    return declared - set(declared_keys(TRAINER_REGISTRY.get(trainer)))
