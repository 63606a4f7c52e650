"""What worker processes have in common: one try of a job, their share of the cores, and an end when their parent ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator

from toolkit.common.files import InUse

from .plan import Job, Outcome


def attempt(perform: Callable[[Job, object], None], job: Job, place: object) -> Outcome:
    """Try a job; whatever it raises is its outcome. ValueError and FileNotFoundError mean that its input is wrong, but where
    a process that was given up still works in the folder, the try is lost."""
    began, error, wrong, lost = time.monotonic(), "", False, False
    try:
        perform(job, place)
    except Exception as failure:  # noqa: BLE001 - whatever ended this job must not end the others
        if os.environ.get("MVLPT_DEBUG"):
            traceback.print_exc()
        error = f"{type(failure).__name__}: {failure}".strip()
        lost = isinstance(failure, InUse)
        wrong = isinstance(failure, (ValueError, FileNotFoundError)) and not lost
    return Outcome(job, time.monotonic() - began, error, wrong, lost)


@contextlib.contextmanager
def environment_of_workers(count: int) -> Iterator[None]:
    """Variables that processes started meanwhile inherit: an equal share of the cores for each of `count`, no bars."""
    values = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // count)), "TQDM_DISABLE": "1"}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def follow_parent() -> None:
    """In a worker: leave an interrupt to the parent, and end when it ends, however it does. A killed parent must not
    leave a process that still writes into a run's folder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
