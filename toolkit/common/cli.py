"""Parts that all command lines share: one sentence for wrong input, and exit codes."""

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence

from toolkit.common import plugins
from toolkit.common.text import check_arguments, error_message

OK, FAILED, BAD_INPUT, STOPPED = 0, 1, 2, 130
Argv = Sequence[str] | None  # a command line; None: this process's


class NotDone(Exception):
    """A part of a command could not be done, as the message says: exit code 1."""


def command_parser(module: str, text: str, **options) -> argparse.ArgumentParser:
    """Return the parser of `python -m module`; the text's first line describes it."""
    description = text.splitlines()[0]
    program = f"python -m {module}"
    return argparse.ArgumentParser(program, description=description, **options)


def run_command(command: Callable[[], int | None]) -> int:
    """Run a command and return its exit code, `OK` for None. Wrong input (ValueError,
    OSError) is one line on standard error and `BAD_INPUT` (MVLPT_DEBUG=1 adds the
    traceback), a plugin's error a traceback and `FAILED`. A closed pipe ends it
    quietly.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        check_arguments(sys.argv)
        return command() or OK
    except NotDone as error:
        return fail(error, FAILED)
    except BrokenPipeError:
        # nothing is left to flush into the closed pipe
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
        return OK
    except (OSError, ValueError) as error:
        if plugins.raised_by_user(error):
            traceback.print_exc()
            return FAILED
        return fail(error, BAD_INPUT)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return STOPPED


def fail(error: BaseException, code: int) -> int:
    """Write "error: ..." to standard error and return `code`."""
    if os.environ.get("MVLPT_DEBUG"):
        traceback.print_exc()
    sys.stderr.write(f"{error_message(error)}\n")
    return code


@contextlib.contextmanager
def stopped_by_sigterm() -> Iterator[None]:
    """Treat SIGTERM, as batch systems send it, as an interrupt (in the main thread)."""

    def stop(*_) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
