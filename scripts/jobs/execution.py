"""What every command that runs a plan shares: flags, where jobs run, the bar and the log, one command a folder, exit codes."""

from __future__ import annotations

import argparse
import datetime
import errno
import logging
import os
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from tqdm import tqdm

from .local_executor import Processes
from .plan import Clock, Executor, Job, Outcome, Plan, Report, run_plan

log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that say where jobs run."""
    add = parser.add_argument
    add("--jobs", type=int, help="jobs at a time: processes (one a core), or the most on a cluster")
    add("--address", default="", help="a Ray cluster: auto, HOST:PORT, or local (a Ray on this machine)")
    add("--cpus", type=float, help="of the cluster, for each job (1)")
    add("--gpus", type=float, help="of the cluster, for each job; with 0.5 two share one (0)")
    add("--retries", type=int, help="how often a failed job is tried again (2)")


def check(args: argparse.Namespace) -> None:
    """Raise ValueError for flags that make no sense; set those that were not given."""
    if args.jobs is not None and args.jobs < 1:
        raise ValueError(f"--jobs is {args.jobs}; it must be positive")
    for name in ("cpus", "gpus"):
        if getattr(args, name) is not None and not args.address:
            raise ValueError(f"--{name} is of a Ray cluster: give its --address, too")
    args.cpus = 1.0 if args.cpus is None else args.cpus
    args.gpus = 0.0 if args.gpus is None else args.gpus
    args.retries = 2 if args.retries is None else args.retries
    for name, value in (("cpus", args.cpus), ("gpus", args.gpus)):
        if value < 0 or (value > 1 and value % 1) or (name == "cpus" and value == 0):
            raise ValueError(f"--{name} is {value:g}; it is a part of one, or a whole number")
    if args.retries < 0:
        raise ValueError(f"--retries is {args.retries}; it must not be negative")


def processes(args: argparse.Namespace) -> int:
    """Jobs at a time on this machine."""
    return args.jobs or os.cpu_count() or 1


def time_needed(jobs: list[Job], args: argparse.Namespace) -> str:
    """A line: how long these jobs should take, if their weights are true."""
    if args.address and args.jobs is None:
        return f"about {time_text(Clock(jobs, 1).seconds())} of one core, shared by what the cluster runs at a time"
    return f"about {time_text(Clock(jobs, processes(args)).seconds())} with --jobs {processes(args)}, a core each"


def time_text(seconds: float) -> str:
    """Seconds, minutes, or hours and minutes."""
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"


def execute(
    plan: Plan,
    finished: Callable[[Job], bool],
    work: tuple[Callable[[Job, object], None], object],
    folder: Path,
    name: str,
    args: argparse.Namespace,
    trusted: bool = True,
) -> Report:
    """Run the plan where `args` say, with a bar, and a line for each try of a job in `folder`/`name`.log.

    work: (perform, place); `perform(job, place)` does a job.
    trusted: whether the expected times are those of this kind of model, before anything is measured.
    """
    with (
        _executor(work, folder, args) as executor,
        open(folder / f"{name}.log", "a", encoding="utf-8") as record,
        tqdm(
            total=len(plan), desc=name, unit="job", dynamic_ncols=True, bar_format="{desc} {bar} {n}/{total}{postfix}"
        ) as bar,
    ):

        def report(outcome: Outcome, clock: Clock) -> None:
            now = datetime.datetime.now().isoformat(" ", "seconds")
            kind = "lost" if outcome.lost else "failed"
            state = f"{kind}: {outcome.error}{'; is tried again' * outcome.again}" if outcome.error else "done"
            where = f" on {outcome.where}" * bool(outcome.where)
            record.write(f"{now} {outcome.job.name} {outcome.seconds:.1f} s{where} {state}\n")
            record.flush()
            if outcome.error:
                bar.write(f"{outcome.job.name}: {state}", file=sys.stderr)
            bar.n = len(plan) - len(clock.left)
            left = time_text(clock.seconds()) if trusted or clock.measured else "?"
            bar.set_postfix_str(f"{left} left, {outcome.job.name}")

        return run_plan(plan, executor, finished, report, args.retries)


def _executor(work: tuple, folder: Path, args: argparse.Namespace) -> AbstractContextManager[Executor]:
    if not args.address:
        return Processes(processes(args), *work)
    from .ray_executor import Ray

    return Ray(*work, folder, args.address, args.cpus, args.gpus, args.jobs)


def summarise(result: Report, log: logging.Logger) -> int:
    """Log what became of a plan, and its failures by message; the command's exit code."""
    log.info("%d jobs reused, %d done, %d failed, %d skipped", *map(len, vars(result).values()))
    for message, times in Counter(result.failed.values()).most_common(10):
        name = next(name for name in result.failed if result.failed[name] == message)
        others = f" and {times - 1} more" if times > 1 else ""
        log.error("failed: %s%s: %s", name, others, message)
    return 1 if result.failed else 0


def command(run: Callable[[argparse.Namespace], int], parser: argparse.ArgumentParser, argv: list[str] | None) -> int:
    """Parse and run. Exit code 0; 1 when jobs failed or the disk is full; 2 after one line about wrong input (MVLPT_DEBUG=1 adds the
    traceback); 130 when stopped."""
    before = signal.signal(signal.SIGTERM, _stop)
    try:
        return run(parser.parse_args(argv))
    except (ValueError, OSError) as error:
        if os.environ.get("MVLPT_DEBUG"):
            traceback.print_exc()
        sys.stderr.write(f"error: {str(error).strip()}\n")
        return 1 if getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) else 2
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on\n")
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(*_) -> None:
    raise KeyboardInterrupt
