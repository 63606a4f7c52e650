"""The runs of one method, a task each, and their execution in worker processes (which
find no function of a module that was started as a program).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import datasets
import trainers
from scripts.jobs.plan import Job

if TYPE_CHECKING:
    from trainers.engine.run import Run


def plan(args: argparse.Namespace, trainer: str, tasks: Sequence[str]) -> list[Run]:
    """Return a run for each task, from --runs if it is there."""
    from trainers.engine.config import is_native, resolve, trainer_class, with_overrides
    from trainers.engine.run import Run
    from trainers.engine.value_checks import check

    flags = {
        "SEED": args.seed,
        "DATASET.RANDOM_SEED_SAMPLING": args.seed,
        "DATASET.NUM_SHOTS": args.shots,
        "DATASET.DATASET": tasks[0],
    }
    given = {"DATASET.ROOT": args.root, "MODEL.BACKBONE.NAME": args.backbone}
    flags |= {key: value for key, value in given.items() if value}
    if args.no_cache:
        flags["CACHE.FEATURES"] = False
    files = [args.config_file] if args.config_file else []
    cfg = resolve(trainer, files, flags, args.opts)
    cls = trainer_class(trainer)
    if not is_native(cls):
        raise ValueError(
            f"--trainer: {trainer} is a trainer for Dassl alone, which leaves no prompt that is scored on other tasks: "
            "scripts.sweep does that with 'evaluate: {tasks: [...]}' in its plan"
        )
    if not cls.learns or cls.multitask:
        raise ValueError(
            f"--trainer: {trainer} learns no prompt on one task alone; use CoOp, VPT or UPT"
        )
    if reason := cls.class_specific_reason(cfg):
        raise ValueError(
            f"--trainer: the prompt of {trainer} serves the classes of one task alone ({reason})"
        )
    runs = []
    for task in tasks:
        name = datasets.task_name(task)
        below = Path(label(args, trainer), name)
        folder = args.output_dir / below
        if args.runs:
            for there in (name, below):
                if (args.runs / there / "results.json").is_file():
                    folder = args.runs / there
        changes = {"DATASET__DATASET": task, "DATASET__NAME": task}
        cfg = with_overrides(cfg, OUTPUT_DIR=str(folder), **changes)
        check(cfg, cls.multitask)
        runs.append(Run(cfg, resume=True))
    return runs


def label(args: argparse.Namespace, trainer: str) -> str:
    """Return the name of a method's folder."""
    return f"{trainer}_{args.shots}shots_seed{args.seed}"


def perform(job: Job, runs: dict[str, Run]) -> None:
    """Execute one run, in whatever process."""
    from trainers.engine.run import execute

    datasets.register_all()
    trainers.register_all()
    execute(runs[job.name])
