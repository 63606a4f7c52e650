"""Learn and evaluate prompts.

    python train.py --trainer MVPT                                    # two stages on the embedded pocket suite
    python train.py --trainer VPT --dataset pocket-digits --shots 5   # one task
    python train.py --trainer MVPT --backbone ViT-B/16 --root DATA --source ImageNet,Food101 --dataset mnist,gtsrb
    --shots 20
    torchrun --nproc-per-node 2 train.py --trainer MVPT               # the same by two processes, or two GPUs

Flags -> configuration -> experiment. Without --dataset the pocket suite's tasks are
used.
"""

import contextlib
import errno
import os
import sys
import sysconfig
import traceback
import urllib.error
from pathlib import Path

import datasets
import trainers
from toolkit.common import plugins
from toolkit.common.cli import BAD_INPUT, FAILED, OK, STOPPED, Argv, stopped_by_sigterm
from toolkit.common.text import check_arguments, error_message
from trainers.engine.flags import arguments

AGAIN = "with --resume auto the same command continues"


def main(argv: Argv = None) -> int:
    """Run a command line and return its exit code. 0; 2 after one message about wrong
    input (MVLPT_DEBUG=1 adds the traceback), 1 if training diverged, a disk is full or
    a plugin failed, 130 when stopped.
    """
    args = None
    # --help and wrong flags need no torch; of several processes one alone speaks
    if "LOCAL_RANK" not in os.environ:
        args = arguments(argv).parse_args(argv)
    from trainers.engine import distributed, experiment
    from trainers.engine.command_line import configuration, key_table, run_options

    try:
        distributed.start()
        with contextlib.ExitStack() as stack:
            if distributed.world() == 1:  # one that waits for another would not hear it
                stack.enter_context(stopped_by_sigterm())
            check_arguments(sys.argv)
            if args is None:
                args = arguments(argv).parse_args(argv)
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
    """Return the message and the exit code of an error: a traceback of a plugin's."""
    if plugins.raised_by_user(error):
        return traceback.format_exc(), FAILED
    if isinstance(
        error, (ValueError, FileNotFoundError, NotADirectoryError, PermissionError)
    ):
        return _input_message(error), BAD_INPUT
    code = FAILED
    if isinstance(error, FloatingPointError):
        message = str(error)
    elif isinstance(error, urllib.error.URLError):
        message = f"a download failed: {error.reason}"
    else:
        message = str(error.strerror or error)
        if error.filename:
            message = f"{error.filename}: {message}"
        if error.errno == errno.EROFS:
            code = BAD_INPUT
        elif "--resume" not in message:
            message += f"; all that was finished is kept, {AGAIN}"
    return f"{error_message(message)}\n", code


def _input_message(error: Exception) -> str:
    message = str(error).strip()
    frames = traceback.extract_tb(error.__traceback__)
    if frames:
        file = Path(frames[-1].filename).resolve()
        names = ("stdlib", "purelib", "platlib")
        folders = [plugins.ROOT, *map(sysconfig.get_path, names)]
        known = [Path(folder).resolve() for folder in folders]
        if not any(map(file.is_relative_to, known)):  # a plugin's
            message += f" (raised in {file.name}, line {frames[-1].lineno}; "
            message += "MVLPT_DEBUG=1 shows how)"
    # from a worker of a loader: its last line is the message
    if "Traceback" in message:
        message = message.splitlines()[-1]
    shown = traceback.format_exc() if os.environ.get("MVLPT_DEBUG") else ""
    return f"{shown}{error_message(message)}\n"


if __name__ == "__main__":
    sys.exit(main())
