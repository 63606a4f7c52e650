"""Runs as jobs: what a source prompt, an adaptation and a transfer matrix are called and what they need."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from datasets import task_name
from scripts.jobs.plan import Job, Plan

from . import costs
from .protocol import Protocol

DEFAULTS = {"head": 1, "layer": 1, "width": 128}
KEYS = {
    "head": "TRAINER.MVLPT.PROJECT_HEADS",
    "layer": "TRAINER.MVLPT.PROJECT_LAYERS",
    "width": "TRAINER.MVLPT.PROJECT_DIM",
}
LENGTHS = {"CoOp": ("COOP",), "VPT": ("VPT",), "UPT": ("COOP", "VPT")}


class Planner:
    """Adds runs to a plan. Each method returns the job's name; asking again for the same run adds nothing.

    A variant is given by keywords: length (context vectors), head, layer, width (of UPT's transformer), backbone.

    Args:
        plan: to add to; default: a new one.
        label: in every name, where runs of several protocols are in one plan.
    """

    def __init__(self, protocol: Protocol, plan: Plan | None = None, label: str = "") -> None:
        self.protocol, self.plan, self.label = protocol, Plan() if plan is None else plan, label
        options = protocol.options
        self.epochs = options.get("OPTIM.MAX_EPOCH", 200)
        self.source_epochs = options.get("MULTITASK.SOURCE_EPOCH", self.epochs)
        self.batch = 16 if protocol.backbone == "pocket" else 32

    def source(self, method: str, shots: int, seed: int, tasks: Sequence[str], **variant) -> str:
        """One prompt over several tasks."""
        settings, label = self._settings(method, shots, seed, variant)
        name = f"{label}_{self._source_set(tasks)}"
        weight = costs.seconds(method, tasks, shots, self.source_epochs, self.batch)
        images = costs.training_images(tasks, shots) * self.source_epochs
        settings |= {"stage": "source", "tasks": list(tasks), "start": "", "group": None}
        return self.plan.add(Job(name, "source", settings, (), weight, images, f"{method} source"))

    def adapt(self, method: str, shots: int, seed: int, target: str, start: str = "", group=None, **variant) -> str:
        """A target's prompt, from a fresh one or from the source prompt of job `start`.

        group: (transfer job, worst, size): learnt jointly with the size - 1 tasks that transfer best (or worst) to it.
        """
        settings, label = self._settings(method, shots, seed, variant)
        start_label = f"_from-{start.rsplit('_', 1)[1]}" if start else ""
        group_label = f"_{'worst' if group[1] else 'best'}{group[2]}" if group else ""
        size = group[2] if group else 1
        tests = 2 if start else 1  # the source prompt is tested, too
        weight = size * costs.seconds(method, [target], shots, self.epochs, self.batch, tests)
        images = size * costs.training_images([target], shots) * self.epochs
        settings |= {"stage": "adaptation", "tasks": [target], "start": start}
        settings["group"] = {"transfer": group[0], "worst": group[1], "size": size} if group else None
        needs = (*([start] if start else []), *([group[0]] if group else []))
        name = f"{label}{start_label}{group_label}/{task_name(target)}"
        return self.plan.add(Job(name, "adaptation", settings, needs, weight, images, f"{method} adaptation"))

    def transfer(self, method: str, shots: int, seed: int) -> str:
        """Every target's own prompt on every target, and the groups that follow from it."""
        targets = self.protocol.targets
        prompts = tuple(self.adapt(method, shots, seed, target) for target in targets)
        settings, label = self._settings(method, shots, seed, {})
        settings |= {"stage": "transfer", "tasks": list(targets), "prompts": list(prompts)}
        weight, name = costs.transfer_seconds(method, targets), f"transfer/{label.removeprefix('runs/')}"
        return self.plan.add(Job(name, "transfer", settings, prompts, weight, 0, "transfer"))

    def _source_set(self, tasks: Sequence[str]) -> str:
        p, tasks = self.protocol, tuple(tasks)
        rest = tuple(name for name in p.sources if name != p.largest)
        known = {p.sources: "source", p.targets: "targets", (p.largest,): "largest", rest: "without-largest"}
        if tasks not in known:
            return f"{len(tasks)}tasks-{digest(*tasks)}"
        return f"{known[tasks]}{len(tasks)}"

    def _settings(self, method: str, shots: int, seed: int, variant: dict) -> tuple[dict, str]:
        """A run's settings, and what its folder is called."""
        single, options, parts = method.removeprefix("M"), dict(self.protocol.options), [*filter(None, [self.label])]
        for key, value in variant.items():
            if key == "backbone":
                if value != self.protocol.backbone:
                    parts.append(value.replace("/", "-"))
                continue
            default = self.protocol.lengths[single] if key == "length" else DEFAULTS[key]
            if value == default:
                continue
            parts.append(f"{key}{value}")
            keys = [f"TRAINER.MVLPT.{node}.N_CTX" for node in LENGTHS[single]] if key == "length" else [KEYS[key]]
            options |= {name: value for name in keys}
        label = "_".join([f"runs/{method}", *parts, f"{shots}shots_seed{seed}"])
        backbone = variant.get("backbone", self.protocol.backbone)
        return {"method": method, "shots": shots, "seed": seed, "backbone": backbone, "options": options}, label


def digest(*parts: object) -> str:
    """Six hexadecimal digits that tell lists of names or settings apart."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:6]
