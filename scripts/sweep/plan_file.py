"""A plan file: YAML that says what a sweep runs, and where. Every mistake is one sentence with the file, the key and the
nearest valid choice."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from scripts.study.protocol import ITEMS, METHODS

COMMON = ("root", "output_dir", "resources", "retries")
STUDY = ("items", "suite", "seeds", "methods", "backbone")
ENTRY = ("name", "methods", "sources", "targets", "shots", "seeds", "options", "backbone")
RESOURCES = ("cpus", "gpus")


@dataclass(frozen=True)
class Entry:
    """Runs of every method, at every number of shots, with every seed, on every target.

    Attributes:
        name: what tables call it.
        sources: tasks that multitask methods (MCoOp, MVPT, MUPT) learn a prompt on first, which targets start from.
        options: configuration keys, as train.py takes them.
    """

    name: str
    methods: tuple[str, ...]
    sources: tuple[str, ...]
    targets: tuple[str, ...]
    shots: tuple[int, ...]
    seeds: tuple[int, ...]
    options: dict = field(hash=False)
    backbone: str


@dataclass(frozen=True)
class PlanFile:
    """What a plan file says.

    Attributes:
        study: the study's keys that are given, for `scripts.study`; empty where `entries` are.
        resources: "cpus" and "gpus" of a cluster for each job, where given.
    """

    root: str
    output_dir: str
    resources: dict[str, float]
    retries: int | None
    study: dict[str, list | str]
    entries: tuple[Entry, ...]


def read(path: Path) -> PlanFile:
    """Read and check a plan file. Raises ValueError or FileNotFoundError."""
    if not path.is_file():
        raise FileNotFoundError(f"no plan file {path}")
    try:
        text = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name} is no YAML: {' '.join(str(error).split())}") from None
    return _Reader(path.name).plan(text, path.stem)


class _Reader:
    """Turns plain data into a PlanFile; knows the file's name for messages."""

    def __init__(self, file: str) -> None:
        self.file = file

    def plan(self, text: object, stem: str) -> PlanFile:
        text = self.mapping(text, "", (*COMMON, *STUDY, "runs"))
        if ("items" in text) == ("runs" in text):
            raise self.wrong("", "a plan has either items (of a study) or runs")
        odd = [key for key in text if key in STUDY] if "runs" in text else []
        if odd:
            raise self.wrong(odd[0], "is a study's; with runs it stands in each of them")
        resources = self.mapping(text.get("resources", {}), "resources", RESOURCES)
        for key, value in resources.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise self.wrong(f"resources.{key}", f"is a number, not {value!r}")
        retries = text.get("retries")
        if retries is not None and not _whole(retries, 0):
            raise self.wrong("retries", f"is a whole number from 0, not {retries!r}")
        study = {key: self.study_value(text[key], key) for key in STUDY if key in text}
        entries = tuple(self.entry(value, k) for k, value in enumerate(self.sequence(text.get("runs", []), "runs")))
        names = [entry.name for entry in entries]
        for k, name in enumerate(names):
            if name in names[:k]:
                raise self.wrong(f"runs[{k}].name", f"{name!r} is that of runs[{names.index(name)}], too")
        if "runs" in text and not entries:
            raise self.wrong("runs", "is empty")
        root = self.place(text.get("root", ""), "root")
        output_dir = self.place(text.get("output_dir") or str(Path("output") / stem), "output_dir")
        return PlanFile(root, output_dir, resources, retries, study, entries)

    def study_value(self, value: object, key: str) -> list | str:
        if key in ("suite", "backbone"):
            return self.word(value, key)
        if key == "seeds":
            return list(self.numbers(value, key, 0))
        return list(self.choices(value, key, METHODS if key == "methods" else ("all", *ITEMS)))

    def entry(self, value: object, k: int) -> Entry:
        where = f"runs[{k}]"
        value = self.mapping(value, where, ENTRY)
        for key in ("methods", "targets", "shots"):
            if key not in value:
                raise self.wrong(f"{where}.{key}", "is missing")
        tasks = _task_names()
        methods = self.choices(value["methods"], f"{where}.methods", METHODS)
        sources = self.tasks(value.get("sources", ()), f"{where}.sources", tasks)
        multitask = [method for method in methods if method[0] == "M"]
        if multitask and not sources:
            raise self.wrong(f"{where}.sources", f"{multitask[0]} learns a prompt on source tasks first: name some")
        if sources and not multitask:
            raise self.wrong(f"{where}.sources", f"{methods[0]} starts from no source tasks; M{methods[0]} does")
        options = self.mapping(value.get("options", {}), f"{where}.options")
        return Entry(
            self.word(value.get("name", str(k + 1)), f"{where}.name"),
            methods,
            sources,
            self.tasks(value["targets"], f"{where}.targets", tasks),
            self.numbers(value["shots"], f"{where}.shots", 1),
            self.numbers(value.get("seeds", 0), f"{where}.seeds", 0),
            options,
            self.word(value.get("backbone", "pocket"), f"{where}.backbone"),
        )

    # -- values ----------------------------------------------------------------------------------------------------

    def wrong(self, key: str, what: str) -> ValueError:
        return ValueError(f"{self.file}: {key}{': ' if key else ''}{what}")

    def mapping(self, value: object, key: str, known: Iterable[str] | None = None) -> dict:
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise self.wrong(key, f"maps keys to values, which {value!r} does not")
        for name in value:
            if known is not None and name not in known:
                where = f"{key}.{name}" if key else name
                raise self.wrong(where, f"is no key; the nearest is {nearest(name, known)!r} of {', '.join(known)}")
        return value

    def sequence(self, value: object, key: str) -> list:
        if not isinstance(value, list):
            raise self.wrong(key, f"is a list, not {value!r}")
        return value

    def word(self, value: object, key: str) -> str:
        if not isinstance(value, str) or not value:
            raise self.wrong(key, f"is a name, not {value!r}")
        return value

    def place(self, value: object, key: str) -> str:
        return str(Path(self.word(value, key)).expanduser()) if value != "" else ""

    def several(self, value: object, key: str) -> list:
        """One value or a list of different ones, as a list."""
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        for k, one in enumerate(values):
            if one in values[:k]:
                raise self.wrong(key, f"{one!r} is given twice")
        return values

    def words(self, value: object, key: str) -> tuple[str, ...]:
        return tuple(self.word(one, key) for one in self.several(value, key))

    def numbers(self, value: object, key: str, least: int) -> tuple[int, ...]:
        values = self.several(value, key)
        for one in values:
            if not _whole(one, least):
                raise self.wrong(key, f"takes whole numbers from {least}, not {one!r}")
        if not values:
            raise self.wrong(key, "is empty")
        return tuple(values)

    def choices(self, value: object, key: str, known: Iterable[str]) -> tuple[str, ...]:
        lower, words = {name.lower(): name for name in known}, self.words(value, key)
        for name in words:
            if name.lower() not in lower:
                raise self.wrong(key, f"unknown {name!r}, nearest {nearest(name, known)!r} of {', '.join(known)}")
        if not words:
            raise self.wrong(key, "is empty")
        return tuple(lower[name.lower()] for name in words)

    def tasks(self, value: object, key: str, known: Iterable[str]) -> tuple[str, ...]:
        from datasets import is_custom

        names = self.words(value, key)
        for name in names:
            if not is_custom(name) and name not in known:
                raise self.wrong(key, f"unknown dataset {name!r}; the nearest is {nearest(name, known)!r}")
        if not names and key.endswith("targets"):
            raise self.wrong(key, "is empty")
        return names


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name that is spelt most like this one."""
    lower = {one.lower(): one for one in known}
    return lower[difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.0)[0]]


def _whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _task_names() -> list[str]:
    import datasets

    datasets.register_all()
    from dassl.data.datasets import DATASET_REGISTRY

    return DATASET_REGISTRY.registered_names()
