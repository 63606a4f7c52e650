"""An executor of processes of this machine. Each process performs many jobs, so that the backbone, decoded images and
features are there once a process."""

from __future__ import annotations

import logging
import multiprocessing
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait

from .plan import Job, Outcome
from .processes import attempt, environment_of_workers, follow_parent

log = logging.getLogger(__name__)


class Processes:
    """Runs `perform(job, place)` in `slots` spawned processes that share the cores; a context manager.

    A process that dies takes its job with it, which is lost, and is replaced.
    """

    def __init__(self, slots: int, perform: Callable[[Job, object], None], place: object) -> None:
        self.slots = slots
        self.work = (perform, place)
        self.idle: list[tuple[multiprocessing.process.BaseProcess, Connection]] = []
        self.busy: dict[Connection, tuple[multiprocessing.process.BaseProcess, Job, float]] = {}

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *_) -> None:
        for pipe, (process, _, _) in self.busy.items():
            process.terminate()
            pipe.close()
        for _, pipe in self.idle:
            pipe.close()  # an idle process ends by itself
        for process in [*(process for process, _ in self.idle), *(process for process, _, _ in self.busy.values())]:
            process.join(5)
            process.kill()

    def submit(self, job: Job) -> None:
        """Hand a job to an idle process, or to a new one."""
        process, pipe = self.idle.pop() if self.idle else self._start()
        self.busy[pipe] = (process, job, time.monotonic())
        try:
            pipe.send(job)
        except OSError:
            log.debug("a process ended while it was idle")  # `wait` sees its closed pipe

    def wait(self) -> list[Outcome]:
        """The outcomes of at least one job."""
        outcomes = []
        for pipe in wait(list(self.busy)):
            process, job, began = self.busy.pop(pipe)
            try:
                outcomes.append(pipe.recv())
                self.idle.append((process, pipe))
            except (EOFError, OSError):
                process.join()
                pipe.close()
                error = f"its process ended with code {process.exitcode}"
                outcomes.append(Outcome(job, time.monotonic() - began, error, lost=True))
        return outcomes

    def _start(self) -> tuple[multiprocessing.process.BaseProcess, Connection]:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, *self.work), daemon=True)
        with environment_of_workers(self.slots):
            process.start()
        theirs.close()
        return process, ours


def _serve(pipe: Connection, perform: Callable[[Job, object], None], place: object) -> None:
    """A process's life: jobs come through the pipe, outcomes go back."""
    follow_parent()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(message)s")
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(perform, job, place))
