"""The suite of a protocol: sets, seeds, shots, settings, from configs/protocols."""

import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.study import kinds, methods
from scripts.study.options import check_options
from toolkit.common.suggest import unknown
from toolkit.common.text import naming

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
        """Return the configuration keys of a method, and of its single-task form."""
        parts = ["all", protocol]
        if protocol == "fewshot" and task == self.largest:
            parts.append("fewshot-largest")
        chosen = {}
        for name in dict.fromkeys((methods.single_form(method), method)):
            for part in parts:
                chosen |= self.methods.get(name, {}).get(part, {})
        return of_shots(chosen, shots) | self.options


KINDS = {
    "backbone": kinds.NAME,
    "sets": kinds.NAMES,
    "largest": kinds.NAME,
    "shifts": kinds.NAMES,
    "seeds": kinds.SEEDS,
    "shots": kinds.WHOLES,
    "options": kinds.OPTIONS,
    "methods": kinds.SETTINGS,
}  # key of a suite -> its meaning


def load(name: str) -> Suite:
    """Return a suite, or that of a YAML file. Raise ValueError or FileNotFoundError."""
    path, content = kinds.read_suite(name, FOLDER, SUITES, KINDS, "sets")
    kinds.check_tasks(content["sets"], f"{path.name}: sets")
    kinds.check_tasks(content["shifts"], f"{path.name}: shifts")
    suite = Suite(path.stem, **content)
    for method, parts in suite.methods.items():
        _check_method(suite, method, parts, path.name)
    return suite


def _check_method(suite: Suite, method: str, parts: dict, file: str) -> None:
    """Raise ValueError for settings of a method that no run reads."""
    known = methods.known()
    if method not in known:
        raise unknown(f"{file}: methods: unknown method", method, known)
    for part, options in parts.items():
        where = f"{file}: methods.{method}.{part}"
        if part not in PARTS:
            raise ValueError(f"{where} {kinds.no_key(part, PARTS)}")
        if not kinds.is_kind(options, kinds.OPTIONS):
            given = reprlib.repr(options)
            raise ValueError(f"{where} is {given}; it is {kinds.OPTIONS}")
        with naming(where):
            _check_shots(options, suite.shots)
            for shots in suite.shots:
                chosen = of_shots(options, shots)
                check_options([method], chosen, suite.backbone)


def _check_shots(options: Mapping[str, object], known: tuple[int, ...]) -> None:
    for key, value in options.items():
        for shots in value if isinstance(value, Mapping) else ():
            if shots not in known:
                numbers = ", ".join(map(str, known))
                raise ValueError(f"{key}: {shots!r} is none of the shots, {numbers}")


def of_shots(options: Mapping[str, object], shots: int) -> dict:
    """Return options with each {shots: value} replaced, or raise ValueError."""
    chosen = dict(options)
    for key, value in options.items():
        if isinstance(value, Mapping):
            if shots not in value:
                given = f"it has some for {', '.join(map(str, value))}"
                raise ValueError(f"{key} has no value for {shots} shots; {given}")
            chosen[key] = value[shots]
    return chosen
