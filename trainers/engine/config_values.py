"""One value put into a configuration, converted to the type that its default has."""

from __future__ import annotations

import ast
import reprlib
from collections.abc import Iterator
from typing import Any

import yaml
from yacs.config import CfgNode

from toolkit.common.suggest import nearest

ALIASED_KEYS = {
    "DATASET.NUM_SHOTS": "DATASET.NUM_SAMPLES_PER_CLASS",
    "DATASET.NUM_SAMPLES_PER_CLASS": "DATASET.NUM_SHOTS",
}  # two names of one setting
LITERAL_ERRORS = (ValueError, SyntaxError, TypeError, RecursionError, MemoryError)


def flatten(node: dict, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (dotted key, value) for all leaves."""
    for key, value in node.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def parse(text: str) -> Any:
    """Return the value of a KEY VALUE pair's text, as YAML reads it."""
    try:
        return yaml.safe_load(text)
    except (
        yaml.YAMLError,
        ValueError,
        TypeError,
        RecursionError,
    ):  # also impossible dates
        return text


def set_text(cfg: CfgNode, key: str, text: str) -> None:
    """Put the value of a KEY VALUE pair into `cfg`, as `set_value` does.

    Text that YAML reads as another kind of value ("no", "007", "a: b") stays as it is in
    a key whose default is text.
    """
    value = parse(text)
    *groups, leaf = key.split(".")
    node = _find(cfg, groups)
    is_text = node is not None and isinstance(node.get(leaf), str)
    if is_text and value is not None and not isinstance(value, str):
        value = text
    set_value(cfg, key, value)


def set_value(cfg: CfgNode, key: str, value: Any, file: str = "") -> None:
    """Put `value` into `cfg`, in both keys if the setting has two names.

    file: the file that set it, for messages.

    Raises:
        ValueError: the key is unknown, or the value is not of the default's type.
    """
    where = f"{file}: {key}" if file else key
    *groups, leaf = key.split(".")
    node = _find(cfg, groups)
    if node is None or leaf not in node or isinstance(node[leaf], dict):
        raise ValueError(_unknown_key(cfg, key, file))
    node[leaf] = converted(node[leaf], value, where)
    if key in ALIASED_KEYS:
        *groups, leaf = ALIASED_KEYS[key].split(".")
        node = _find(cfg, groups)
        node[leaf] = converted(node[leaf], value, where)


def _find(cfg: CfgNode, groups: list[str]) -> CfgNode | None:
    node = cfg
    for name in groups:
        if not isinstance(node, dict) or name not in node:
            return None
        node = node[name]
    return node if isinstance(node, dict) else None


def _unknown_key(cfg: CfgNode, key: str, file: str) -> str:
    known = [name for name, _ in flatten(cfg)]
    message = f"unknown key {key!r}; the nearest is {nearest(key, known)[0]!r}"
    return f"{file}: {message}" if file else message


def converted(old: Any, value: Any, where: str) -> Any:
    """Return `value` as the type of `old`."""
    if isinstance(old, bool):
        if not isinstance(value, bool):
            raise ValueError(f"{where} is True or False, not {reprlib.repr(value)}")
        return value
    if isinstance(old, int):
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"{where} is a whole number, not {reprlib.repr(value)}")
        return value
    if isinstance(old, float):
        return _number(value, where)
    if isinstance(old, str):
        return _text(value, where)
    if isinstance(old, (list, tuple)):
        return type(old)(_sequence(value, where))
    return value


def _text(value: Any, where: str) -> str:
    if isinstance(value, (bool, dict, list, tuple)):
        raise ValueError(
            f"{where} is text, not {reprlib.repr(value)}: put it in quotes"
        )
    return "" if value is None else str(value)


def _sequence(value: Any, where: str) -> list | tuple:
    """Return a list or tuple, also of text, as in CoOp's files: `SIZE: (224, 224)`."""
    if isinstance(value, str) and value.strip()[:1] in ("(", "["):
        try:
            value = ast.literal_eval(value.strip())
        except LITERAL_ERRORS:
            raise ValueError(f"{where} is a list, not {reprlib.repr(value)}") from None
    return value if isinstance(value, (list, tuple)) else [value]


def _number(value: Any, where: str) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where} is a number, not {reprlib.repr(value)}") from None
