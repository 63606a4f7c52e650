"""The parts that commands with trainings share: lists of flags, costs, running."""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from scripts.jobs import execution
from scripts.jobs.plan import Plan
from toolkit.common.hardware import processor_name
from toolkit.common.structured import write_json

from .kinds import is_whole
from .work import Place, finished, perform


def split_words(text: str) -> list[str]:
    """Return comma-separated words."""
    parts = [part.strip() for part in text.split(",")]
    return [part for part in parts if part]


def whole_numbers(flag: str, text: str, least: int) -> tuple[int, ...]:
    """Return the numbers of a flag, each once. Raise ValueError for other text."""
    numbers = {}
    for word in split_words(text):
        if not word.isdecimal() or not is_whole(int(word), least):
            raise ValueError(
                f"{flag}: whole numbers from {least}, comma separated, not {text!r}"
            )
        numbers[int(word)] = word
    return tuple(numbers)


def run_jobs(
    plan: Plan,
    lines: Sequence[str],
    args: argparse.Namespace,
    write: Callable[[Path], None],
    log: logging.Logger,
    written: str = "tables",
    show_images: bool = True,
    needs_root: bool = False,
) -> int:
    """Print a plan (`lines`, and what is done and the rest costs); unless it is a dry
    run, run its jobs in `args.output_dir`, which is locked, and write machine.json and,
    by `write`, the results. Return exit code 1 if a job failed. log: the command's,
    whose name the file of jobs has. written: the results' name in it. show_images: tell
    the number of training images. needs_root: raise ValueError without a folder of
    data.
    """
    from datasets import pocket
    from trainers.engine.run_dir import check_folder, exclusive_folder

    place = Place(args.output_dir, args.root)
    backbones = {job.settings["backbone"] for job in plan}
    is_pocket = backbones <= {"pocket"}
    progress = _progress_lines(plan, args, place, is_pocket, show_images)
    text = "\n".join([*lines, *progress])
    sys.stdout.write(f"{text}\n")
    if args.dry_run:
        return 0
    if needs_root and not args.root:
        raise ValueError("--root: the folder of the data sets is needed")
    check_folder(args.output_dir)
    folder = Path(args.output_dir)
    tasks = dict.fromkeys(task for job in plan for task in job.settings["tasks"])
    with exclusive_folder(folder):
        # those of the pocket suite are written before several processes want them
        embedded = [task for task in tasks if task in pocket.SPECS]
        pocket.ensure_all(embedded)
        machine = {
            "cpu": processor_name(),
            "cores": os.cpu_count(),
            "jobs": args.jobs if args.address else execution.processes(args),
            "versions": {name: version(name) for name in ("torch", "numpy")},
        }  # that starts jobs; each run's results.json has the one it ran on
        write_json(folder / "machine.json", machine)
        is_done = partial(finished, place=place)
        work = (perform, place)
        result = execution.execute(
            plan, is_done, work, folder, log.name, args, is_pocket
        )
        write(folder)
    code = execution.summarise(result, log)
    name = written.split(".")[0]
    log.info("%s in %s", name, os.path.join(args.output_dir, written))
    return code


def _progress_lines(
    plan: Plan,
    args: argparse.Namespace,
    place: Place,
    is_pocket: bool,
    show_images: bool,
) -> list[str]:
    """Return lines on the jobs that are done and on the cost of the others."""
    missing = []
    for job in plan:
        with contextlib.suppress(ValueError):  # of another job's results
            if finished(job, place):
                continue
        missing.append(job)
    lines = []
    if done := len(plan) - len(missing):
        count = f"{done:,} of these {len(plan):,} jobs"
        lines.append(f"{count} are done in {args.output_dir}")
    if is_pocket:
        return [*lines, execution.time_needed(missing, args)]
    images = "images: seen in training"
    if show_images:
        millions = sum(job.images for job in missing) / 1e6
        images = f"{millions:,.2f} million images in training"
    return [*lines, f"{images}; the time is known once the first runs are measured"]
