"""The costs of very many tasks: start-up, memory and step time of multitask training on
1,000 tasks of 100 classes, beside those of 10.

    python -m scripts.benchmarks.tasks                                    # MVPT and MCoOp, 10 and 1,000 tasks, the pocket model
    python -m scripts.benchmarks.tasks --methods MUPT --mixed --rounds 1  # batches of images of any task
    python -m scripts.benchmarks.tasks --methods MVPT --whole --rounds 1  # a whole epoch, validation and test

The suite (`scripts.benchmarks.many_tasks`) is written once, about 120 MB for 1,000
tasks. A case is `train.py` in its own process; few and many tasks take turns. It takes
--steps steps, and then the same steps again, when all that is computed once for a task
is known. Unless --mixed, a batch is of one task, so that it has as many images and
classes however many tasks there are.
"""

import argparse
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path
from unittest.mock import patch

import numpy as np

from toolkit.common.text import markdown_table

from . import common

CLOCKS = ("wall", "cpu")  # of this process
COLUMNS = (
    "method|tasks|tasks in a batch|start, s|start, CPU s|of it imports|building|memory, GB|step, ms|"
    "step / that of the fewest tasks|of medians|with first visits, ms"
).split("|")
SPANS = {  # from one mark to another
    "start": ("started", "first step"),
    "imports": ("started", "imported"),
    "building": ("check", "checked"),
    "writing": ("checked", "epoch 1"),
    "first_step": ("epoch 1", "first step"),
    "validation": ("epoch 1 done", "epoch 2"),
    "test": ("test", "end"),
}


class _Enough(BaseException):
    """Ends an epoch, or a run, that has been measured."""


def moment() -> np.ndarray:
    """Return the seconds of both clocks (2,)."""
    return np.array([time.time(), time.process_time()])


def by_clock(seconds: np.ndarray) -> dict[str, float]:
    """Return the seconds of both clocks (2,) by the clock's name."""
    return dict(zip(CLOCKS, seconds.round(5).tolist(), strict=True))


class Watch:
    """Records the times of steps in a run of two epochs, the second in the order of the
    first. An epoch ends after `steps`, if they are not 0.
    """

    def __init__(self, started: float, steps: int) -> None:
        self.limit = steps
        self.marks = {"started": np.array([started, 0.0])}
        self.memory: dict[str, float] = {}
        # the start of an epoch, and the end of each step
        self.epochs: list[list[np.ndarray]] = []
        self.present: list[int] = []  # how many tasks there were in each batch

    def mark(self, name: str) -> None:
        """Record the time, and the most memory that the process has had so far in GB."""
        if name not in self.marks:
            self.marks[name] = moment()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            self.memory[name] = round(peak * 1024 / 1e9, 3)

    def patches(self) -> ExitStack:
        """Return a context in which a run is watched."""
        from datasets.mixing import MixingSampler
        from trainers.base import PromptTrainer
        from trainers.engine import run as runs

        stack = ExitStack()

        def watch(owner, name: str, wrap, *marks: str) -> None:
            function = wrap(getattr(owner, name), *marks)
            stack.enter_context(patch.object(owner, name, function))

        watch(runs, "check_run", self._around, "check", "checked")
        watch(PromptTrainer, "run_epoch", self._epoch)
        watch(PromptTrainer, "forward_backward", self._step)
        watch(PromptTrainer, "after_train", self._around, "test", "end")
        watch(MixingSampler, "set_epoch", lambda _: lambda *args, **kwargs: None)
        return stack

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
            self.epochs[-1].append(moment())
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
            self.epochs[-1].append(moment())
            self.present.append(len(batch["task"].unique()))
            self.mark("first step")
            if len(self.epochs[-1]) > self.limit > 0:
                raise _Enough
            return result

        return watched

    def report(self) -> dict:
        """Return seconds between marks, and of a step in each epoch."""
        found = {}
        for name, (first, last) in SPANS.items():
            if first in self.marks and last in self.marks:
                found[name] = by_clock(self.marks[last] - self.marks[first])
        first, later = (np.diff(epoch, axis=0) for epoch in self.epochs)
        return found | {
            "first_visit_step": by_clock(first.mean(axis=0)),
            "step": by_clock(np.median(later, axis=0)),
            "shortest_step": by_clock(later.min(axis=0)),
            "tasks_in_a_batch": round(statistics.mean(self.present), 2),
            "steps_an_epoch": len(first),
            "memory": self.memory,
        }


def case(given: dict) -> dict:
    """Return `Watch.report` of a case in this process; RuntimeError if it fails."""
    watch = Watch(given["started"], 0 if given["whole"] else given["steps"])
    import datasets
    import train
    import trainers

    trainers.register_all()
    datasets.register_all()
    watch.mark("imported")
    from .many_tasks import name_of, register_suite

    method, tasks = given["method"], given["tasks"]
    register_suite(tasks)
    names = ",".join(map(name_of, range(tasks)))
    words = ["--trainer", method, "--dataset", names, "--root", given["data"]]
    words += ["--shots", "1", "--output-dir", given["folder"], "--force"]
    settings = {
        "MULTITASK.HOMOGENEOUS": not given["mixed"],
        "OPTIM.MAX_EPOCH": 2,
        "TEST.NO_TEST": not given["whole"],
        "DATALOADER.TRAIN_X.BATCH_SIZE": given["batch_size"],
    }
    for key, value in settings.items():
        words += [key, str(value)]
    code = 0
    with watch.patches(), suppress(_Enough):
        code = train.main(words)
    if code or len(watch.epochs) < 2:
        message = f"--trainer {method} on {tasks} tasks ended with exit code {code}"
        raise RuntimeError(message)
    return watch.report()


def measure(arguments: dict) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "OMP_NUM_THREADS": str(arguments["threads"]),
            "TQDM_DISABLE": "1",
            "MVLPT_CACHE": folder,
        }
        given = arguments | {"folder": f"{folder}/run", "started": time.time()}
        found = common.run_case("scripts.benchmarks.tasks", given, environment)
        return arguments | found


def summary(cases: list[dict]) -> dict:
    """Return several runs of one case: least and median times, most memory."""
    first = cases[0]
    kept = ("method", "tasks", "mixed", "steps", "tasks_in_a_batch")
    found: dict = {key: first[key] for key in kept}
    for key, value in first.items():
        if isinstance(value, dict) and "wall" in value:
            found[key] = {}
            for clock in CLOCKS:
                values = [case[key][clock] for case in cases]
                least, median = min(values), statistics.median(values)
                found[key][clock] = {"min": round(least, 4), "median": round(median, 4)}
    memory = [case["memory"] for case in cases]
    found["memory"] = {key: max(one[key] for one in memory) for key in first["memory"]}
    return found


def markdown(rows: list[dict]) -> str:
    """Return a table of the least times of all rounds, mostly CPU seconds."""
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
        cells += [f"{step[key] / base[key]:.2f}" for key in ("min", "median")]
        cells.append(f"{1000 * row['first_visit_step']['cpu']['min']:.1f}")
        lines.append(cells)
    return markdown_table([COLUMNS, *lines], "l" + "r" * 10)


def main() -> int:
    parser = common.new_parser(__doc__, steps=60, rounds=3, batch_size=16)
    add = parser.add_argument
    add("--methods", type=common.comma_separated(), default=["MVPT", "MCoOp"])
    add("--tasks", type=common.comma_separated(int), default=[10, 1000])
    mixed = "batches of images of any task: more tasks, more classes in a step"
    add("--mixed", action="store_true", help=mixed)
    whole = "whole epochs, validation and test as well (minutes)"
    add("--whole", action="store_true", help=whole)
    add("--threads", type=int, default=1, help="of the arithmetic")
    place = "where the suite is, or is to be written"
    add("--data", type=Path, default=common.ROOT / "data" / "many_tasks", help=place)
    add("--case", type=json.loads, help=argparse.SUPPRESS)
    common.add_output_dir(parser)
    options = parser.parse_args()
    if options.case:
        print("\n" + json.dumps(case(options.case)))
        return 0
    from .many_tasks import write_suite

    write_suite(options.data, max(options.tasks))
    keys = ("mixed", "whole", "steps", "batch_size", "threads")
    shared = {key: getattr(options, key) for key in keys}
    shared["data"] = str(options.data.resolve())
    found: dict[tuple, list[dict]] = defaultdict(list)
    for _ in range(options.rounds):
        for method, tasks in product(options.methods, options.tasks):
            one = measure({"method": method, "tasks": tasks} | shared)
            found[method, tasks].append(one)
            print(json.dumps(one), file=sys.stderr, flush=True)
    rows = [summary(same) for same in found.values()]
    text = markdown(rows)
    cases = sum(found.values(), [])
    result = {"machine": common.machine(), "summary": rows, "cases": cases}
    common.write_result(options.output_dir, "benchmark_tasks", result, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
