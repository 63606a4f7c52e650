"""An executor of processes of this machine. Each process performs many jobs, so that it
loads the backbone, decoded images and features once.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple, TypeVar

from toolkit.common.text import start_log

from .plan import Job, Outcome, attempt, hanging

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessEnded(Exception):
    """A worker process ended while it was at work."""


class _Worker(NamedTuple):
    process: multiprocessing.process.BaseProcess
    pipe: Connection


class WorkerPool:
    """Spawned processes that share the cores, each calling `function(item)` for many
    items; a context manager. A process that ends takes its item with it and is
    replaced. A ProcessPoolExecutor fails all items that run at that moment, and does
    not tell the exit code.
    """

    def __init__(self, size: int, function: Callable[[Any], Any]) -> None:
        self.size = size
        self.function = function
        self.idle: list[_Worker] = []
        self.busy: dict[Connection, tuple[_Worker, Any]] = {}

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_) -> None:
        workers = list(self.idle)
        for worker, _item in self.busy.values():
            worker.process.terminate()
            workers.append(worker)
        for worker in workers:
            worker.pipe.close()  # an idle process then ends by itself
        for worker in workers:
            worker.process.join(5)
            worker.process.kill()

    def submit(self, item: Any) -> None:
        """Send an item to an idle process, or to a new one."""
        worker = self.idle.pop() if self.idle else self._start()
        self.busy[worker.pipe] = (worker, item)
        # the process ended while it was idle: `wait` sees its closed pipe
        with contextlib.suppress(OSError):
            worker.pipe.send(item)

    def wait(self, seconds: float | None = None) -> list[tuple[Any, Any]]:
        """Return (item, result or ProcessEnded) of those that end in some seconds."""
        ended = []
        for pipe in wait(list(self.busy), seconds):
            worker, item = self.busy.pop(pipe)
            result: Any
            try:
                result = pipe.recv()
                self.idle.append(worker)
            except (EOFError, OSError):
                worker.process.join()
                pipe.close()
                code = worker.process.exitcode
                result = ProcessEnded(f"its process ended with code {code}")
            ended.append((item, result))
        return ended

    def _start(self) -> _Worker:
        context = multiprocessing.get_context("spawn")
        parent_end, worker_end = context.Pipe()
        # no daemon, as its data loaders start processes, too
        arguments = (worker_end, self.function)
        process = context.Process(target=_serve, args=arguments)
        before = dict(os.environ)
        cores = os.cpu_count() or 1
        threads = max(1, cores // self.size)
        # it inherits an equal share of the cores, and no bars
        os.environ |= {"OMP_NUM_THREADS": str(threads), "TQDM_DISABLE": "1"}
        try:
            process.start()
        finally:
            os.environ.clear()
            os.environ.update(before)
        worker_end.close()
        return _Worker(process, parent_end)


class Processes(WorkerPool):
    """The executor: runs `perform(job, place)` in `slots` processes. timeout: seconds
    after which a try of a job is lost, and so is its process.
    """

    def __init__(
        self,
        slots: int,
        perform: Callable[[Job, object], None],
        place: object,
        timeout: float = 86400.0,
    ) -> None:
        super().__init__(slots, partial(attempt, perform, place))
        self.slots = slots
        self.timeout = timeout
        self.started: dict[str, float] = {}

    def submit(self, job: Job) -> None:
        self.started[job.name] = time.monotonic()
        super().submit(job)

    def wait(self) -> list[Outcome]:
        """Return the outcomes of at least one job; a job whose process ended is lost."""
        outcomes: list[Outcome] = []
        while not outcomes:
            for job, outcome in super().wait(1.0):
                if isinstance(outcome, ProcessEnded):
                    seconds = time.monotonic() - self.started[job.name]
                    outcome = Outcome(job, seconds, str(outcome), lost=True)
                outcomes.append(outcome)
            for pipe, (worker, job) in list(self.busy.items()):
                seconds = time.monotonic() - self.started[job.name]
                if seconds >= self.timeout:
                    del self.busy[pipe]
                    worker.process.kill()
                    worker.process.join()
                    pipe.close()
                    outcomes.append(hanging(job, seconds, self.timeout))
        return outcomes


def each(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int = 1
) -> Iterator[tuple[int, Result | Exception]]:
    """Yield (position, result or error) of `function` for every item, as they end.
    jobs: processes; 1 works in this one. Others must find `function` in a module.
    """
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}; it must be positive")
    call = partial(_call, function)
    waiting = list(enumerate(items))
    if jobs == 1 or len(items) < 2:
        yield from map(call, waiting)
        return
    with WorkerPool(min(jobs, len(items)), call) as pool:
        while waiting or pool.busy:
            while waiting and len(pool.busy) < pool.size:
                pool.submit(waiting.pop(0))
            for (position, _), result in pool.wait():
                if not isinstance(result, ProcessEnded):
                    _, result = result
                yield position, result


def _call(function: Callable[[Item], Result], item: tuple[int, Item]):
    try:
        return item[0], function(item[1])
    except Exception as error:  # noqa: BLE001 - whatever ended this item must not end the others
        return item[0], error


def _serve(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """Process the items that come through the pipe, and send their results back. The
    parent handles interrupts. A worker ends with it: a killed parent must not leave a
    process that writes into a run's folder.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # the platform's, not spawn as for this process: data loaders need not pickle tasks
    multiprocessing.set_start_method(None, force=True)
    start_log(logging.WARNING)
    with contextlib.suppress(EOFError):
        while True:
            pipe.send(function(pipe.recv()))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
