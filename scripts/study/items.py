"""What each table and figure of the paper needs: the jobs it adds to the plan, and the rows that are read from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scripts.jobs.plan import Plan

from .planner import Planner
from .protocol import Protocol


@dataclass(frozen=True)
class Row:
    """A row of a table: scores of tasks over seeds.

    Attributes:
        labels: one for each of the item's label columns.
        runs: (seed, task) -> the runs to choose from by the task's validation score; of equals, the first.
        column: which of a record's scores ("score", "zero_shot").
    """

    labels: tuple[str, ...]
    runs: dict[tuple[int, str], tuple[str, ...]] = field(hash=False)
    column: str = "score"


@dataclass
class Item:
    """A table or figure.

    Attributes:
        tasks: the columns, before their average.
        matrices: of a transfer figure: method -> seed -> the job that holds its scores.
        facts: further settings that writers use.
    """

    name: str
    title: str
    label_names: tuple[str, ...]
    tasks: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    matrices: dict[str, dict[int, str]] = field(default_factory=dict)
    facts: dict = field(default_factory=dict)


def plan_items(protocol: Protocol, names: Sequence[str]) -> tuple[Plan, list[Item]]:
    """One plan for some tables and figures; what several of them want is in it once."""
    planner = Planner(protocol)
    return planner.plan, [_ITEMS[name](planner, protocol, protocol.items.get(name, {})) for name in names]


def _rows(p: Protocol, tasks: Sequence[str], labels: tuple, run: Callable[[int, str], str | tuple]) -> Row:
    """A row whose cell (seed, task) is the run or the choice of runs that `run` plans."""
    cells = {(seed, task): run(seed, task) for seed in p.seeds for task in tasks}
    return Row(labels, {key: (value,) if isinstance(value, str) else tuple(value) for key, value in cells.items()})


def _cross(planner: Planner, p: Protocol, method: str, shots: int, labels: tuple, sources=None, **variant) -> Row:
    """Setting 1: a source prompt if `method` is multitask, then each target alone."""

    def run(seed: int, task: str) -> str:
        start = planner.source(method, shots, seed, sources or p.sources, **variant) if method[0] == "M" else ""
        return planner.adapt(method, shots, seed, task, start, **variant)

    return _rows(p, p.cross_targets, labels, run)


def table1(planner: Planner, p: Protocol, own: dict) -> Item:
    item = Item("table1", "Cross-task generalisation", ("shots", "method"), p.cross_targets)
    for shots in own["shots"]:
        item.rows += [_cross(planner, p, method, shots, (str(shots), method)) for method in p.methods]
    item.rows.insert(0, Row(("0", "zero-shot"), item.rows[0].runs, "zero_shot"))
    return item


def _groups(planner: Planner, p: Protocol, single: str, shots: int, source: bool, worst: bool, sizes=(1, 2, 3)):
    """The runs of a target with groups of several sizes; groups by the seed's own transfer matrix of `single`."""

    def runs(seed: int, task: str) -> tuple[str, ...]:
        start = planner.source(f"M{single}", shots, seed, p.targets) if source else ""
        names = []
        for size in sizes:
            if size == 1:
                names.append(planner.adapt(f"M{single}" if source else single, shots, seed, task, start))
            else:
                matrix = planner.transfer(single, shots, seed)
                names.append(planner.adapt(f"M{single}", shots, seed, task, start, group=(matrix, worst, size)))
        return tuple(names)

    return runs


def table2(planner: Planner, p: Protocol, own: dict) -> Item:
    shots, item = own["shots"], Item("table2", "Few-shot", ("method", "source", "adaptation"), p.targets)
    for single in p.singles():
        alone = _groups(planner, p, single, shots, False, False, (1,))
        item.rows.append(_rows(p, p.targets, (single, "-", "S"), alone))
    for source in (False, True):
        for single in p.singles():
            label = (f"M{single}", "M" if source else "-", "M")
            item.rows.append(_rows(p, p.targets, label, _groups(planner, p, single, shots, source, False)))
    item.rows.insert(0, Row(("CLIP", "-", "-"), item.rows[0].runs, "zero_shot"))
    return item


def table3(planner: Planner, p: Protocol, own: dict) -> Item:
    shots, item = own["shots"], Item("table3", "Groups of tasks, source M", ("method", "adaptation"), p.targets)
    for single in p.singles():
        rows = [("S", False, (1,)), ("best groups", False, (1, 2, 3)), ("worst groups", True, (1, 2, 3))]
        rows += [(f"{'worst' if w else 'best'} {k - 1}", w, (k,)) for k in (2, 3) for w in (False, True)]
        for label, worst, sizes in rows:
            runs = _groups(planner, p, single, shots, True, worst, sizes)
            item.rows.append(_rows(p, p.targets, (f"M{single}", label), runs))
    return item


def table4(planner: Planner, p: Protocol, own: dict) -> Item:
    item = Item("table4", "Source tasks", ("method", "sources"), p.cross_targets)
    rest = tuple(name for name in p.sources if name != p.largest)
    sets = {f"{p.largest} alone": (p.largest,), f"{len(rest)} without it": rest, f"all {len(p.sources)}": p.sources}
    for single in p.singles():
        for label, sources in sets.items():
            item.rows.append(_cross(planner, p, f"M{single}", own["shots"], (f"M{single}", label), sources))
    return item


def figure1(planner: Planner, p: Protocol, own: dict) -> Item:
    item = Item("figure1", "Size of the model", ("backbone", "method"), p.cross_targets, facts={"cost": own["cost"]})
    for backbone in own["backbones"]:
        for method in p.methods:
            item.rows.append(_cross(planner, p, method, own["shots"], (backbone, method), backbone=backbone))
    return item


def figure4(planner: Planner, p: Protocol, own: dict) -> Item:
    item = Item("figure4", "Zero-shot transfer between tasks", ("source",), p.targets)
    for single in p.singles():
        item.matrices[single] = {seed: planner.transfer(single, own["shots"], seed) for seed in p.seeds}
    return item


def figure5(planner: Planner, p: Protocol, own: dict) -> Item:
    item = Item("figure5", "Context length", ("method", "vectors"), p.cross_targets)
    for single in p.singles():
        for length in own["lengths"]:
            label = (f"M{single}", str(length))
            item.rows.append(_cross(planner, p, f"M{single}", own["shots"], label, length=length))
    return item


def figure6(planner: Planner, p: Protocol, own: dict) -> Item:
    item = Item("figure6", "UPT's transformer", ("varied", "value"), p.cross_targets)
    if "UPT" not in p.singles():
        return item
    for key in ("heads", "layers", "widths"):
        for value in own[key]:
            variant = {key.removesuffix("s"): value}
            item.rows.append(_cross(planner, p, "MUPT", own["shots"], (key, str(value)), **variant))
    return item


_ITEMS: dict[str, Callable[[Planner, Protocol, dict], Item]] = {
    "table1": table1,
    "table2": table2,
    "table3": table3,
    "table4": table4,
    "figure1": figure1,
    "figure4": figure4,
    "figure5": figure5,
    "figure6": figure6,
}
