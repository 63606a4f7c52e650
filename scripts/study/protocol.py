"""The protocol of a study: tasks, shots, seeds and settings, from a YAML in configs/studies."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.common.structured import read_yaml

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "studies"
SUITES = ("pocket", "paper")
SINGLE = ("CoOp", "VPT", "UPT")
METHODS = (*SINGLE, *(f"M{method}" for method in SINGLE))
ITEMS = ("table1", "table2", "table3", "table4", "figure1", "figure4", "figure5", "figure6")
_KEYS = {"backbone", "sources", "largest", "targets", "cross_targets", "seeds", "lengths", "options", "items"}


@dataclass(frozen=True)
class Protocol:
    """What a study runs.

    Attributes:
        suite: where it comes from: "pocket", "paper" or a YAML's name.
        sources: tasks that source prompts are learnt on; `largest` is one of them.
        targets: all target tasks; `cross_targets` those of the cross-task experiments.
        lengths: single-task method -> context vectors in the backbone's recipe.
        options: configuration keys that differ from the backbone's recipe.
        items: table or figure -> its own settings.
        methods: which of `METHODS` are wanted.
    """

    suite: str
    backbone: str
    sources: tuple[str, ...]
    largest: str
    targets: tuple[str, ...]
    cross_targets: tuple[str, ...]
    seeds: tuple[int, ...]
    lengths: dict[str, int]
    options: dict
    items: dict[str, dict]
    methods: tuple[str, ...] = METHODS

    def singles(self) -> list[str]:
        """The single-task methods of which either form is wanted."""
        return [method for method in SINGLE if {method, f"M{method}"} & {*self.methods}]


def load(suite: str) -> Protocol:
    """The protocol of a suite, or of a YAML file of one's own.

    Raises ValueError or FileNotFoundError naming the file and the key.
    """
    path = FOLDER / f"{suite}.yaml" if suite in SUITES else Path(suite)
    if not path.is_file():
        raise FileNotFoundError(f"--suite: {suite} is none of {', '.join(SUITES)}, and no such file is there")
    text = read_yaml(path)
    if not isinstance(text, dict) or text.keys() != _KEYS:
        keys = set(text) if isinstance(text, dict) else set()
        odd = ", ".join(sorted(map(str, keys ^ _KEYS)))
        raise ValueError(f"{path.name}: a protocol has the keys {', '.join(sorted(_KEYS))}; missing or unknown: {odd}")
    if text["cross_targets"] == "all":
        text["cross_targets"] = text["targets"]
    for key in ("sources", "targets", "cross_targets", "seeds"):
        values = text[key] if isinstance(text[key], list) else []
        if not values or len(set(values)) < len(values):
            raise ValueError(f"{path.name}: {key} is a list of different entries, at least one")
        text[key] = tuple(values)
    if text["largest"] not in text["sources"]:
        raise ValueError(f"{path.name}: largest is {text['largest']!r}, which is none of its sources")
    alien = [name for name in text["cross_targets"] if name not in text["targets"]]
    if alien:
        raise ValueError(f"{path.name}: cross_targets names {alien[0]!r}, which is none of its targets")
    unknown = [item for item in text["items"] if item not in ITEMS]
    if unknown:
        raise ValueError(f"{path.name}: unknown item {unknown[0]!r}; there are {', '.join(ITEMS)}")
    return Protocol(suite=path.stem, **text)


def narrowed(protocol: Protocol, seeds: Sequence[int] | None, methods: Sequence[str] | None) -> Protocol:
    """The protocol with other seeds, and with some of its methods. Raises ValueError naming the nearest method."""
    if seeds:
        protocol = replace(protocol, seeds=tuple(seeds))
    if methods:
        lower = {method.lower(): method for method in METHODS}
        for name in methods:
            if name.lower() not in lower:
                nearest = lower[difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.0)[0]]
                raise ValueError(f"--methods: unknown method {name!r}; the nearest is {nearest!r}")
        wanted = [lower[name.lower()] for name in methods]
        protocol = replace(protocol, methods=tuple(method for method in METHODS if method in wanted))
    return protocol


def with_backbone(protocol: Protocol, backbone: str) -> Protocol:
    """The protocol on another backbone, which figure 1 then has alone where it had the suite's alone."""
    if not backbone or backbone == protocol.backbone:
        return protocol
    items = {name: dict(own) for name, own in protocol.items.items()}
    if "figure1" in items and items["figure1"]["backbones"] == [protocol.backbone]:
        items["figure1"]["backbones"] = [backbone]
    return replace(protocol, backbone=backbone, items=items)
