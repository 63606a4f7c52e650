"""The runs of the field's protocols as jobs, and which numbers come from which."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

import datasets
from scripts.jobs.plan import Plan
from scripts.study.methods import any_classes, is_multitask
from scripts.study.planner import digest, run_job

from .suite import Suite

# (seed, task) -> the job whose results.json has the score
Runs = dict[tuple[int, str], str]
SUBSAMPLE = "DATASET.SUBSAMPLE_CLASSES"
EVALUATED = {"new": "new", "open": "all"}  # column of base-to-new -> classes


@dataclass
class Results:
    """The runs that hold a protocol's numbers."""

    protocol: str
    # (method, label) -> runs; the label is base, new or open, the shots, or ""
    runs: dict[tuple[str, str], Runs] = field(default_factory=dict)


class Training(NamedTuple):
    """What a protocol trains, but for the set; `classes` of it are all, base or new."""

    protocol: str
    method: str
    shots: int
    seed: int
    classes: str = "all"


@dataclass
class ProtocolPlanner:
    """Adds the runs of protocols to a plan, by a method for each of `suite.PROTOCOLS`.

    Attributes:
        shots: of few-shot curves; the other protocols take the most.
        options: configuration keys of all runs; they win over the suite's.
        coop_folders: name folders as CoOp's scripts do, for programs that read them.
    """

    suite: Suite
    methods: Sequence[str]
    seeds: Sequence[int]
    shots: Sequence[int]
    options: Mapping[str, object]
    coop_folders: bool = False
    plan: Plan = field(default_factory=Plan)

    def base2new(self) -> Results:
        """Train on half of a set's classes; test these, the rest, and all as one."""
        found = Results("base2new")
        for method in self.methods:
            base = found.runs[method, "base"] = {}
            for label in EVALUATED:
                found.runs[method, label] = {}
            for seed, task in product(self.seeds, self.suite.sets):
                run = Training("base2new", method, max(self.shots), seed, "base")
                trained = self._trained(run, task)
                base[seed, task] = trained
                for label, classes in EVALUATED.items():
                    name = self._evaluated(trained, task, classes, f"test_{label}")
                    found.runs[method, label][seed, task] = name
        return found

    def crossdataset(self) -> Results:
        """Train on the largest set, and apply the prompt as it is to the others."""
        return self._transferred("crossdataset", self.suite.others)

    def domain(self) -> Results:
        """Train on the largest set, and apply the prompt to its shifted versions."""
        return self._transferred("domain", self.suite.shifts)

    def _transferred(self, protocol: str, targets: Sequence[str]) -> Results:
        found = Results(protocol)
        largest = self.suite.largest
        for method in self.methods:
            runs = found.runs[method, ""] = {}
            for seed in self.seeds:
                run = Training(protocol, method, max(self.shots), seed)
                trained = self._trained(run, largest, alone=True)
                runs[seed, largest] = trained
                for task in targets:
                    runs[seed, task] = self._evaluated(trained, task)
        return found

    def fewshot(self) -> Results:
        """Train on all classes of each set, with each number of shots."""
        found = Results("fewshot")
        for method, shots in product(self.methods, self.shots):
            runs = found.runs[method, str(shots)] = {}
            for seed, task in product(self.seeds, self.suite.sets):
                run = Training("fewshot", method, shots, seed)
                runs[seed, task] = self._trained(run, task)
        return found

    def _trained(self, run: Training, task: str, alone: bool = False) -> str:
        """Plan a set's prompt; a multitask one starts from all sets' unless `alone`."""
        settings = self._settings(run, task)
        start = ""
        if is_multitask(run.method) and not alone:
            source = self._settings(run, "")
            name = self._name(source, f"source_{run.classes}", "all")
            start = self.plan.add(run_job(name, source, "source", self.suite.sets))
        name = self._name(settings, f"train_{run.classes}", task, alone)
        return self.plan.add(
            run_job(name, settings, "adaptation", [task], start, tests=2)
        )

    def _evaluated(
        self, trained: str, task: str, classes: str = "all", stage: str = "transfer"
    ) -> str:
        """Plan the evaluation of a job's prompt on a task, or on some of its classes."""
        settings = dict(self.plan.jobs[trained].settings)
        settings["options"] = _without_subsample(settings["options"])
        if classes != "all":
            settings["options"][SUBSAMPLE] = classes
        name = self._name(settings, stage, task, stage == "transfer")
        return self.plan.add(run_job(name, settings, "evaluation", [task], trained))

    def _settings(self, run: Training, task: str) -> dict:
        protocol, method, shots, seed, classes = run
        options = {}
        if protocol != "fewshot":  # the prompt is applied to other classes
            options |= any_classes(method)
        options |= self.suite.settings(method, protocol, shots, task)
        options |= self.options
        if classes != "all":
            options[SUBSAMPLE] = classes
        settings = {"method": method, "shots": shots, "seed": seed}
        return settings | {"backbone": self.suite.backbone, "options": options}

    def _name(self, settings: dict, stage: str, task: str, alone: bool = False) -> str:
        """Return a job's folder, the same for equal runs of several protocols."""
        method, shots, seed = (settings[key] for key in ("method", "shots", "seed"))
        options = _without_subsample(settings["options"])
        is_alone = alone and is_multitask(method)
        label = digest(settings["backbone"], is_alone, *sorted(options.items()))
        name = datasets.task_name(task)
        if not self.coop_folders:
            return f"runs/{method}_{label}/{shots}shots_seed{seed}/{stage}/{name}"
        from trainers.engine.config import BACKBONE_CONFIGS, coop_names

        name = coop_names().get(name, name)
        label = f"{BACKBONE_CONFIGS.get(settings['backbone'], 'custom')}_{label}"
        if stage == "train_all":
            return f"{name}/{method}/{label}_{shots}shots/seed{seed}"
        if stage == "transfer":
            return f"evaluation/{method}/{label}_{shots}shots/{name}/seed{seed}"
        return f"base2new/{stage}/{name}/shots_{shots}/{method}/{label}/seed{seed}"


def _without_subsample(options: dict) -> dict:
    return {key: value for key, value in options.items() if key != SUBSAMPLE}
