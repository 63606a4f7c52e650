"""The protocol of a study: tasks, shots, seeds and settings, from a YAML in
configs/studies.
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from toolkit.common.structured import read_yaml
from toolkit.common.suggest import canonical, nearest

from . import methods

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "studies"
# beside the paper's experiments on the pocket suite, on the same page
BESIDE_POCKET = ("pocket_updates", "pocket_recipes")
SUITES = ("pocket", *BESIDE_POCKET, "paper")
TABLES = ("table1", "table2", "table3", "table4")
NAME, NAMES, SEEDS = "a name", "a list of names", "a list of whole numbers from 0"
LENGTHS, OPTIONS, ITEM_SETTINGS = (
    "methods with their lengths",
    "keys with values",
    "items with their settings",
)
WHOLE, WHOLES = "a whole number from 1", "a list of whole numbers from 1"
KINDS = {
    "backbone": NAME,
    "largest": NAME,
    "sources": NAMES,
    "targets": NAMES,
    "cross_targets": NAMES,
    "seeds": SEEDS,
    "lengths": LENGTHS,
    "options": OPTIONS,
    "items": ITEM_SETTINGS,
}  # key of a protocol -> its meaning
ITEM_KEYS = {
    "table1": {"shots": WHOLES},
    "figure1": {"shots": WHOLE, "backbones": NAMES, "cost": NAMES},
    "figure5": {"shots": WHOLE, "lengths": WHOLES},
    "figure6": {"shots": WHOLE, "heads": WHOLES, "layers": WHOLES, "widths": WHOLES},
}  # of the other items: the number of shots alone
ITEMS = (*TABLES, "figure1", "figure4", "figure5", "figure6")


@dataclass(frozen=True)
class Protocol:
    """The tasks, settings and items of a study.

    Attributes:
        suite: its origin: "pocket", "paper" or a YAML's name.
        sources: tasks that source prompts are trained on; `largest` is one of them.
        targets: all target tasks; `cross_targets` those of the cross-task experiments.
        lengths: single-task method -> context vectors in the backbone's recipe.
        options: configuration keys that differ from the backbone's recipe.
        items: table or figure -> its own settings.
        methods: the trainers that are compared, by default the paper's.
    """

    suite: str = ""
    backbone: str = "pocket"
    sources: tuple[str, ...] = ()
    largest: str = ""
    targets: tuple[str, ...] = ()
    cross_targets: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    lengths: dict[str, int] = field(default_factory=dict)
    options: dict = field(default_factory=dict)
    items: dict[str, dict] = field(default_factory=dict)
    methods: tuple[str, ...] = methods.PAPER

    @property
    def without_largest(self) -> tuple[str, ...]:
        """Return the source tasks but for the largest."""
        return tuple(name for name in self.sources if name != self.largest)

    def singles(self) -> list[str]:
        """Return the single-task methods of which either form is wanted."""
        singles = [methods.single_form(method) for method in self.methods]
        return list(dict.fromkeys(singles))


KEYS = {known.name for known in fields(Protocol)} - {"suite", "methods"}


def load(suite: str) -> Protocol:
    """Return the protocol of a suite, or of a custom YAML file.

    Raises ValueError or FileNotFoundError naming the file and the key.
    """
    path = FOLDER / f"{suite}.yaml" if suite in SUITES else Path(suite)
    if not path.is_file():
        raise FileNotFoundError(
            f"--suite: {suite} is none of {', '.join(SUITES)}, and no such file is there"
        )
    content = read_yaml(path)
    keys = set(content) if isinstance(content, dict) else set()
    if keys != KEYS:
        wrong = ", ".join(sorted(str(key) for key in keys ^ KEYS))
        raise ValueError(
            f"{path.name}: a protocol has the keys {', '.join(sorted(KEYS))}; missing or unknown: {wrong}"
        )
    if content["cross_targets"] == "all":
        content["cross_targets"] = content["targets"]
    for key, kind in KINDS.items():
        if not _is_kind(content[key], kind):
            raise ValueError(
                f"{path.name}: {key} is {reprlib.repr(content[key])}; it is {kind}"
            )
    for key in ("sources", "targets", "cross_targets", "seeds"):
        content[key] = _different_entries(content[key], f"{path.name}: {key}")
    protocol = Protocol(suite=path.stem, **content)
    _check(protocol, path.name)
    return protocol


def _is_kind(value: object, kind: str) -> bool:
    """Return True for a value of one of `KINDS`."""
    if kind == NAME:
        return isinstance(value, str) and bool(value)
    if kind in (NAMES, SEEDS):
        return isinstance(value, list) and all(_is_one(entry, kind) for entry in value)
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        return False
    if kind == LENGTHS:
        return all(_is_whole(number, 1) for number in value.values())
    if kind == ITEM_SETTINGS:
        return all(isinstance(settings, dict) for settings in value.values())
    return True


def _is_one(entry: object, kind: str) -> bool:
    if kind == SEEDS:
        return _is_whole(entry, 0)
    return isinstance(entry, str) and bool(entry)


def _is_whole(value: object, least: int) -> bool:
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and least <= value < 2**32
    )


def _different_entries(values: object, where: str) -> tuple:
    is_filled = isinstance(values, list) and values
    if not is_filled or len(set(values)) < len(values):
        raise ValueError(f"{where} is a list of different entries, at least one")
    return tuple(values)


def _check(protocol: Protocol, file: str) -> None:
    if protocol.largest not in protocol.sources:
        raise ValueError(
            f"{file}: largest is {protocol.largest!r}, which is none of its sources"
        )
    for name in protocol.cross_targets:
        if name not in protocol.targets:
            raise ValueError(
                f"{file}: cross_targets names {name!r}, which is none of its targets"
            )
    known = methods.known()
    for name in protocol.lengths:
        if name not in known:
            raise ValueError(
                f"{file}: lengths: unknown method {name!r}; the nearest is {nearest(name, known)[0]!r}"
            )
    for item, settings in protocol.items.items():
        if item not in ITEMS:
            raise ValueError(
                f"{file}: unknown item {item!r}; there are {', '.join(ITEMS)}"
            )
        _check_item(
            settings, ITEM_KEYS.get(item, {"shots": WHOLE}), f"{file}: items: {item}"
        )


def _check_item(settings: dict, kinds: dict[str, str], where: str) -> None:
    """Raise ValueError if the settings of a table or figure are others than it takes."""
    if settings.keys() != kinds.keys():
        raise ValueError(
            f"{where} has the keys {', '.join(kinds)}, not {', '.join(map(str, settings)) or 'none'}"
        )
    for key, kind in kinds.items():
        value = settings[key]
        if kind == WHOLE:
            right = _is_whole(value, 1)
        elif kind == WHOLES:
            right = (
                isinstance(value, list)
                and bool(value)
                and all(_is_whole(entry, 1) for entry in value)
            )
        else:
            right = _is_kind(value, NAMES)
        if not right:
            raise ValueError(f"{where}: {key} is {reprlib.repr(value)}; it is {kind}")


def narrowed(
    protocol: Protocol, seeds: Sequence[int], names: Sequence[str]
) -> Protocol:
    """Return the protocol with other seeds and methods, if given.

    Raises ValueError naming the nearest method.
    """
    if seeds:
        protocol = replace(protocol, seeds=tuple(seeds))
    if names:
        known = methods.known()
        wanted = {canonical(name, known): name for name in names}
        if None in wanted:
            choice = nearest(wanted[None], known)[0]
            raise ValueError(
                f"--methods: unknown method {wanted[None]!r}; the nearest is {choice!r}"
            )
        in_order = [method for method in known if method in wanted]
        protocol = replace(protocol, methods=tuple(in_order))
    return protocol


def with_backbone(protocol: Protocol, backbone: str) -> Protocol:
    """Return the protocol on another backbone, which figure 1 then has alone if it had
    the suite's alone.
    """
    if not backbone or backbone == protocol.backbone:
        return protocol
    items = dict(protocol.items)
    if "figure1" in items and items["figure1"]["backbones"] == [protocol.backbone]:
        items["figure1"] = items["figure1"] | {"backbones": [backbone]}
    return replace(protocol, backbone=backbone, items=items)
