"""Work in worker processes that each do many pieces of it and give results back, so that backbones, images and features are
shared."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

from .processes import environment_of_workers, follow_parent

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int = 1
) -> Iterator[tuple[int, Result | Exception]]:
    """(position, result) of `function` for every item, as they end; an error is a result, and the rest goes on.

    jobs: number of processes; they share the cores evenly, and end with this one. 1 works in this process. `function`
    is one of a module's, so that another process finds it.
    """
    if jobs < 1:
        raise ValueError(f"--jobs is {jobs}; it must be positive")
    if jobs == 1 or len(items) < 2:
        for index, item in enumerate(items):
            yield index, _outcome(function, item)
        return
    jobs = min(jobs, len(items))
    others = set(multiprocessing.active_children())
    with environment_of_workers(jobs):
        pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_start)
        try:
            futures = {pool.submit(_outcome, function, item): index for index, item in enumerate(items)}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:  # stopped: what is being done is done again by the next call
            for worker in set(multiprocessing.active_children()) - others:
                worker.terminate()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _outcome(function: Callable[[Item], Result], item: Item) -> Result | Exception:
    try:
        return function(item)
    except Exception as error:  # noqa: BLE001 - whatever ended this piece must not end the others
        return error


def _start() -> None:
    """In a worker: register what runs name, and end when the parent does, however it ends."""
    import datasets
    import trainers

    follow_parent()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    datasets.register_all()
    trainers.register_all()
