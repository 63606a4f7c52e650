"""A plan file: YAML that defines the runs of a sweep, and their executor. Every mistake
is one sentence with the file, the key and the nearest valid choice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from toolkit.common.structured import read_yaml
from toolkit.common.suggest import canonical, nearest

from . import methods
from .kinds import NAME, OPTIONS, check_tasks, is_kind, is_whole, no_key
from .protocol import ITEMS

COMMON = ("root", "output_dir", "resources", "retries")
STUDY = ("items", "suite", "seeds", "methods", "backbone")
ENTRY = ("name", "methods", "sources", "targets", "shots", "seeds", "options")
ENTRY += ("backbone", "evaluate")


@dataclass(frozen=True)
class Entry:
    """Runs of every method, at every number of shots, with every seed, on every target.
    name: in tables. sources: that multitask methods train a prompt on first. options:
    configuration keys; a list for a key that takes one value is a grid.
    evaluated_tasks: that each prompt is tested on, too. evaluated_classes: of these
    tests: all, base or new.
    """

    name: str
    methods: tuple[str, ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    options: dict = field(hash=False)
    backbone: str
    evaluated_tasks: tuple[str, ...] = ()
    evaluated_classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PlanFile:
    """The content of a plan file."""

    root: str
    output_dir: str
    resources: dict[str, float]  # "cpus" and "gpus" of a cluster for each job, if given
    retries: int | None
    study: dict[str, tuple | str]  # keys for `scripts.study`; empty if `entries` are
    entries: tuple[Entry, ...]


def read(path: Path) -> PlanFile:
    """Read and check a plan file. Raises ValueError or FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(f"no plan file {path}")
    top = _Value(read_yaml(path), path.name)
    top.check_keys((*COMMON, *STUDY, "runs"))
    if ("items" in top.value) == ("runs" in top.value):
        raise top.error("a plan has either items (of a study) or runs")
    study = {}
    for key in STUDY:
        if key in top.value:
            study[key] = _study_value(key, top.get(key))
    entries = ()
    if "runs" in top.value:
        for key in study:
            text = "is a study's; with runs it belongs in each of them"
            raise top.get(key).error(text)
        entries = _entries(top.get("runs"))
    return PlanFile(
        root=top.get("root", "").folder(),
        output_dir=top.get("output_dir").folder() or str(Path("output") / path.stem),
        resources=_resources(top.get("resources", {})),
        retries=top.get("retries").optional_number(),
        study=study,
        entries=entries,
    )


def _study_value(key: str, value: _Value) -> tuple | str:
    if key == "seeds":
        return value.numbers(0)
    if key == "methods":
        return value.choices(methods.known())
    if key == "items":
        return value.choices(("all", *ITEMS))
    return value.word()


def _resources(value: _Value) -> dict[str, float]:
    value.check_keys(("cpus", "gpus"))
    for key, amount in value.value.items():
        if isinstance(amount, bool) or not isinstance(amount, (int, float)):
            raise value.get(key).error(f"is a number, not {amount!r}")
    return value.value


def _entries(runs: _Value) -> tuple[Entry, ...]:
    if not isinstance(runs.value, list):
        raise runs.error(f"is a list, not {runs.value!r}")
    if not runs.value:
        raise runs.error("is empty")
    entries: list[Entry] = []
    for k, content in enumerate(runs.value):
        value = _Value(content, runs.file, f"runs[{k}]")
        entry = _entry(value, default_name=str(k + 1))
        for first, other in enumerate(entries):
            if entry.name == other.name:
                text = f"{entry.name!r} is that of runs[{first}], too"
                raise value.get("name").error(text)
        entries.append(entry)
    return tuple(entries)


def _entry(value: _Value, default_name: str) -> Entry:
    value.check_keys(ENTRY)
    for key in ("methods", "targets", "shots"):
        if key not in value.value:
            raise value.get(key).error("is missing")
    names = value.get("methods").choices(methods.known())
    sources = value.get("sources", []).tasks()
    multitask = [name for name in names if methods.is_multitask(name)]
    if multitask and not sources:
        text = f"{multitask[0]} learns a prompt on source tasks first: name some"
        raise value.get("sources").error(text)
    if sources and not multitask:
        other = methods.multitask_form(names[0]) or "a multitask method"
        text = f"{names[0]} starts from no source tasks; {other} does"
        raise value.get("sources").error(text)
    targets = value.get("targets").tasks()
    if not targets:
        raise value.get("targets").error("is empty")
    options = value.get("options", {})
    options.check_keys()
    evaluated_tasks, evaluated_classes = (), ()
    if "evaluate" in value.value:
        evaluate = value.get("evaluate")
        evaluate.check_keys(("tasks", "classes"))
        evaluated_tasks = evaluate.get("tasks", []).tasks()
        classes = evaluate.get("classes", "all")
        evaluated_classes = classes.choices(("all", "base", "new"))
    return Entry(
        name=value.get("name", default_name).word(),
        methods=names,
        sources=sources,
        targets=targets,
        shots=value.get("shots").numbers(1),
        seeds=value.get("seeds", 0).numbers(0),
        options=options.value,
        backbone=value.get("backbone", "pocket").word(),
        evaluated_tasks=evaluated_tasks,
        evaluated_classes=evaluated_classes,
    )


@dataclass(frozen=True)
class _Value:
    """A value of a plan file and its position; methods return it checked, or raise."""

    value: Any
    file: str
    key: str = ""

    def error(self, text: str) -> ValueError:
        where = f"{self.key}: " if self.key else ""
        return ValueError(f"{self.file}: {where}{text}")

    def get(self, name: str, default: Any = None) -> _Value:
        key = f"{self.key}.{name}" if self.key else name
        return _Value(self.value.get(name, default), self.file, key)

    def check_keys(self, known: Sequence[str] | None = None) -> None:
        if not is_kind(self.value, OPTIONS):
            raise self.error(f"maps keys to values, which {self.value!r} does not")
        for name in self.value:
            if known is not None and name not in known:
                raise self.get(name).error(no_key(name, known))

    def word(self) -> str:
        if not is_kind(self.value, NAME):
            raise self.error(f"is a name, not {self.value!r}")
        return self.value

    def folder(self) -> str:
        if self.value in ("", None):
            return ""
        return str(Path(self.word()).expanduser())

    def optional_number(self) -> int | None:
        if self.value is not None and not is_whole(self.value, 0):
            raise self.error(f"is a whole number from 0, not {self.value!r}")
        return self.value

    def several(self) -> list:
        """Return one value or a list of different ones, as a list."""
        values = self.value if isinstance(self.value, list) else [self.value]
        for k, value in enumerate(values):
            if value in values[:k]:
                raise self.error(f"{value!r} is given twice")
        return values

    def numbers(self, least: int) -> tuple[int, ...]:
        values = self.several()
        for value in values:
            if not is_whole(value, least):
                raise self.error(f"takes whole numbers from {least}, not {value!r}")
        if not values:
            raise self.error("is empty")
        return tuple(values)

    def words(self) -> tuple[str, ...]:
        return tuple(replace(self, value=value).word() for value in self.several())

    def choices(self, known: Sequence[str]) -> tuple[str, ...]:
        chosen = []
        for word in self.words():
            name = canonical(word, known)
            if name is None:
                choice = f"{nearest(word, known)[0]!r} of {', '.join(known)}"
                raise self.error(f"unknown {word!r}, nearest {choice}")
            chosen.append(name)
        if not chosen:
            raise self.error("is empty")
        return tuple(chosen)

    def tasks(self) -> tuple[str, ...]:
        words = self.words()
        check_tasks(words, f"{self.file}: {self.key}")
        return words
