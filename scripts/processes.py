"""What worker processes have in common: their share of the cores, and an end when their parent ends."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator


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
