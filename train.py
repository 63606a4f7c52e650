"""Learn and evaluate prompts.

    python train.py --trainer MVPT                                    # two stages on the embedded pocket suite
    python train.py --trainer VPT --dataset pocket-digits --shots 5   # one task
    python train.py --trainer MVPT --backbone ViT-B/16 --root DATA --source ImageNet,Food101 --dataset mnist,gtsrb
    --shots 20
    torchrun --nproc-per-node 2 train.py --trainer MVPT               # the same by two processes, or two GPUs

Flags -> configuration -> experiment. Without --dataset the pocket suite's tasks are
used.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

import datasets
import trainers
from toolkit.common.cli import OK, STOPPED, stopped_by_sigterm
from toolkit.common.text import check_arguments
from trainers.engine.endings import AGAIN, ending
from trainers.engine.flags import arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code.

    0; 2 after one message about wrong input (MVLPT_DEBUG=1 adds the traceback), 1 if
    training diverged, a disk is full or a plugin failed, 130 when stopped.
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


if __name__ == "__main__":
    sys.exit(main())
