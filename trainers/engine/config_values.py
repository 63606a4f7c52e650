"""One value put into a configuration, converted to the type that its default has."""

import ast
import contextlib
import functools
import operator
import reprlib
from collections.abc import Iterator
from typing import Any

import yaml
from yacs.config import CfgNode

from toolkit.common.suggest import unknown

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
    except (yaml.YAMLError, *LITERAL_ERRORS):  # also impossible dates
        return text


def set_text(cfg: CfgNode, key: str, text: str) -> None:
    """Put the value of a KEY VALUE pair into `cfg`, as `set_value` does. Text that YAML
    reads as another kind of value ("no", "007", "a: b") stays as it is in a key whose
    default is text.
    """
    value = parse(text)
    old = dict(flatten(cfg)).get(key)
    if isinstance(old, str) and value is not None:
        value = value if isinstance(value, str) else text
    set_value(cfg, key, value)


def set_value(cfg: CfgNode, key: str, value: Any, file: str = "") -> None:
    """Put `value` into `cfg`, in both keys if the setting has two names. file: the file
    that set it, for messages. Raises ValueError if the key is unknown, or the value is
    not of the default's type.
    """
    where = f"{file}: " if file else ""
    known = dict(flatten(cfg))
    if key not in known:
        raise unknown(f"{where}unknown key", key, known)
    for name in (key, ALIASED_KEYS.get(key, key)):
        *groups, leaf = name.split(".")
        node = functools.reduce(operator.getitem, groups, cfg)
        node[leaf] = converted(known[name], value, where + key)


def converted(old: Any, value: Any, where: str) -> Any:
    """Return `value` as the type of `old`; ValueError begins with `where`."""
    advice = ""
    if isinstance(old, bool):
        kind = "True or False"
        if isinstance(value, bool):
            return value
    elif isinstance(old, int):
        kind = "a whole number"
        if isinstance(value, int) and not isinstance(value, bool):
            return value
    elif isinstance(old, float):
        kind = "a number"
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            if not isinstance(value, bool):
                return float(value)
    elif isinstance(old, str):
        kind, advice = "text", ": put it in quotes"
        if not isinstance(value, (bool, dict, list, tuple)):
            return "" if value is None else str(value)
    elif isinstance(old, (list, tuple)):
        kind = "a list"
        with contextlib.suppress(*LITERAL_ERRORS):
            return type(old)(_sequence(value))
    else:
        return value
    raise ValueError(f"{where} is {kind}, not {reprlib.repr(value)}{advice}")


def _sequence(value: Any) -> list | tuple:
    """Return a list or tuple, also of text, as in CoOp's files: `SIZE: (224, 224)`."""
    if isinstance(value, str) and value.strip()[:1] in ("(", "["):
        value = ast.literal_eval(value.strip())
    return value if isinstance(value, (list, tuple)) else [value]


def as_list(value: Any) -> Any:
    """Return a list for a tuple, as a YAML file has it, and other values as they are."""
    return list(value) if isinstance(value, tuple) else value
