"""The protocol of a study: tasks, shots, seeds, settings, from configs/studies."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from toolkit.common.suggest import canonical, nearest, unknown

from . import kinds, methods

FOLDER = Path(__file__).resolve().parents[2] / "configs" / "studies"
# beside the paper's experiments on the pocket suite, on the same page
BESIDE_POCKET = ("pocket_updates", "pocket_recipes")
SUITES = ("pocket", *BESIDE_POCKET, "paper")
TABLES = ("table1", "table2", "table3", "table4")
# method -> the nodes of TRAINER.MVLPT that have its number of context vectors
LENGTH_NODES = {"CoOp": ("COOP",), "VPT": ("VPT",), "UPT": ("COOP", "VPT")}
KINDS = {
    "backbone": kinds.NAME,
    "largest": kinds.NAME,
    "sources": kinds.NAMES,
    "targets": kinds.NAMES,
    "cross_targets": kinds.NAMES,
    "seeds": kinds.SEEDS,
    "lengths": kinds.LENGTHS,
    "options": kinds.OPTIONS,
    "items": kinds.SETTINGS,
}  # key of a protocol -> its meaning
ITEM_KEYS = {
    "table1": {"shots": kinds.WHOLES},
    "figure1": {"shots": kinds.WHOLE, "backbones": kinds.NAMES, "cost": kinds.NAMES},
    "figure5": {"shots": kinds.WHOLE, "lengths": kinds.WHOLES},
    "figure6": {
        "shots": kinds.WHOLE,
        "heads": kinds.WHOLES,
        "layers": kinds.WHOLES,
        "widths": kinds.WHOLES,
    },
}  # of the other items: the number of shots alone
ITEMS = (*TABLES, "figure1", "figure4", "figure5", "figure6")


@dataclass(frozen=True)
class Protocol:
    """The tasks, settings and items of a study.

    suite: "pocket", "paper" or a YAML's name. sources: tasks of source prompts;
    `largest` is one of them. targets: all target tasks; `cross_targets` those of the
    cross-task experiments. lengths: single-task method -> context vectors in the
    recipe. options: keys that differ from the recipe. items: table or figure -> its
    settings. methods: the trainers, by default the paper's.
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
        singles = map(methods.single_form, self.methods)
        return list(dict.fromkeys(singles))


def load(suite: str) -> Protocol:
    """Return the protocol of a suite or a file, or raise ValueError or OSError."""
    path, content = kinds.read_suite(suite, FOLDER, SUITES, KINDS, "sources")
    protocol = Protocol(suite=path.stem, **content)
    file = path.name
    for name in protocol.cross_targets:
        if name not in protocol.targets:
            raise ValueError(
                f"{file}: cross_targets names {name!r}, which is none of its targets"
            )
    kinds.check_tasks(protocol.sources, f"{file}: sources")
    kinds.check_tasks(protocol.targets, f"{file}: targets")
    for item, settings in protocol.items.items():
        if item not in ITEMS:
            raise ValueError(
                f"{file}: unknown item {item!r}; the nearest is {nearest(item, ITEMS)[0]!r} of {', '.join(ITEMS)}"
            )
        known = ITEM_KEYS.get(item, {"shots": kinds.WHOLE})
        kinds.check_mapping(settings, known, f"{file}: items: {item}")
        for key, kind in known.items():
            if kind == kinds.WHOLES and not settings[key]:
                raise ValueError(f"{file}: items: {item}: {key} is an empty list")
    for name in protocol.lengths:
        if name not in LENGTH_NODES:
            raise ValueError(
                f"{file}: lengths: {name} {kinds.no_key(name, tuple(LENGTH_NODES))}"
            )
    for name in LENGTH_NODES:
        if "figure5" in protocol.items and name not in protocol.lengths:
            raise ValueError(f"{file}: lengths: {name} is missing, which figure5 needs")
    return protocol


def narrowed(
    protocol: Protocol, seeds: Sequence[int], names: Sequence[str]
) -> Protocol:
    """Return the protocol with other seeds and methods, or raise ValueError."""
    if seeds:
        protocol = replace(protocol, seeds=tuple(seeds))
    if names:
        known = methods.known()
        wanted = {canonical(name, known): name for name in names}
        if None in wanted:
            raise unknown("--methods: unknown method", wanted[None], known)
        in_order = tuple(method for method in known if method in wanted)
        protocol = replace(protocol, methods=in_order)
    return protocol


def with_backbone(protocol: Protocol, backbone: str) -> Protocol:
    """Return the protocol on another backbone, also figure 1's if that was the suite's."""
    if not backbone or backbone == protocol.backbone:
        return protocol
    items = dict(protocol.items)
    if "figure1" in items and items["figure1"]["backbones"] == [protocol.backbone]:
        items["figure1"] = items["figure1"] | {"backbones": [backbone]}
    return replace(protocol, backbone=backbone, items=items)
