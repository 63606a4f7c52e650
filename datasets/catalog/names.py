"""Class names in label order, the other spellings by which data may call them, and prompt templates.

`class_names/<set>.txt` has a class a line: its name in prompts, then other spellings after a `|`. `scripts/make_names.py` wrote these files
and `templates.json`, and says where the lists come from; a spelling that is missing can simply be added to its line.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from datasets.pocket.specs import SPECS
from datasets.task import DEFAULT_TEMPLATES

from .entries import entry

_HERE = Path(__file__).parent
_FILES = {"ImageNet": "imagenet-1k", "ImageNetV2": "imagenet-1k", "ImageNetSketch": "imagenet-1k"}
_WORDNET = re.compile(r"n\d{8}")


def class_names(name: str) -> list[str]:
    """The class names of the set called `name`, in label order. CoOp's are its own, some with underscores."""
    if name in SPECS:
        return list(SPECS[name].classes.values())
    return [spellings[0] for spellings in _spellings(name)]


def templates(name: str) -> list[str]:
    """The zero-shot templates of the set called `name`: OpenAI's for ELEVATER's sets, the one of CoOp for CoOp's."""
    if name in SPECS:
        return list(SPECS[name].templates)
    return list(_templates().get(name) or [entry(name).template or DEFAULT_TEMPLATES[0]])


def match(name: str, found: Sequence[str], source: str) -> list[str]:
    """The prompts' names for the class names `found` in the data, in the data's order.

    Case, spaces and punctuation do not count. A name that fits several classes is that of its own position. Numbers in their order
    (0, 1, ... or 1, 2, ...) name nothing, and stand for the classes in their order.

    Args:
        name: of the set.
        source: the file that `found` is from, for messages.

    Raises:
        ValueError: there are more or fewer names than classes, or one is unknown, fits several classes or stands for the class of another.
    """
    known = _spellings(name)
    if len(found) != len(known):
        raise ValueError(f"{source} has {len(found)} classes, but {name} has {len(known)}")
    if list(found) in ([str(k + start) for k in range(len(known))] for start in (0, 1)):
        return class_names(name)
    candidates = _index(name)
    taken: dict[int, int] = {}
    for position, label in enumerate(found):
        fits = candidates.get(_plain(label), ())
        if position not in fits and len(fits) != 1:
            raise ValueError(f"{source}: class {position} is called {label!r}; {_explain(name, label, fits)}")
        chosen = position if position in fits else fits[0]
        if chosen in taken:
            first = found[taken[chosen]]
            raise ValueError(
                f"{source}: classes {taken[chosen]} ({first!r}) and {position} ({label!r}) are both {known[chosen][0]!r}"
            )
        taken[chosen] = position
    return [known[chosen][0] for chosen in taken]


def adopt(name: str, found: Sequence[str]) -> tuple[list[str], list[str]]:
    """(`found` with raw spellings replaced by the set's names, those that the set does not know and that stay as they are)."""
    known, candidates = _spellings(name), _index(name)
    adopted, unknown = [], []
    for label in found:
        fits = candidates.get(_plain(label), ())
        if not fits:
            unknown.append(label)
        raw = len(fits) == 1 and _plain(known[fits[0]][0]) != _plain(label)
        adopted.append(known[fits[0]][0] if raw else label)
    return adopted, unknown


def wordnet_names(name: str) -> dict[str, str]:
    """WordNet id -> class name, in label order, of ImageNet or one of its variants."""
    return {
        spelling: spellings[0]
        for spellings in _spellings(name)
        for spelling in spellings
        if _WORDNET.fullmatch(spelling)
    }


def _explain(name: str, label: str, fits: Sequence[int]) -> str:
    known = _spellings(name)
    if fits:
        return f"that fits {' and '.join(repr(known[k][0]) for k in fits)}"
    spelt = {_plain(spelling): spelling for spellings in known for spelling in spellings}
    near = [spelt[match] for match in difflib.get_close_matches(_plain(label), spelt, n=3, cutoff=0.0)]
    return (
        f"{name} has no such class (nearest: {', '.join(map(repr, near))}). If it is another spelling, add it after a | in "
        f"datasets/class_names/{_FILES.get(name, name)}.txt"
    )


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("&", "and"))


@cache
def _spellings(name: str) -> tuple[tuple[str, ...], ...]:
    path = _HERE / "class_names" / f"{_FILES.get(name, name)}.txt"
    if not path.is_file():
        entry(name)  # names the nearest where there is no such set
        raise ValueError(f"{name} has no list of class names: no file {path}")
    return tuple(tuple(line.split(" | ")) for line in path.read_text(encoding="utf-8").splitlines() if line)


@cache
def _index(name: str) -> dict[str, tuple[int, ...]]:
    index: dict[str, tuple[int, ...]] = {}
    for position, spellings in enumerate(_spellings(name)):
        for plain in dict.fromkeys(map(_plain, spellings)):
            index[plain] = (*index.get(plain, ()), position)
    return index


@cache
def _templates() -> dict[str, list[str]]:
    return json.loads((_HERE / "templates.json").read_text(encoding="utf-8"))
