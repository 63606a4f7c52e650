"""The needs of each table and figure: its jobs, and the rows that are read of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product

from scripts.jobs.plan import Plan

from .methods import is_multitask, leaves_prompt, multitask_form
from .planner import Group, Planner
from .protocol import LENGTH_NODES, Protocol

# label of plain CLIP -> that with the sentence that prompts begin as
ONE_TEMPLATE = {name: f"{name}, one template" for name in ("CLIP", "zero-shot")}
ABOUT = {  # table or figure -> title, names of the label columns
    "table1": ("Cross-task generalisation", "shots", "method"),
    "table2": ("Few-shot", "method", "source", "adaptation"),
    "table3": ("Groups of tasks, source M", "method", "adaptation"),
    "table4": ("Source tasks", "method", "sources"),
    "figure1": ("Size of the model", "backbone", "method"),
    "figure4": ("Zero-shot transfer between tasks", "source"),
    "figure5": ("Context length", "method", "vectors"),
    "figure6": ("UPT's transformer", "varied", "value"),
}
OF_ALL_TARGETS = ("table2", "table3", "figure4")  # the others: of cross_targets
GROUPS = {"groups": (1, 2, 3), "1": (2,), "2": (3,)}  # of table 3: label -> sizes
Runs = dict[tuple[int, str], tuple[str, ...]]  # (seed, task) -> names of jobs


@dataclass(frozen=True)
class Row:
    """A row of a table: scores of tasks over seeds."""

    labels: tuple[str, ...]  # one for each of the item's label columns
    # (seed, task) -> the runs to choose from by validation score
    runs: Runs = field(hash=False)
    column: str = "score"  # or "zero_shot" or "zero_shot_one_template"


@dataclass
class Item:
    """A table or figure."""

    name: str
    title: str
    label_names: tuple[str, ...]
    tasks: tuple[str, ...]  # the columns, before their average
    rows: list[Row] = field(default_factory=list)
    # of a transfer figure: method -> seed -> the job that holds its scores
    matrices: dict[str, dict] = field(default_factory=dict)

    def add(self, runs: Runs, *labels: str) -> None:
        """Add a row."""
        self.rows.append(Row(labels, runs))

    def add_zero_shot(self, *labels: str) -> None:
        """Put two rows of plain CLIP first, with the tasks' templates and with the one
        sentence that prompts begin as, from the records of the first row's runs.
        """
        runs = self.rows[0].runs
        one_template = [ONE_TEMPLATE.get(label, label) for label in labels]
        self.rows[:0] = [
            Row(labels, runs, "zero_shot"),
            Row(tuple(one_template), runs, "zero_shot_one_template"),
        ]


def plan_items(protocol: Protocol, names: Sequence[str]) -> tuple[Plan, list[Item]]:
    """Return one plan for some tables and figures; equal runs are one."""
    planner = _ItemPlanner(protocol)
    items = []
    for name in names:
        title, *label_names = ABOUT[name]
        tasks = protocol.cross_targets
        if name in OF_ALL_TARGETS:
            tasks = protocol.targets
        item = Item(name, title, tuple(label_names), tasks)
        getattr(planner, name)(item, protocol.items.get(name, {}))
        items.append(item)
    return planner.plan, items


class _ItemPlanner(Planner):
    """Plans the tables and figures: a method for each, given its settings, fills it."""

    def table1(self, item: Item, settings: dict) -> None:
        for shots in settings["shots"]:
            for method in self.protocol.methods:
                item.add(self._cross_task(method, shots), str(shots), method)
        item.add_zero_shot("0", "zero-shot")

    def table2(self, item: Item, settings: dict) -> None:
        shots = settings["shots"]
        for single in self.protocol.singles():
            runs = self._grouped(single, shots, sizes=(1,))
            item.add(runs, single, "-", "S")
        for from_source, label in ((False, "-"), (True, "M")):
            for single, multitask in self._pairs():
                runs = self._grouped(single, shots, from_source)
                item.add(runs, multitask, label, "M")
        item.add_zero_shot("CLIP", "-", "-")

    def table3(self, item: Item, settings: dict) -> None:
        shots = settings["shots"]
        for single, multitask in self._pairs():
            runs = self._grouped(single, shots, True, sizes=(1,))
            item.add(runs, multitask, "S")
            for label, sizes in GROUPS.items():
                for order in ("best", "worst"):
                    worst = order == "worst"
                    runs = self._grouped(single, shots, True, worst, sizes)
                    item.add(runs, multitask, f"{order} {label}")

    def table4(self, item: Item, settings: dict) -> None:
        sources, largest = self.protocol.sources, self.protocol.largest
        rest = self.protocol.without_largest
        sets = {
            f"{largest} alone": (largest,),
            f"{len(rest)} without it": rest,
            f"all {len(sources)}": sources,
        }
        for _, multitask in self._pairs():
            for label, tasks in sets.items():
                runs = self._cross_task(multitask, settings["shots"], tasks)
                item.add(runs, multitask, label)

    def figure1(self, item: Item, settings: dict) -> None:
        for backbone, method in product(settings["backbones"], self.protocol.methods):
            runs = self._cross_task(method, settings["shots"], backbone=backbone)
            item.add(runs, backbone, method)

    def figure4(self, item: Item, settings: dict) -> None:
        for single in filter(leaves_prompt, self.protocol.singles()):
            item.matrices[single] = {
                seed: self.transfer(single, settings["shots"], seed)
                for seed in self.protocol.seeds
            }

    def figure5(self, item: Item, settings: dict) -> None:
        for single, multitask in self._pairs():
            for length in settings["lengths"] if single in LENGTH_NODES else ():
                runs = self._cross_task(multitask, settings["shots"], length=length)
                item.add(runs, multitask, str(length))

    def figure6(self, item: Item, settings: dict) -> None:
        if "UPT" in self.protocol.singles():
            for key in ("heads", "layers", "widths"):
                for value in settings[key]:
                    variant = {key.removesuffix("s"): value}
                    runs = self._cross_task("MUPT", settings["shots"], **variant)
                    item.add(runs, key, str(value))

    def _pairs(self) -> list[tuple[str, str]]:
        singles = self.protocol.singles()
        return [(one, multitask_form(one)) for one in singles if multitask_form(one)]

    def _cross_task(
        self, method: str, shots: int, sources: Sequence[str] = (), **variant
    ) -> Runs:
        """Plan setting 1: a source prompt if it is multitask, then each target."""
        sources = sources or self.protocol.sources
        runs = {}
        for seed, task in product(self.protocol.seeds, self.protocol.cross_targets):
            start = ""
            if is_multitask(method):
                start = self.source(method, shots, seed, sources, **variant)
            name = self.adapt(method, shots, seed, task, start, **variant)
            runs[seed, task] = (name,)
        return runs

    def _grouped(
        self,
        single: str,
        shots: int,
        from_source: bool = False,
        worst: bool = False,
        sizes: Sequence[int] = (1, 2, 3),
    ) -> Runs:
        """Plan setting 2: each target in groups, by the seed's matrix of `single`."""
        multitask = multitask_form(single)
        targets = self.protocol.targets
        runs: Runs = {}
        for seed, task in product(self.protocol.seeds, targets):
            start = ""
            if from_source:
                start = self.source(multitask, shots, seed, targets)
            names = []
            for size in sizes:
                method, group = multitask, None
                if size > 1:
                    transfer = self.transfer(single, shots, seed)
                    group = Group(transfer, worst, size)
                elif not from_source:
                    method = single
                names.append(self.adapt(method, shots, seed, task, start, group))
            runs[seed, task] = tuple(names)
        return runs
