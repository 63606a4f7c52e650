"""The configuration keys that trainers state: their own, and the shared ones that they
read.
"""

from __future__ import annotations

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


def declared_keys(cls: type) -> dict[str, tuple[object, str]]:
    """Return key -> (default, meaning) of a trainer and its bases, which state `keys =
    {KEY: default}` or `{KEY: (default, meaning)}`.
    """
    declared = {}
    for base in reversed(cls.__mro__):
        for key, value in vars(base).get("keys", {}).items():
            described = (
                isinstance(value, tuple)
                and len(value) == 2
                and isinstance(value[1], str)
            )
            declared[key] = value if described else (value, "")
    return declared


def declared_ranges(cls: type) -> dict[str, tuple[float, float]]:
    """Return key -> (lowest, highest) of a trainer's numbers and its bases', which
    state `ranges = {KEY: (lowest, highest)}` beside their keys.
    """
    declared = {}
    for base in reversed(cls.__mro__):
        declared |= vars(base).get("ranges", {})
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
    names = []
    for name in TRAINER_REGISTRY.registered_names():
        if reads(TRAINER_REGISTRY.get(name), key):
            names.append(name)
    forms = {f"M{name}" for name in names}
    return sorted(name for name in names if name not in forms)


def keys_of_others(trainer: str) -> set[str]:
    """Return the keys that only other trainers declare."""
    declared: set[str] = set()
    for name in TRAINER_REGISTRY.registered_names():
        declared.update(declared_keys(TRAINER_REGISTRY.get(name)))
    return declared - set(declared_keys(TRAINER_REGISTRY.get(trainer)))
