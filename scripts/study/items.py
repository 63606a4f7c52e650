"""What each table and figure of the paper needs: the jobs it adds to the plan, and the rows that are read from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from scripts.jobs.plan import Plan

from .methods import is_multitask, multitask_form
from .planner import LENGTHS, Group, Planner
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
    """

    name: str
    title: str
    label_names: tuple[str, ...]
    tasks: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    matrices: dict[str, dict[int, str]] = field(default_factory=dict)

    def add_zero_shot(self, *labels: str) -> None:
        """Put a row of plain CLIP first; its scores are in the records of the first row's runs."""
        self.rows.insert(0, Row(labels, self.rows[0].runs, "zero_shot"))


def plan_items(protocol: Protocol, names: Sequence[str]) -> tuple[Plan, list[Item]]:
    """Return one plan for some tables and figures, in which a run that several of them want is once."""
    planner = _ItemPlanner(protocol)
    items = [getattr(planner, name)(protocol.items.get(name, {})) for name in names]
    return planner.plan, items


class _ItemPlanner(Planner):
    """Plans the paper's tables and figures: a method for each, given its settings in the protocol."""

    def table1(self, settings: dict) -> Item:
        item = self._cross_task_item("table1", "Cross-task generalisation", "shots", "method")
        for shots in settings["shots"]:
            for method in self.protocol.methods:
                item.rows.append(self._cross_task(method, shots, (str(shots), method)))
        item.add_zero_shot("0", "zero-shot")
        return item

    def table2(self, settings: dict) -> Item:
        shots = settings["shots"]
        item = Item("table2", "Few-shot", ("method", "source", "adaptation"), self.protocol.targets)
        for single in self.protocol.singles():
            item.rows.append(self._grouped(single, shots, (single, "-", "S"), sizes=(1,)))
        for from_source, label in ((False, "-"), (True, "M")):
            for single, multitask in self._pairs():
                item.rows.append(self._grouped(single, shots, (multitask, label, "M"), from_source))
        item.add_zero_shot("CLIP", "-", "-")
        return item

    def table3(self, settings: dict) -> Item:
        item = Item("table3", "Groups of tasks, source M", ("method", "adaptation"), self.protocol.targets)
        kinds = [
            ("S", False, (1,)),
            ("best groups", False, (1, 2, 3)),
            ("worst groups", True, (1, 2, 3)),
            ("best 1", False, (2,)),
            ("worst 1", True, (2,)),
            ("best 2", False, (3,)),
            ("worst 2", True, (3,)),
        ]
        for single, multitask in self._pairs():
            for label, worst, sizes in kinds:
                item.rows.append(self._grouped(single, settings["shots"], (multitask, label), True, worst, sizes))
        return item

    def table4(self, settings: dict) -> Item:
        item = self._cross_task_item("table4", "Source tasks", "method", "sources")
        sources, largest = self.protocol.sources, self.protocol.largest
        rest = self.protocol.without_largest
        sets = {
            f"{largest} alone": (largest,),
            f"{len(rest)} without it": rest,
            f"all {len(sources)}": sources,
        }
        for _, multitask in self._pairs():
            for label, tasks in sets.items():
                item.rows.append(self._cross_task(multitask, settings["shots"], (multitask, label), tasks))
        return item

    def figure1(self, settings: dict) -> Item:
        item = self._cross_task_item("figure1", "Size of the model", "backbone", "method")
        for backbone in settings["backbones"]:
            for method in self.protocol.methods:
                item.rows.append(self._cross_task(method, settings["shots"], (backbone, method), backbone=backbone))
        return item

    def figure4(self, settings: dict) -> Item:
        item = Item("figure4", "Zero-shot transfer between tasks", ("source",), self.protocol.targets)
        for single in self.protocol.singles():
            jobs = {seed: self.transfer(single, settings["shots"], seed) for seed in self.protocol.seeds}
            item.matrices[single] = jobs
        return item

    def figure5(self, settings: dict) -> Item:
        item = self._cross_task_item("figure5", "Context length", "method", "vectors")
        for single, multitask in self._pairs():
            if single not in LENGTHS:
                continue
            for length in settings["lengths"]:
                labels = (multitask, str(length))
                item.rows.append(self._cross_task(multitask, settings["shots"], labels, length=length))
        return item

    def figure6(self, settings: dict) -> Item:
        item = self._cross_task_item("figure6", "UPT's transformer", "varied", "value")
        if "UPT" not in self.protocol.singles():
            return item
        for key in ("heads", "layers", "widths"):
            for value in settings[key]:
                variant = {key.removesuffix("s"): value}
                item.rows.append(self._cross_task("MUPT", settings["shots"], (key, str(value)), **variant))
        return item

    # -- rows ----------------------------------------------------------------------------------------------------------

    def _pairs(self) -> list[tuple[str, str]]:
        """Return (single-task method, its multitask form) of the methods that are compared and have both."""
        pairs = [(single, multitask_form(single)) for single in self.protocol.singles()]
        return [pair for pair in pairs if pair[1]]

    def _cross_task_item(self, name: str, title: str, *label_names: str) -> Item:
        return Item(name, title, label_names, self.protocol.cross_targets)

    def _cross_task(
        self, method: str, shots: int, labels: tuple[str, ...], sources: Sequence[str] = (), **variant
    ) -> Row:
        """Plan setting 1: a source prompt if `method` is multitask, then each target alone."""

        def run(seed: int, task: str) -> tuple[str, ...]:
            start = ""
            if is_multitask(method):
                start = self.source(method, shots, seed, sources or self.protocol.sources, **variant)
            return (self.adapt(method, shots, seed, task, start, **variant),)

        return self._row(labels, self.protocol.cross_targets, run)

    def _grouped(
        self,
        single: str,
        shots: int,
        labels: tuple[str, ...],
        from_source: bool = False,
        worst: bool = False,
        sizes: Sequence[int] = (1, 2, 3),
    ) -> Row:
        """Plan setting 2: each target in groups of several sizes, by the seed's own transfer matrix of `single`."""
        multitask = multitask_form(single)

        def run(seed: int, task: str) -> tuple[str, ...]:
            start = ""
            if from_source:
                start = self.source(multitask, shots, seed, self.protocol.targets)
            names = []
            for size in sizes:
                method = multitask
                group = None
                if size > 1:
                    group = Group(self.transfer(single, shots, seed), worst, size)
                elif not from_source:
                    method = single
                names.append(self.adapt(method, shots, seed, task, start, group))
            return tuple(names)

        return self._row(labels, self.protocol.targets, run)

    def _row(
        self, labels: tuple[str, ...], tasks: Sequence[str], run: Callable[[int, str], tuple[str, ...]]
    ) -> Row:
        runs = {}
        for seed in self.protocol.seeds:
            for task in tasks:
                runs[seed, task] = run(seed, task)
        return Row(labels, runs)
