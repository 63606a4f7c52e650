"""What very many tasks cost: start-up, memory and step time of joint training on 1,000 tasks of 100 classes, compared with 10 of them.

    python -m scripts.benchmark_tasks                       # MVPT and MCoOp, 10 and 1,000 tasks, the pocket model
    python -m scripts.benchmark_tasks --methods MUPT --tasks 10,100 --rounds 1

The suite (`scripts.many_tasks`) is written once, about 120 MB for 1,000 tasks. Every case is `train.py` in a process of its own, with the tasks
registered as a user's are; it trains an epoch, validates, trains --steps steps more, and evaluates the test sets. Cases with few and many tasks
take turns. The batches are the same in this sense: as many images, of as many tasks (--homogeneous: one), of as many classes.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from scripts.many_tasks import name_of, register_suite, write_suite

ROOT = Path(__file__).resolve().parent.parent


class _Enough(BaseException):
    """Ends a run that has been measured."""


def now() -> tuple[float, float]:
    """(wall clock, CPU seconds of this process)."""
    return time.time(), time.process_time()


def peak() -> float:
    """The most memory that this process has had so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


class Watch:
    """Notes when a run passes its stages, and every step."""

    def __init__(self, started: float, later: int, evaluate: bool):
        self.later, self.evaluate = later, evaluate
        self.marks: dict[str, tuple[float, float]] = {"started": (started, 0.0)}
        self.memory: dict[str, float] = {}
        self.steps: list[list[tuple[float, float]]] = []  # by epoch: when each step ended, its start first

    def mark(self, name: str) -> None:
        if name not in self.marks:
            self.marks[name], self.memory[name] = now(), peak()

    def watching(self) -> ExitStack:
        """While it is open, runs are watched."""
        from trainers import runs
        from trainers.base import PromptTrainer

        step, epoch, check = PromptTrainer.forward_backward, PromptTrainer.run_epoch, runs.check_run
        watch = self

        def checked(*args, **kwargs):
            watch.mark("check")
            result = check(*args, **kwargs)
            watch.mark("checked")
            return result

        def run_epoch(trainer):
            watch.mark("epoch" if not watch.steps else "second epoch")
            watch.steps.append([now()])
            epoch(trainer)
            watch.mark("trained")

        def forward_backward(trainer, batch):
            result = step(trainer, batch)
            watch.steps[-1].append(now())
            watch.mark("first step")
            if os.environ.get("FIRST") == str(len(watch.steps[-1]) - 1):
                print({k: watch.between("started", k) for k in watch.marks}, watch.memory)
                print("steps", [round(1000 * (b[1] - a[1])) for a, b in zip(watch.steps[0], watch.steps[0][1:])])
                raise SystemExit
            if len(watch.steps) == 2 and len(watch.steps[1]) > watch.later:
                watch.mark("later")
                if watch.evaluate:
                    trainer.test("test")
                watch.mark("end")
                raise _Enough
            return result

        stack = ExitStack()
        stack.enter_context(patch.object(runs, "check_run", checked))
        stack.enter_context(patch.object(PromptTrainer, "run_epoch", run_epoch))
        stack.enter_context(patch.object(PromptTrainer, "forward_backward", forward_backward))
        return stack

    def between(self, first: str, last: str) -> dict[str, float]:
        """Seconds from one mark to another."""
        (wall, cpu), (wall_end, cpu_end) = self.marks[first], self.marks[last]
        return {"wall": round(wall_end - wall, 3), "cpu": round(cpu_end - cpu, 3)}

    def report(self) -> dict:
        durations = [
            [tuple(b - a for a, b in zip(one, two)) for one, two in zip(epoch, epoch[1:])] for epoch in self.steps
        ]
        first, later = ([1000 * value for value in zip(*epoch)] if False else list(zip(*epoch)) for epoch in durations)
        return {
            "imports": self.between("started", "imported"),
            "tasks registered": self.between("imported", "registered"),
            "to checks": self.between("registered", "check"),
            "checks": self.between("check", "checked"),
            "built again": self.between("checked", "epoch"),
            "first step": self.between("epoch", "first step"),
            "start": self.between("started", "first step"),
            "first epoch, ms a step": [round(1000 * statistics.mean(values), 3) for values in first],
            "steps": len(first[0]),
            "later steps, ms": [round(1000 * statistics.median(values), 3) for values in later],
            "later steps, min ms": [round(1000 * min(values), 3) for values in later],
            "validation": self.between("trained", "second epoch"),
            "test": self.between("later", "end"),
            "memory": {name: round(value, 3) for name, value in self.memory.items()},
        }


def case(method: str, tasks: int, data: str, folder: str, homogeneous: bool, later: int, started: float, **rest) -> dict:
    """One run in this process."""
    import torch

    import datasets
    import train
    import trainers

    torch.set_num_threads(rest.get("threads", 1))
    watch = Watch(started, later, rest.get("evaluate", True))
    trainers.register_all()
    datasets.register_all()
    watch.mark("imported")
    register_suite(tasks)
    watch.mark("registered")
    argv = ["--trainer", method, "--dataset", ",".join(map(name_of, range(tasks))), "--root", data, "--shots", "1"]
    argv += ["--output-dir", folder, "--multi-task", "MULTITASK.HOMOGENEOUS", str(homogeneous)]
    with watch.watching():
        try:
            code = train.main(argv)
            raise RuntimeError(f"the run ended with exit code {code}")
        except _Enough:
            return watch.report()


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", default="")
    options = parser.parse_args()
    print(json.dumps(case(**json.loads(options.case)), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
