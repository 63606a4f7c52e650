"""The kinds of values in the YAML files of studies and protocols, and their checks."""

from __future__ import annotations

import reprlib
from collections.abc import Mapping, Sequence

import datasets
from toolkit.common.suggest import nearest

NAME, NAMES = "a name", "a list of names"
WHOLE, WHOLES = "a whole number from 1", "a list of whole numbers from 1"
SEEDS = "a list of whole numbers from 0"
LENGTHS, OPTIONS, SETTINGS = (
    "methods with their lengths",
    "keys with values",
    "names with their settings",
)
MOST = 2**32  # of a seed and a number of shots


def check_mapping(content: object, kinds: Mapping[str, str], where: str) -> None:
    """Raise ValueError if `content` does not map exactly these keys to values of their
    kinds.

    kinds: key -> the kind of its value, a constant of this module.
    where: the file and position of `content`, for messages.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{where} maps no keys to values: {reprlib.repr(content)}")
    for key in content:
        if key not in kinds:
            raise ValueError(f"{where}: {key} {no_key(key, tuple(kinds))}")
    for key, kind in kinds.items():
        if key not in content:
            raise ValueError(f"{where}: {key} is missing; it is {kind}")
        if not is_kind(content[key], kind):
            raise ValueError(
                f"{where}: {key} is {reprlib.repr(content[key])}; it is {kind}"
            )


def no_key(key: object, known: Sequence[str]) -> str:
    """Return the end of a message about a key that nothing reads."""
    return f"is no key; the nearest is {nearest(key, known)[0]!r} of {', '.join(known)}"


def is_kind(value: object, kind: str) -> bool:
    """Return True for a value of a kind."""
    if kind == NAME:
        return isinstance(value, str) and bool(value)
    if kind == WHOLE:
        return is_whole(value, 1)
    if kind in (NAMES, SEEDS, WHOLES):
        return isinstance(value, list) and all(_is_one(entry, kind) for entry in value)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return False
    if kind == LENGTHS:
        return all(is_whole(number, 1) for number in value.values())
    if kind == SETTINGS:
        return all(isinstance(settings, dict) for settings in value.values())
    return True


def _is_one(entry: object, kind: str) -> bool:
    """Return True for an entry of a list of a kind."""
    if kind == SEEDS:
        return is_whole(entry, 0)
    if kind == WHOLES:
        return is_whole(entry, 1)
    return isinstance(entry, str) and bool(entry)


def is_whole(value: object, least: int) -> bool:
    """Return True for a whole number from `least` that numpy takes as a seed."""
    return (
        isinstance(value, int) and not isinstance(value, bool) and least <= value < MOST
    )


def different_entries(values: Sequence, where: str) -> tuple:
    """Return a list as a tuple. Raise ValueError if it is empty or repeats an entry."""
    if not values or len(set(values)) < len(values):
        raise ValueError(f"{where} is a list of different entries, at least one")
    return tuple(values)


def check_tasks(names: Sequence[str], where: str) -> None:
    """Raise ValueError naming the nearest task if one is neither registered nor custom
    images.
    """
    known = known_tasks()
    for name in names:
        if not datasets.is_custom(name) and name not in known:
            raise ValueError(
                f"{where}: unknown dataset {name!r}; the nearest is {nearest(name, known)[0]!r}"
            )


def known_tasks() -> list[str]:
    """Return the names of the registered data sets."""
    datasets.register_all()
    from dassl.data.datasets import DATASET_REGISTRY

    return DATASET_REGISTRY.registered_names()
