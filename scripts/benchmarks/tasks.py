"""The costs of very many tasks: start-up, memory and step time of multitask training on
1,000 tasks of 100 classes, beside those of 10.

    python -m scripts.benchmarks.tasks                                    # MVPT and MCoOp, 10 and 1,000 tasks, the pocket model
    python -m scripts.benchmarks.tasks --methods MUPT --mixed --rounds 1  # batches of images of any task
    python -m scripts.benchmarks.tasks --methods MVPT --whole --rounds 1  # a whole epoch, validation and test

The suite (`scripts.benchmarks.many_tasks`) is written once, about 120 MB for 1,000
tasks. A case is `train.py` in its own process, with the tasks registered as a user's
are; few and many tasks take turns. It takes --steps steps, and then the same steps
again, when all that is computed once for a task is known. Unless --mixed, a batch is of
one task, so that it has as many images and classes however many tasks there are. Stages
and steps are timed from outside.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

from .common import (
    ROOT,
    add_output_dir,
    comma_separated,
    machine,
    new_parser,
    run_case,
    table,
    write_result,
)

Moment = tuple[float, float]  # wall clock, CPU seconds of this process
CLOCKS = ("wall", "cpu")
COLUMNS = (
    "method",
    "tasks",
    "tasks in a batch",
    "start, s",
    "start, CPU s",
    "of it imports",
    "building",
    "memory, GB",
    "step, ms",
    "step / that of the fewest tasks",
    "of medians",
    "with first visits, ms",
)


class _Enough(BaseException):
    """Ends an epoch, or a run, that has been measured."""


def between(first: Moment, last: Moment) -> dict[str, float]:
    """Return the seconds from one moment to another, of both clocks."""
    return {"wall": round(last[0] - first[0], 5), "cpu": round(last[1] - first[1], 5)}


class Watch:
    """Records the times of steps in a run of two epochs, the second in the order of the
    first.

    `steps` is when an epoch ends; 0 leaves epochs as they are.
    """

    def __init__(self, started: float, steps: int) -> None:
        self.limit = steps
        self.marks: dict[str, Moment] = {"started": (started, 0.0)}
        self.memory: dict[str, float] = {}
        # when each of their steps ended, the first one's start before
        self.epochs: list[list[Moment]] = []
        self.present: list[int] = []  # how many tasks there were in each batch

    def mark(self, name: str) -> None:
        """Record the time, and the most memory that the process has had so far in GB."""
        if name not in self.marks:
            self.marks[name] = time.time(), time.process_time()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self.memory[name] = round(peak * 1024 / 1e9, 3)

    def __enter__(self) -> Watch:
        from datasets.mixing import MixingSampler
        from trainers.base import PromptTrainer
        from trainers.engine import run as runs

        self._patches = [
            patch.object(
                runs, "check_run", self._around(runs.check_run, "check", "checked")
            ),
            patch.object(
                PromptTrainer, "run_epoch", self._epoch(PromptTrainer.run_epoch)
            ),
            patch.object(
                PromptTrainer,
                "forward_backward",
                self._step(PromptTrainer.forward_backward),
            ),
            patch.object(
                PromptTrainer,
                "after_train",
                self._around(PromptTrainer.after_train, "test", "end"),
            ),
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
            self.epochs.append([])
            number = len(self.epochs)
            self.mark(f"epoch {number}")
            self.epochs[-1].append((time.time(), time.process_time()))
            try:
                function(trainer)
            except _Enough:
                trainer.losses, trainer.epoch_loss = [], 0.0
            self.mark(f"epoch {number} done")
            if number == 2 and self.limit:
                self.mark("end")
                raise _Enough

        return watched

    def _step(self, function):
        def watched(trainer, batch):
            result = function(trainer, batch)
            self.epochs[-1].append((time.time(), time.process_time()))
            self.present.append(len(batch["task"].unique()))
            self.mark("first step")
            if len(self.epochs[-1]) > self.limit > 0:
                raise _Enough
            return result

        return watched

    def report(self) -> dict:
        """Return seconds between the marks, and of a step: the mean of the first epoch,
        the median of the second.
        """
        first, later = (
            [between(*pair) for pair in pairwise(epoch)] for epoch in self.epochs
        )
        marks = self.marks
        found = {
            "start": between(marks["started"], marks["first step"]),
            "imports": between(marks["started"], marks["imported"]),
            "building": between(marks["check"], marks["checked"]),
            "writing": between(marks["checked"], marks["epoch 1"]),
            "first_step": between(marks["epoch 1"], marks["first step"]),
            "first_visit_step": {
                clock: statistics.mean(step[clock] for step in first)
                for clock in CLOCKS
            },
            "step": {
                clock: statistics.median(step[clock] for step in later)
                for clock in CLOCKS
            },
            "shortest_step": {
                clock: min(step[clock] for step in later) for clock in CLOCKS
            },
            "validation": between(marks["epoch 1 done"], marks["epoch 2"]),
            "tasks_in_a_batch": round(statistics.mean(self.present), 2),
            "steps_an_epoch": len(first),
            "memory": self.memory,
        }
        if "test" in marks:
            found["test"] = between(marks["test"], marks["end"])
        return found


def case(
    method: str,
    tasks: int,
    data: str,
    folder: str,
    mixed: bool,
    whole: bool,
    steps: int,
    batch_size: int,
    started: float,
    threads: int,
) -> dict:
    """Run a case in this process and return the result of `Watch.report`.

    Raises RuntimeError if the run fails.
    """
    watch = Watch(started, 0 if whole else steps)
    import datasets
    import train
    import trainers

    trainers.register_all()
    datasets.register_all()
    watch.mark("imported")
    from .many_tasks import name_of, register_suite

    register_suite(tasks)
    names = ",".join(map(name_of, range(tasks)))
    words = [
        "--trainer",
        method,
        "--dataset",
        names,
        "--root",
        data,
        "--shots",
        "1",
        "--output-dir",
        folder,
    ]
    words += [
        "MULTITASK.HOMOGENEOUS",
        str(not mixed),
        "OPTIM.MAX_EPOCH",
        "2",
        "TEST.NO_TEST",
        str(not whole),
    ]
    words += ["DATALOADER.TRAIN_X.BATCH_SIZE", str(batch_size)]
    code = 0
    with watch:
        try:
            code = train.main(words)
        except _Enough:
            pass
    if code or len(watch.epochs) < 2:
        raise RuntimeError(
            f"--trainer {method} on {tasks} tasks ended with exit code {code}"
        )
    return watch.report()


def measure(arguments: dict) -> dict:
    """Run a case in a new process."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "OMP_NUM_THREADS": str(arguments["threads"]),
            "TQDM_DISABLE": "1",
        }
        environment["MVLPT_CACHE"] = folder
        given = arguments | {"folder": f"{folder}/run", "started": time.time()}
        return arguments | run_case("scripts.benchmarks.tasks", given, environment)


def summary(cases: list[dict]) -> dict:
    """Return the result of several runs of one case: of each time the least and the
    median, of memory the most.
    """
    first = cases[0]
    found: dict = {
        key: first[key]
        for key in ("method", "tasks", "mixed", "steps", "tasks_in_a_batch")
    }
    for key, value in first.items():
        if isinstance(value, dict) and "wall" in value:
            found[key] = {
                clock: least_and_median([case[key][clock] for case in cases])
                for clock in CLOCKS
            }
    found["memory"] = {
        key: max(case["memory"][key] for case in cases) for key in first["memory"]
    }
    return found


def least_and_median(values: list[float]) -> dict[str, float]:
    """Return the least and the median of some times."""
    return {"min": round(min(values), 4), "median": round(statistics.median(values), 4)}


def markdown(rows: list[dict]) -> str:
    """Return the results as a table; times are the least of all rounds, CPU seconds (of
    the start also wall clock).
    """
    lines = []
    for row in rows:
        same = [other for other in rows if other["method"] == row["method"]]
        step = row["step"]["cpu"]
        base = min(same, key=lambda other: other["tasks"])["step"]["cpu"]
        cells = [row["method"], f"{row['tasks']:,}", f"{row['tasks_in_a_batch']:.1f}"]
        cells.append(f"{row['start']['wall']['min']:.1f}")
        for key in ("start", "imports", "building"):
            cells.append(f"{row[key]['cpu']['min']:.1f}")
        cells.append(f"{row['memory']['end']:.2f}")
        cells.append(f"{1000 * step['min']:.1f}")
        cells.append(f"{step['min'] / base['min']:.2f}")
        cells.append(f"{step['median'] / base['median']:.2f}")
        cells.append(f"{1000 * row['first_visit_step']['cpu']['min']:.1f}")
        lines.append(cells)
    return table(COLUMNS, lines, left=("method",))


def main() -> int:
    """Run the command line."""
    parser = new_parser(__doc__)
    add = parser.add_argument
    add("--methods", type=comma_separated(), default=["MVPT", "MCoOp"])
    add("--tasks", type=comma_separated(int), default=[10, 1000])
    add("--steps", type=int, default=60)
    add("--rounds", type=int, default=3)
    add("--batch-size", type=int, default=16)
    add(
        "--mixed",
        action="store_true",
        help="batches of images of any task: more tasks, more classes in a step",
    )
    add(
        "--whole",
        action="store_true",
        help="whole epochs, validation and test as well (minutes)",
    )
    add("--threads", type=int, default=1, help="of the arithmetic")
    add(
        "--data",
        type=Path,
        default=ROOT / "data" / "many_tasks",
        help="where the suite is, or is to be written",
    )
    add("--case", help=argparse.SUPPRESS)
    add_output_dir(parser)
    options = parser.parse_args()
    if options.case:
        print("\n" + json.dumps(case(**json.loads(options.case))))
        return 0
    from .many_tasks import write_suite

    write_suite(options.data, max(options.tasks))
    shared = {
        key: getattr(options, key)
        for key in ("mixed", "whole", "steps", "batch_size", "threads")
    }
    shared["data"] = str(options.data.resolve())
    found: dict[tuple, list[dict]] = defaultdict(list)
    for _ in range(options.rounds):
        for method in options.methods:
            for tasks in options.tasks:
                one = measure({"method": method, "tasks": tasks} | shared)
                found[method, tasks].append(one)
                print(json.dumps(one), file=sys.stderr, flush=True)
    rows = [summary(cases) for cases in found.values()]
    text = markdown(rows)
    result = {"machine": machine(), "summary": rows, "cases": sum(found.values(), [])}
    write_result(options.output_dir, "benchmark_tasks", result, text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
