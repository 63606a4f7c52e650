"""Runs as jobs: names and inputs of source prompts, adaptations and transfers."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import datasets
from scripts.jobs.plan import Job, Plan

from . import costs
from .methods import any_classes, single_form
from .protocol import LENGTH_NODES, Protocol

PROJECTION = {  # variant -> key and default
    "head": ("HEADS", 1),
    "layer": ("LAYERS", 1),
    "width": ("DIM", 128),
}


class Group(NamedTuple):
    """The target and the size - 1 best (or worst) tasks in a transfer job's matrix."""

    transfer: str
    worst: bool
    size: int


@dataclass
class Planner:
    """Adds runs to a plan; equal runs are one. Each method returns the job's name. A
    variant is given by keywords: length (context vectors), head, layer, width (of UPT's
    transformer), offsets (of classes), backbone.
    """

    protocol: Protocol
    plan: Plan = field(default_factory=Plan)
    label: str = ""  # in every name, if runs of several protocols are in one plan

    def source(
        self, method: str, shots: int, seed: int, tasks: Sequence[str], **variant
    ) -> str:
        """Plan one prompt over several tasks."""
        settings, label = self._settings(method, shots, seed, variant)
        name = f"{label}_{self._source_set(tuple(tasks))}"
        return self.plan.add(run_job(name, settings, "source", tasks))

    def adapt(
        self,
        method: str,
        shots: int,
        seed: int,
        target: str,
        start: str = "",
        group: Group | None = None,
        **variant,
    ) -> str:
        """Plan a target's prompt, fresh or from job `start`, alone or with a group."""
        settings, label = self._settings(method, shots, seed, variant)
        tests = 1
        if start:
            label += "_from-" + start.rsplit("_", 1)[1]
            tests = 2  # the source prompt is tested, too
        if group:
            label += f"_{'worst' if group.worst else 'best'}{group.size}"
        name = f"{label}/{datasets.task_name(target)}"
        return self.plan.add(
            run_job(name, settings, "adaptation", [target], start, group, tests)
        )

    def evaluate(self, trained: str, task: str, classes: str = "all") -> str:
        """Plan the evaluation of a job's prompt on a task or some of its classes."""
        settings = self.plan.jobs[trained].settings
        options = settings["options"] | {"DATASET.SUBSAMPLE_CLASSES": classes}
        settings = settings | {"options": options}
        name = f"evaluations/{trained.removeprefix('runs/')}/{datasets.task_name(task)}_{classes}"
        return self.plan.add(run_job(name, settings, "evaluation", [task], trained))

    def transfer(self, method: str, shots: int, seed: int) -> str:
        """Plan the scores of every target's own prompt on every target. Prompts are
        learned without offsets of their task's classes.
        """
        targets = self.protocol.targets
        variant = {"offsets": False} if any_classes(method) else {}
        settings, label = self._settings(method, shots, seed, variant)
        prompts = []
        for target in targets:
            prompts.append(self.adapt(method, shots, seed, target, **variant))
        settings |= {"stage": "transfer", "tasks": list(targets)}
        settings["prompts"] = prompts
        name = "transfer/" + label.removeprefix("runs/")
        seconds = costs.transfer_seconds(method, targets)
        about = (tuple(prompts), seconds, 0, "transfer")
        return self.plan.add(Job(name, "transfer", settings, *about))

    def _source_set(self, tasks: tuple[str, ...]) -> str:
        protocol = self.protocol
        named = {
            protocol.sources: "source",
            protocol.targets: "targets",
            (protocol.largest,): "largest",
            protocol.without_largest: "without-largest",
        }
        if tasks in named:
            return f"{named[tasks]}{len(tasks)}"
        return f"{len(tasks)}tasks-{digest(*tasks)}"

    def _settings(self, method: str, shots: int, seed: int, variant: dict):
        """Return a run's settings, and its folder, which names the differences."""
        variant = dict(variant)
        name = f"runs/{method}"
        if self.label:
            name += f"_{self.label}"
        backbone = variant.pop("backbone", self.protocol.backbone)
        if backbone != self.protocol.backbone:
            name += "_" + backbone.replace("/", "-")
        options = dict(self.protocol.options)
        single = single_form(method)
        keys: Iterable[str]
        for key, value in variant.items():
            if key == "length":
                keys = [f"TRAINER.MVLPT.{node}.N_CTX" for node in LENGTH_NODES[single]]
                default = self.protocol.lengths[single]
            elif key == "offsets":
                keys, default = any_classes(single), True
            else:
                node, default = PROJECTION[key]
                keys = [f"TRAINER.MVLPT.PROJECT_{node}"]
            if value != default:
                name += f"_{key}{value}"
                options |= dict.fromkeys(keys, value)
        settings = {"method": method, "shots": shots, "seed": seed}
        settings |= {"backbone": backbone, "options": options}
        return settings, f"{name}_{shots}shots_seed{seed}"


def run_job(
    name: str,
    settings: dict,
    stage: str,
    tasks: Sequence[str],
    start: str = "",
    group: Group | None = None,
    tests: int = 1,
) -> Job:
    """Return a run's job, with what it should cost. stage: source, adaptation or
    evaluation. start: the job of its initial prompt. tests: how often it is tested.
    """
    method, shots, options = (settings[key] for key in ("method", "shots", "options"))
    settings = settings | {"stage": stage, "tasks": list(tasks), "start": start}
    settings["group"] = group._asdict() if group else None
    epochs = options.get("OPTIM.MAX_EPOCH", 200)
    if stage == "source":
        epochs = options.get("MULTITASK.SOURCE_EPOCH", epochs)
    elif stage == "evaluation":
        epochs = 0
    batch = 16 if settings["backbone"] == "pocket" else 32
    size = 1
    needs = [start] if start else []
    if group:
        size = group.size
        needs.append(group.transfer)
    seconds = costs.run_seconds(method, tasks, shots, epochs, batch, tests)
    images = costs.training_images(tasks, shots) * epochs
    about = (tuple(needs), size * seconds, size * images, f"{method} {stage}")
    return Job(name, stage, settings, *about)


def digest(*parts: object) -> str:
    """Return six hexadecimal digits that distinguish lists of names or settings."""
    text = "\n".join(map(str, parts))
    fingerprint = hashlib.sha256(text.encode())
    return fingerprint.hexdigest()[:6]
