"""Learn and evaluate prompts.

    python train.py --trainer MVPT                                    # two stages on the embedded pocket suite
    python train.py --trainer VPT --dataset pocket-digits --shots 5   # one task
    python train.py --trainer MVPT --backbone ViT-B/16 --root DATA --source ImageNet,Food101 --dataset mnist,gtsrb
    --shots 20
    torchrun --nproc-per-node 2 train.py --trainer MVPT               # the same by two processes, or two GPUs

Flags -> configuration -> experiment. Without --dataset the pocket suite's tasks are used.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
import sysconfig
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

import datasets
import trainers
from toolkit.common import plugins
from toolkit.common.cli import BAD_INPUT, FAILED, OK, STOPPED
from toolkit.common.text import printable
from trainers.engine.flags import arguments

AGAIN = "with --resume auto the same command goes on"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    0; 2 after one message about wrong input (MVLPT_DEBUG=1 adds the traceback), 1 if training diverged, a disk is full or a
    plugin failed, 130 when stopped.
    """
    args = None
    if "LOCAL_RANK" not in os.environ:  # --help and wrong flags need no torch; of several processes one alone speaks
        args = arguments().parse_args(argv)
    from trainers.engine import distributed, experiment
    from trainers.engine.command_line import configuration, key_table, run_options

    try:
        distributed.start()
        with stopped_by_sigterm(distributed.world() == 1):
            if args is None:
                args = arguments().parse_args(argv)
            trainers.register_all()
            datasets.register_all()
            if args.list_keys:
                sys.stdout.write(key_table(args.trainer))
                return OK
            cfg = configuration(args)
            experiment.run(cfg, run_options(args, cfg))
    except (ValueError, OSError, FloatingPointError) as error:
        return distributed.failed(*ending(error))
    except KeyboardInterrupt:
        return distributed.failed(f"stopped; {AGAIN}\n", STOPPED)
    except SystemExit as end:  # of argparse, which has written its message
        distributed.failed("", end.code)
        raise
    return OK


def ending(error: Exception) -> tuple[str, int]:
    """Return the message and the exit code of an error. One in a plugin's own line is a traceback."""
    if plugins.raised_by_user(error):
        return traceback.format_exc(), FAILED
    if isinstance(error, (ValueError, FileNotFoundError, NotADirectoryError, PermissionError)):
        return input_message(error), BAD_INPUT
    if isinstance(error, FloatingPointError):
        return f"error: {error}\n", FAILED
    if error.errno == errno.EROFS:
        return disk_message(error), BAD_INPUT
    return disk_message(error), FAILED


def input_message(error: Exception) -> str:
    """Return the line about wrong input."""
    message = str(error).strip() + raised_in(error)
    if "Traceback" in message:  # from a worker of a loader: its last line is the message
        message = message.splitlines()[-1]
    if os.environ.get("MVLPT_DEBUG"):
        return f"{traceback.format_exc()}error: {printable(message, lines=True)}\n"
    return f"error: {printable(message, lines=True)}\n"


def raised_in(error: Exception) -> str:
    """Return where a plugin raised an error, "" for our own: what is wrong may be the plugin."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    file = Path(frames[-1].filename).resolve()
    installed = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")}
    for folder in (Path(__file__).resolve().parent, *installed):
        if file.is_relative_to(folder):
            return ""
    return f" (raised in {file.name}, line {frames[-1].lineno}; MVLPT_DEBUG=1 shows how)"


def disk_message(error: OSError) -> str:
    """Return the line about a file that could not be written."""
    message = f"error: {error.strerror or error}"
    if error.filename:
        message = f"error: {error.filename}: {error.strerror or error}"
    if error.errno != errno.EROFS and "--resume" not in message:
        message += f"; all that was finished is kept, {AGAIN}"
    return message + "\n"


@contextlib.contextmanager
def stopped_by_sigterm(is_alone: bool) -> Iterator[None]:
    """Treat a request to end as an interrupt: batch systems send it before they take a machine away."""

    def stop(*_) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread() or not is_alone:
        yield  # no handler can be set, or a process that waits for another would not hear it
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
