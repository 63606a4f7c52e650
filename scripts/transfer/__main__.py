"""Zero-shot transferability: the prompt learned on each task, applied as it is to every
task (paper, Figure 4).

    python -m scripts.transfer --trainer VPT --shots 20 --seed 0
    python -m scripts.transfer --trainer CoOp,VPT,UPT --tasks pocket-digits,pocket-signs,pocket-faces

Below --output-dir, <trainer>_<shots>shots_seed<seed>/ holds a run's folder for each
task, scores.json (raw columns), matrix.csv and normalised.csv (first column source,
header targets), heatmap.png and .pdf, predictors.csv and .json (how well similarities
of prompts and of tasks predict the order of sources), and results.json (all of it).
Existing files are reused: a stopped command resumes.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

import datasets
import trainers
from datasets import pocket
from scripts.jobs import execution
from scripts.jobs.plan import Job, Plan
from scripts.study.running import split_words
from toolkit.common.cli import Argv, command_parser
from toolkit.common.structured import read_json
from toolkit.common.text import log_lines, start_log

from .matrix import Matrix
from .runs import label, perform, plan

if TYPE_CHECKING:
    from trainers.engine.run import Run

ROOT = Path(__file__).resolve().parents[2]
log = logging.getLogger("transfer")


def arguments() -> argparse.ArgumentParser:
    """Return the flags."""
    shows_defaults = argparse.ArgumentDefaultsHelpFormatter
    parser = command_parser("scripts.transfer", __doc__, formatter_class=shows_defaults)
    add = parser.add_argument
    add("--trainer", default="CoOp,VPT,UPT", help="methods, comma separated")
    add("--shots", type=int, default=20, help="training images per class; -1 all")
    add("--seed", type=int, default=0)
    text = "tasks, comma separated; default: the 20 targets of the pocket suite"
    add("--tasks", help=text)
    add("--output-dir", type=Path, default=ROOT / "output" / "transfer")
    text = "folder with runs to reuse: <trainer>_<shots>shots_seed<seed>/<task> or <task> in it"
    add("--runs", type=Path, help=text)
    add("--backbone", default="", help="as for train.py")
    text = "YAML with settings; default: the recipe of the backbone"
    add("--config-file", default="", help=text)
    text = "neither read nor keep features of the frozen image tower in files"
    add("--no-cache", action="store_true", help=text)
    execution.add_arguments(parser, dry_run=False)
    text = "KEY VALUE pairs of the configuration, for every run"
    add("opts", nargs=argparse.REMAINDER, help=text)
    return parser


def run(args: argparse.Namespace) -> int:
    """Check everything, then make the matrices. Return 1 if a run failed."""
    from .output import summary

    execution.check(args)
    trainers.register_all()
    datasets.register_all()
    tasks = _checked_tasks(args)
    embedded = [name for name in tasks if name in pocket.SPECS]
    pocket.ensure_all(embedded)
    for method, runs in _checked_plans(args, tasks).items():
        folder = args.output_dir / label(args, method)
        if learn(runs, folder, args):
            return 1
        processes = execution.processes(args)
        found = transfer(folder, runs, tasks, processes)
        log_lines(log, summary(found))
        log.info("  %s", os.path.relpath(folder))
    return 0


def _checked_tasks(args: argparse.Namespace) -> list[str]:
    from trainers.engine.run_dir import check_folder

    if args.shots == 0:
        raise ValueError("--shots is 0: prompts are learned here")
    if args.runs and not args.runs.is_dir():
        raise FileNotFoundError(f"--runs: no folder {args.runs}")
    if args.tasks is not None and not split_words(args.tasks):
        raise ValueError(f"--tasks is {args.tasks!r}, which names no task")
    tasks = split_words(args.tasks or "") or [spec.task for spec in pocket.TARGETS]
    names = {datasets.task_name(task) for task in tasks}
    if len(names) < max(2, len(tasks)):
        raise ValueError("--tasks: at least two tasks, each once, are compared")
    check_folder(args.output_dir)
    return tasks


def _checked_plans(args: argparse.Namespace, tasks: list[str]) -> dict[str, list[Run]]:
    """Return the runs of each method, whose tasks and folders are checked."""
    from trainers.engine.run import next_action

    methods = split_words(args.trainer)
    if not methods:
        raise ValueError(f"--trainer is {args.trainer!r}, which names no method")
    plans = {method: plan(args, method, tasks) for method in methods}
    for one in plans[methods[0]]:
        datasets.build_task(one.cfg, one.cfg.DATASET.DATASET)
    for one in itertools.chain(*plans.values()):
        next_action(one)
    return plans


def learn(runs: Sequence[Run], folder: Path, args: argparse.Namespace) -> int:
    """Execute the runs that are not finished, each as a job, and return the exit code."""
    from trainers.engine.run import next_action
    from trainers.engine.run_dir import Action, exclusive_folder

    missing = {
        run.folder.name: run for run in runs if next_action(run) is not Action.REUSE
    }
    if not missing:
        return 0
    jobs = Plan()
    for name, run in missing.items():
        settings = {"folder": str(run.folder)}
        jobs.add(Job(name, "run", settings))
    work = (perform, missing)
    with exclusive_folder(folder):
        result = execution.execute(
            jobs, lambda job: False, work, folder, "transfer", args, trusted=False
        )
    return execution.summarise(result, log) if result.failed else 0


def transfer(
    folder: Path, runs: Sequence[Run], tasks: Sequence[str], jobs: int
) -> dict:
    """Return results.json of finished runs; write the files that are missing."""
    from trainers.features import fingerprints

    from .output import FILES, report
    from .scores import transfer_matrix

    kept = folder / "scores.json"
    folders = [run.folder for run in runs]
    style = {"desc": "scores", "unit": "task", "dynamic_ncols": True, "leave": False}
    with tqdm(total=len(tasks), **style) as bar:

        def done(ready: int) -> None:
            bar.update(ready - bar.n)

        scores, zero_shot = transfer_matrix(
            folders, tasks, runs[0].cfg, jobs, kept, done
        )
    key = fingerprints.of_text(read_json(kept))
    if all((folder / name).is_file() for name in FILES):
        known = read_json(folder / "results.json")
        if known.get("key") == key:
            return known
    names = map(datasets.task_name, tasks)
    matrix = Matrix.square(names, scores)
    return report(folder, runs, matrix, zero_shot, key)


def main(argv: Argv = None) -> int:
    """Run the command; return its exit code, see `execution.command`."""
    start_log(logging.WARNING, sys.stdout)
    log.setLevel(logging.INFO)
    return execution.command(run, arguments(), argv)


if __name__ == "__main__":
    sys.exit(main())
