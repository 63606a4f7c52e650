"""The suite of a protocol: sets, seeds, shots and the settings of each method, from a
YAML in configs/protocols.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from scripts.study.methods import single_form
from toolkit.common.structured import read_yaml
from toolkit.common.suggest import nearest

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "protocols"
SUITES = ("pocket", "coop")
PROTOCOLS = ("base2new", "crossdataset", "domain", "fewshot")
PARTS = ("all", *PROTOCOLS, "fewshot-largest")  # of a method's settings


@dataclass(frozen=True)
class Suite:
    """The tasks and settings of the protocols.

    Attributes:
        name: "pocket", "coop" or a YAML's name.
        sets: the sets of base-to-new and few-shot curves; `largest` is one of them.
        shifts: test sets with the classes of the largest set, or some of them.
        shots: of few-shot curves; the other protocols take the most.
        options: configuration keys of all runs.
        methods: method -> part of `PARTS` -> configuration keys, later parts win.
    """

    name: str
    backbone: str
    sets: tuple[str, ...]
    largest: str
    shifts: tuple[str, ...]
    seeds: tuple[int, ...]
    shots: tuple[int, ...]
    options: dict = field(hash=False)
    methods: dict = field(hash=False)

    @property
    def others(self) -> tuple[str, ...]:
        """Return the sets but for the largest."""
        return tuple(name for name in self.sets if name != self.largest)

    def settings(self, method: str, protocol: str, shots: int, task: str = "") -> dict:
        """Return the configuration keys of a method's runs in a protocol; those of its
        single-task form, too.
        """
        parts = ["all", protocol]
        if protocol == "fewshot" and task == self.largest:
            parts.append("fewshot-largest")
        chosen = {}
        for name in dict.fromkeys((single_form(method), method)):
            for part in parts:
                chosen |= self.methods.get(name, {}).get(part, {})
        for key, value in chosen.items():
            if isinstance(value, Mapping):
                chosen[key] = value[shots]
        return chosen | self.options


KEYS = {known.name for known in fields(Suite)} - {"name"}


def load(name: str) -> Suite:
    """Return a suite, or that of a custom YAML file.

    Raises ValueError or FileNotFoundError naming the file and the key.
    """
    path = FOLDER / f"{name}.yaml" if name in SUITES else Path(name)
    if not path.is_file():
        raise FileNotFoundError(
            f"--suite: {name} is none of {', '.join(SUITES)}, and no such file is there"
        )
    content = read_yaml(path)
    keys = set(content) if isinstance(content, dict) else set()
    if keys != KEYS:
        wrong = ", ".join(sorted(str(key) for key in keys ^ KEYS))
        raise ValueError(
            f"{path.name}: a suite has the keys {', '.join(sorted(KEYS))}; missing or unknown: {wrong}"
        )
    for key in ("sets", "shifts", "seeds", "shots"):
        values = content[key]
        if not isinstance(values, list) or not values or len(set(values)) < len(values):
            raise ValueError(
                f"{path.name}: {key} is a list of different entries, at least one"
            )
        content[key] = tuple(values)
    if content["largest"] not in content["sets"]:
        raise ValueError(
            f"{path.name}: largest is {content['largest']!r}, which is none of its sets"
        )
    _check_methods(content["methods"], path.name)
    return Suite(path.stem, **content)


def _check_methods(methods: object, file: str) -> None:
    for method, parts in dict(methods).items():
        for part in parts:
            if part not in PARTS:
                raise ValueError(
                    f"{file}: methods.{method}.{part} is no protocol; the nearest is {nearest(part, PARTS)[0]!r}"
                )
