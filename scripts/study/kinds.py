"""The kinds of values in the YAML files of studies and protocols, and their checks."""

import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import datasets
from toolkit.common.structured import read_yaml
from toolkit.common.suggest import nearest, unknown

NAME, NAMES = "a name", "a list of names"
WHOLE, WHOLES = "a whole number from 1", "a list of whole numbers from 1"
SEED, SEEDS = "a whole number from 0", "a list of whole numbers from 0"
LENGTHS, OPTIONS = "methods with their lengths", "keys with values"
SETTINGS = "names with their settings"
LEAST = {WHOLE: 1, SEED: 0}
ENTRIES = {NAMES: NAME, WHOLES: WHOLE, SEEDS: SEED}  # of a list's kind, their kind
MOST = 2**32  # of a seed and a number of shots


def read_suite(
    suite: str,
    folder: Path,
    known: Sequence[str],
    kinds: Mapping[str, str],
    trained: str,
) -> tuple[Path, dict]:
    """Return the path and the checked content of a suite's YAML, or of a custom one.

    Raises ValueError or FileNotFoundError naming the file and the key.

    Args:
        known: the suites in `folder`.
        kinds: as for `check_mapping`; all lists become tuples of different entries.
        trained: the key of the tasks that `largest` is one of.
    """
    path = folder / f"{suite}.yaml" if suite in known else Path(suite)
    if not path.is_file():
        raise FileNotFoundError(
            f"--suite: {suite} is none of {', '.join(known)}, and no such file is there"
        )
    content = read_yaml(path)
    if isinstance(content, dict) and content.get("cross_targets") == "all":
        content["cross_targets"] = content.get("targets")
    check_mapping(content, kinds, path.name)
    for key in kinds:
        values = content[key]
        if isinstance(values, list):
            if not values or len(set(values)) < len(values):
                raise ValueError(
                    f"{path.name}: {key} is a list of different entries, at least one"
                )
            content[key] = tuple(values)
    if content["largest"] not in content[trained]:
        raise ValueError(
            f"{path.name}: largest is {content['largest']!r}, which is none of its {trained}"
        )
    return path, content


def check_mapping(content: object, kinds: Mapping[str, str], where: str) -> None:
    """Raise ValueError unless `content` maps just these keys to values of their kinds.
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
    if kind in LEAST:
        return is_whole(value, LEAST[kind])
    if kind in ENTRIES:
        return isinstance(value, list) and all(
            is_kind(entry, ENTRIES[kind]) for entry in value
        )
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return False
    if kind == LENGTHS:
        return all(is_whole(number, 1) for number in value.values())
    return kind == OPTIONS or all(isinstance(one, dict) for one in value.values())


def is_whole(value: object, least: int) -> bool:
    """Return True for a whole number from `least` that numpy takes as a seed."""
    return type(value) is int and least <= value < MOST


def check_tasks(names: Sequence[str], where: str) -> None:
    """Raise ValueError if a task is neither registered nor custom images."""
    datasets.register_all()
    from dassl.data.datasets import DATASET_REGISTRY

    known = DATASET_REGISTRY.registered_names()
    for name in names:
        if not datasets.is_custom(name) and name not in known:
            raise unknown(f"{where}: unknown dataset", name, known)
