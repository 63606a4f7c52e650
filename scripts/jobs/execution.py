"""The flags, executors, log and exit codes of every command that runs a plan."""

import argparse
import datetime
import errno
import logging
import os
import sys
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tqdm import tqdm

from toolkit.common.cli import STOPPED, NotDone, run_command, stopped_by_sigterm
from toolkit.common.plugins import add_import_flag
from toolkit.common.text import log_lines, start_log

from .local_executor import Processes
from .plan import Clock, Executor, Job, Outcome, Plan, Report, run_plan

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
DEFAULTS = {"cpus": 1.0, "gpus": 0.0, "job_timeout": 24.0, "retries": 2}
BAR = "{desc} {bar} {n}/{total}{postfix}"


def add_arguments(parser: argparse.ArgumentParser, dry_run: bool = True) -> None:
    """Add --dry-run, if wanted, and the flags for data, plugins and the executor."""
    add = parser.add_argument
    if dry_run:
        text = "print the plan; needs neither data nor a backbone"
        add("--dry-run", action="store_true", help=text)
    add("--root", default="", help="folder of the data sets")
    add_import_flag(parser)
    text = "jobs at a time: processes (one a core), or the most on a cluster"
    add("--jobs", type=int, help=text)
    text = "a Ray cluster: auto, HOST:PORT, or local (a Ray on this machine)"
    add("--address", default="", help=text)
    add("--cpus", type=float, help="of the cluster, for each job (1)")
    text = "of the cluster, for each job; with 0.5 two share one (0)"
    add("--gpus", type=float, help=text)
    add("--job-timeout", type=float, help="hours that a try of a job may take (24)")
    add("--retries", type=int, help="how often a failed job is tried again (2)")


def check(args: argparse.Namespace) -> None:
    """Set flags that were not given. Raise ValueError for those that make no sense."""
    if args.jobs is not None and args.jobs < 1:
        raise ValueError(f"--jobs is {args.jobs}; it must be positive")
    for name, default in DEFAULTS.items():
        value = getattr(args, name)
        if value is None:
            setattr(args, name, default)
        elif name in ("cpus", "gpus"):
            _check_share(name, value, args.address)
    if not 0 < args.job_timeout < float("inf"):
        raise ValueError(f"--job-timeout is {args.job_timeout:g}; it must be positive")
    if args.retries < 0:
        raise ValueError(f"--retries is {args.retries}; it must not be negative")


def _check_share(name: str, value: float, address: str):
    if not address:
        raise ValueError(f"--{name} is of a Ray cluster: give its --address, too")
    is_part = 0 <= value <= 1
    is_whole = value > 1 and value % 1 == 0
    is_nothing = value == 0 and name == "cpus"
    if is_nothing or not (is_part or is_whole):
        raise ValueError(
            f"--{name} is {value:g}; it is a part of one, or a whole number"
        )


def processes(args: argparse.Namespace) -> int:
    """Return the number of jobs at a time on this machine."""
    return args.jobs or os.cpu_count() or 1


def time_needed(jobs: list[Job], args: argparse.Namespace) -> str:
    """Return a line on how long these jobs should take, by their weights."""
    count = processes(args)
    shared = f"with --jobs {count}, a core each"
    if args.address and args.jobs is None:
        count = 1
        shared = "of one core, shared by what the cluster runs at a time"
    return f"about {time_text(Clock(jobs, count).seconds())} {shared}"


def time_text(seconds: float) -> str:
    """Return a duration as seconds, minutes, or hours and minutes."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"


def execute(
    plan: Plan,
    finished: Callable[[Job], bool],
    work: tuple[Callable[[Job, object], None], object],
    folder: Path,
    name: str,
    args: argparse.Namespace,
    trusted: bool = True,
) -> Report:
    """Run the plan, with a progress bar and a line for each try in `folder`/`name`.log.
    work: (perform, place); `perform(job, place)` does a job. trusted: weights are
    seconds of this model, so that the time left is shown from the start.
    """
    timeout = args.job_timeout * 3600
    executor: AbstractContextManager[Executor]
    if args.address:
        from .ray_executor import Ray

        shares = (args.cpus, args.gpus, args.jobs)
        executor = Ray(*work, folder, args.address, *shares, timeout)
    else:
        executor = Processes(processes(args), *work, timeout)
    style = {"desc": name, "unit": "job", "dynamic_ncols": True, "bar_format": BAR}
    with (
        executor as running,
        open(folder / f"{name}.log", "a", encoding="utf-8") as log_file,
        tqdm(total=len(plan), **style) as bar,
    ):

        def report(outcome: Outcome, clock: Clock) -> None:
            now = datetime.datetime.now().isoformat(" ", "seconds")
            state = "done"
            if outcome.error:
                kind = "lost" if outcome.lost else "failed"
                again = "; is tried again" if outcome.again else ""
                state = f"{kind}: {outcome.error}{again}"
                bar.write(f"{outcome.job.name}: {state}", file=sys.stderr)
            place = f" on {outcome.where}" if outcome.where else ""
            took = f"{outcome.seconds:.1f} s{place}"
            log_file.write(f"{now} {outcome.job.name} {took} {state}\n")
            log_file.flush()
            left = "?"
            if trusted or clock.measured:
                left = time_text(clock.seconds())
            bar.n = len(plan) - len(clock.left)
            bar.set_postfix_str(f"{left} left, {outcome.job.name}")

        return run_plan(plan, running, finished, report, args.retries)


def summarise(result: Report, log: logging.Logger) -> int:
    """Log the outcome of a plan and its failures; return the exit code."""
    counts = [len(names) for names in vars(result).values()]
    log.info("%d jobs reused, %d done, %d failed, %d skipped", *counts)
    jobs_of: dict[str, list[str]] = defaultdict(list)
    for name, message in result.failed.items():
        jobs_of[message].append(name)
    most_common = sorted(jobs_of.items(), key=lambda item: -len(item[1]))
    for message, (first, *more) in most_common[:10]:
        others = f" and {len(more)} more" if more else ""
        lines = f"failed: {first}{others}: {message}"
        log_lines(log, lines, logging.ERROR)  # of a plugin's error, a traceback
    return 1 if result.failed else 0


def command(
    run: Callable[[argparse.Namespace], int],
    parser: argparse.ArgumentParser,
    argv: list[str] | None,
) -> int:
    """Parse, run, and return the exit code: 0; 1 when jobs failed or the disk is full;
    2 after one line about wrong input; 130 when stopped.
    """

    def parse_and_run() -> int:
        try:
            return run(parser.parse_args(argv))
        except OSError as error:
            if error.errno in DISK_FULL:
                raise NotDone(str(error)) from error
            raise
        except KeyboardInterrupt:
            sys.stderr.write("stopped; the same command continues\n")
            return STOPPED

    start_log()
    with stopped_by_sigterm():
        return run_command(parse_and_run)
