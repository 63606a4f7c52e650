"""The parts that commands which plan trainings share: the missing jobs, their expected
time, and running them.
"""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

from scripts.jobs import execution
from scripts.jobs.plan import Job, Plan
from toolkit.common.hardware import processor_name
from toolkit.common.structured import write_json

from .work import Place, finished, is_there, perform


def split_words(text: str) -> list[str]:
    """Return comma-separated words."""
    parts = [part.strip() for part in text.split(",")]
    return [part for part in parts if part]


def missing_jobs(plan: Plan, args: argparse.Namespace) -> list[Job]:
    """Return the jobs that have no results in `args.output_dir`."""
    place = Place(args.output_dir, args.root)
    return [job for job in plan if not is_there(job, place)]


def progress_lines(
    plan: Plan, args: argparse.Namespace, is_pocket: bool, show_images: bool = True
) -> list[str]:
    """Return a line that says how many jobs are done, if some are, and one on the cost
    of the others: the time on the pocket model, else the images.
    """
    missing = missing_jobs(plan, args)
    lines = []
    done = len(plan) - len(missing)
    if done:
        lines.append(
            f"{done:,} of these {len(plan):,} jobs are done in {args.output_dir}"
        )
    if is_pocket:
        lines.append(execution.time_needed(missing, args))
        return lines
    images = "images: seen in training"
    if show_images:
        millions = sum(job.images for job in missing) / 1e6
        images = f"{millions:,.2f} million images in training"
    lines.append(f"{images}; the time is known once the first runs are measured")
    return lines


def run_jobs(
    plan: Plan,
    tasks: Sequence[str],
    args: argparse.Namespace,
    trusted: bool,
    write: Callable[[Path], None],
    written: str,
    log: logging.Logger,
) -> int:
    """Run a plan's jobs in `args.output_dir`, which is locked; write machine.json and
    the results. Return exit code 1 if a job failed. See `execution.execute`.

    Args:
        tasks: those of the pocket suite are written before several processes want them.
        write: write the results of finished jobs into the folder.
        written: the name of its output in the log, such as "tables".
        log: the command's log, whose name the file of jobs has.
    """
    from datasets import pocket
    from trainers.engine.run_dir import check_folder, exclusive_folder

    check_folder(args.output_dir)
    folder = Path(args.output_dir)
    place = Place(args.output_dir, args.root)
    with exclusive_folder(folder):
        pocket.ensure_all(
            [task for task in dict.fromkeys(tasks) if task in pocket.SPECS]
        )
        write_json(folder / "machine.json", _machine(args))
        result = execution.execute(
            plan,
            partial(finished, place=place),
            (perform, place),
            folder,
            log.name,
            args,
            trusted,
        )
        write(folder)
    code = execution.summarise(result, log)
    log.info("%s in %s", written.split(".")[0], os.path.join(args.output_dir, written))
    return code


def _machine(args: argparse.Namespace) -> dict:
    """Return the machine that starts jobs, and how many at a time; each run's
    results.json has the one it ran on.
    """
    jobs = args.jobs
    if not args.address:
        jobs = execution.processes(args)
    versions = {name: version(name) for name in ("torch", "numpy")}
    return {
        "cpu": processor_name(),
        "cores": os.cpu_count(),
        "jobs": jobs,
        "versions": versions,
    }
