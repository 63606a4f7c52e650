"""One case of `scripts.benchmarks.tasks`: a training run whose stages and steps are timed from outside.

python -m scripts.benchmarks.tasks_case '{"method": "MVPT", "tasks": 10, ...}'    # prints a line of JSON
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from itertools import pairwise
from unittest.mock import patch

import datasets
import train
import trainers
from datasets.mixing import MixingSampler
from trainers.base import PromptTrainer
from trainers.engine import run as runs

from .many_tasks import name_of, register_suite

Moment = tuple[float, float]  # wall clock, CPU seconds of this process


class _Enough(BaseException):
    """Ends an epoch, or a run, that has been measured."""


def now() -> Moment:
    return time.time(), time.process_time()


def between(first: Moment, last: Moment) -> dict[str, float]:
    """Seconds."""
    return {"wall": round(last[0] - first[0], 5), "cpu": round(last[1] - first[1], 5)}


class Watch:
    """What happens when in a run of two epochs, the second in the order of the first.

    steps: at which an epoch ends; 0: as ever.
    """

    def __init__(self, started: float, steps: int) -> None:
        self.limit = steps
        self.marks: dict[str, Moment] = {"started": (started, 0.0)}
        self.memory: dict[str, float] = {}
        self.epochs: list[list[Moment]] = []  # when each of their steps ended, the first one's start before
        self.present: list[int] = []  # how many tasks there were in each batch

    def mark(self, name: str) -> None:
        """Now, and the most memory that the process has had so far in GB."""
        if name not in self.marks:
            self.marks[name] = now()
            self.memory[name] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3)

    def __enter__(self) -> Watch:
        self._patches = [
            patch.object(runs, "check_run", self._around(runs.check_run, "check", "checked")),
            patch.object(PromptTrainer, "run_epoch", self._epoch(PromptTrainer.run_epoch)),
            patch.object(PromptTrainer, "forward_backward", self._step(PromptTrainer.forward_backward)),
            patch.object(PromptTrainer, "after_train", self._around(PromptTrainer.after_train, "test", "end")),
            patch.object(MixingSampler, "set_epoch", lambda *args, **kwargs: None),
        ]
        for one in self._patches:
            one.start()
        return self

    def __exit__(self, *_) -> None:
        for one in self._patches:
            one.stop()

    def _around(self, function, before: str, after: str):
        def watched(*args, **kwargs):
            self.mark(before)
            result = function(*args, **kwargs)
            self.mark(after)
            return result

        return watched

    def _epoch(self, function):
        def watched(trainer) -> None:
            self.mark("epoch 2" if self.epochs else "epoch 1")
            self.epochs.append([now()])
            try:
                function(trainer)
            except _Enough:
                trainer.losses, trainer.epoch_loss = [], 0.0
            self.mark(f"epoch {len(self.epochs)} done")
            if len(self.epochs) == 2 and self.limit:
                self.mark("end")
                raise _Enough

        return watched

    def _step(self, function):
        def watched(trainer, batch):
            result = function(trainer, batch)
            self.epochs[-1].append(now())
            self.present.append(len(batch["task"].unique()))
            self.mark("first step")
            if len(self.epochs[-1]) > self.limit > 0:
                raise _Enough
            return result

        return watched

    def report(self) -> dict:
        """Seconds between the marks, and of a step: the mean of the first epoch, the median of the second."""
        first, later = ([between(*pair) for pair in pairwise(epoch)] for epoch in self.epochs)
        marks, clocks = self.marks, ("wall", "cpu")
        found = {
            "start": between(marks["started"], marks["first step"]),
            "imports": between(marks["started"], marks["imported"]),
            "building": between(marks["check"], marks["checked"]),
            "writing": between(marks["checked"], marks["epoch 1"]),
            "first_step": between(marks["epoch 1"], marks["first step"]),
            "first_visit_step": {clock: statistics.mean(step[clock] for step in first) for clock in clocks},
            "step": {clock: statistics.median(step[clock] for step in later) for clock in clocks},
            "shortest_step": {clock: min(step[clock] for step in later) for clock in clocks},
            "validation": between(marks["epoch 1 done"], marks["epoch 2"]),
            "tasks_in_a_batch": round(statistics.mean(self.present), 2),
            "steps_an_epoch": len(first),
            "memory": self.memory,
        }
        if "test" in marks:
            found["test"] = between(marks["test"], marks["end"])
        return found


def case(method: str, tasks: int, data: str, folder: str, mixed: bool, whole: bool, steps: int, started: float, **more):
    """Run it in this process; what `Watch.report` gives."""
    watch = Watch(started, 0 if whole else steps)
    trainers.register_all()
    datasets.register_all()
    watch.mark("imported")
    register_suite(tasks)
    names = ",".join(map(name_of, range(tasks)))
    words = ["--trainer", method, "--dataset", names, "--root", data, "--shots", "1", "--output-dir", folder]
    words += ["MULTITASK.HOMOGENEOUS", str(not mixed), "OPTIM.MAX_EPOCH", "2", "TEST.NO_TEST", str(not whole)]
    words += ["DATALOADER.TRAIN_X.BATCH_SIZE", str(more["batch_size"])]
    with watch:
        try:
            code = train.main(words)
        except _Enough:
            code = 0
    if code or len(watch.epochs) < 2:
        raise RuntimeError(f"{' '.join(words[:2])} on {tasks} tasks ended with exit code {code}")
    return watch.report()


if __name__ == "__main__":
    print("\n" + json.dumps(case(**json.loads(sys.argv[1]))))
