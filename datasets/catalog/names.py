"""Class names in label order, the other spellings by which data may call them, and
prompt templates.

`class_names/<set>.txt` has a class a line: its name in prompts, then other spellings
after a `|`. A missing spelling can be added to its line. `python -m datasets show NAME`
prints the sources of the lists and of `templates.json`.
"""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from toolkit.common.structured import read_json
from toolkit.common.suggest import nearest

from .entries import entry

DEFAULT_TEMPLATES = ("a photo of a {}.",)
_HERE = Path(__file__).parent
_FILES = dict.fromkeys(("ImageNet", "ImageNetV2", "ImageNetSketch"), "imagenet-1k")
_WORDNET = re.compile(r"n\d{8}")


def show(name: str) -> dict:
    """Return a set's name, suite, class names, metric, label_kind and templates."""
    known = entry(name)
    return {
        "name": name,
        "suite": known.suite,
        "classes": class_names(name),
        "metric": known.metric,
        "label_kind": known.label_kind,
        "templates": templates(name),
    }


def class_names(name: str) -> list[str]:
    """Return the class names of a set in label order, CoOp's with their underscores."""
    return [spellings[0] for spellings in _spellings(name)]


def templates(name: str) -> list[str]:
    """Return the zero-shot templates of a set: OpenAI's, or CoOp's one for its sets."""
    known = entry(name)
    stated = known.templates or _templates().get(name)
    return list(stated or [known.template or DEFAULT_TEMPLATES[0]])


def match(name: str, found: Sequence[str], source: str) -> list[str]:
    """Return the names for prompts of `found`, in its order, as `match_labels` does."""
    known = class_names(name)
    return [known[label] for label in match_labels(name, found, source)]


def match_labels(name: str, found: Sequence[str], source: str) -> list[int]:
    """Return the labels of the class names `found` in the data, in their order. Case,
    spaces, punctuation and accents do not count; a name that fits several classes is
    that of its own position; numbers in order (from 0 or 1) stand for the classes.

    Raises ValueError naming `source` for more or fewer names than classes, or one that
    is unknown, fits several or is a class that another has.
    """
    known = _spellings(name)
    if len(found) != len(known):
        raise ValueError(
            f"{source} has {len(found)} classes, but {name} has {len(known)}"
        )
    numbers = [str(number) for number in range(len(found) + 1)]
    if list(found) in (numbers[:-1], numbers[1:]):
        return list(range(len(known)))
    candidates = _index(name)
    taken: dict[int, int] = {}  # class -> position in `found`
    for position, label in enumerate(found):
        fits = candidates.get(_plain(label), ())
        if position in fits:
            chosen = position
        elif len(fits) == 1:
            chosen = fits[0]
        else:
            raise ValueError(
                f"{source}: class {position} is called {label!r}; {_explain(name, label, fits)}"
            )
        if chosen in taken:
            first = found[taken[chosen]]
            both = f"classes {taken[chosen]} ({first!r}) and {position} ({label!r})"
            raise ValueError(f"{source}: {both} are both {known[chosen][0]!r}")
        taken[chosen] = position
    return list(taken)


def adopt(name: str, found: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return `found` with the set's names for raw spellings, and the unknown ones."""
    known = _spellings(name)
    adopted = list(found)
    unknown = []
    for position, label in enumerate(found):
        fits = _index(name).get(_plain(label), ())
        if not fits:
            unknown.append(label)
        elif len(fits) == 1 and _plain(known[fits[0]][0]) != _plain(label):
            adopted[position] = known[fits[0]][0]
    return adopted, unknown


def wordnet_names(name: str) -> dict[str, str]:
    """Return WordNet id -> class name, in label order, of ImageNet or a variant."""
    found = {}
    for spellings in _spellings(name):
        for spelling in spellings:
            if _WORDNET.fullmatch(spelling):
                found[spelling] = spellings[0]
    return found


def _explain(name: str, label: str, fits: Sequence[int]) -> str:
    known = _spellings(name)
    if fits:
        return f"that fits {' and '.join(repr(known[k][0]) for k in fits)}"
    spelled = {_plain(spelling): spelling for names in known for spelling in names}
    found = nearest(_plain(label), spelled, count=3)
    near = ", ".join(repr(spelled[plain]) for plain in found)
    file = f"datasets/catalog/class_names/{_FILES.get(name, name)}.txt"
    return f"{name} has no such class (nearest: {near}). If it is another spelling, add it after a | in {file}"


def _plain(name: str) -> str:
    """Return a name in lower case without spaces, punctuation and accents."""
    letters = unicodedata.normalize("NFKD", name.lower().replace("&", "and"))
    return re.sub(r"[^a-z0-9]", "", letters)


@cache
def _spellings(name: str) -> tuple[tuple[str, ...], ...]:
    path = _HERE / "class_names" / f"{_FILES.get(name, name)}.txt"
    if path.is_file():
        lines = path.read_text(encoding="utf-8").splitlines()
        return tuple(tuple(line.split(" | ")) for line in lines if line)
    known = entry(name)
    if not known.class_names:
        raise ValueError(f"{name} has no list of class names: no file {path}")
    return tuple((class_name,) for class_name in known.class_names)


@cache
def _index(name: str) -> dict[str, tuple[int, ...]]:
    """Return plain spelling -> the classes that have it."""
    index: dict[str, tuple[int, ...]] = {}
    for position, spellings in enumerate(_spellings(name)):
        for plain in dict.fromkeys(map(_plain, spellings)):
            index[plain] = (*index.get(plain, ()), position)
    return index


@cache
def _templates() -> dict[str, list[str]]:
    return read_json(_HERE / "templates.json")
