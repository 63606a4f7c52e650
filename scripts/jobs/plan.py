"""The plan of a study: a directed acyclic graph of jobs, and the loop that hands them to an executor.

A plan is plain data and knows nothing of how its jobs are run; an executor knows nothing of what they mean. So the same
plan runs in the processes of this machine (`scripts.jobs.local_executor`), on a Ray cluster (`scripts.jobs.ray_executor`), or anywhere
else that can run a function.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

log = logging.getLogger(__name__)
LOSSES = 3  # how often a job may lose its worker before that is taken for its own doing


@dataclass(frozen=True)
class Job:
    """One piece of work, the same wherever it is wanted.

    Attributes:
        name: unique in a plan; also its folder below the study's.
        kind: what it is, for counts ("source", "adaptation", "transfer", "groups").
        settings: everything that tells it from other jobs; plain JSON data.
        needs: names of the jobs whose results it reads.
        weight: expected seconds on one core.
        images: training images that it sees, over all epochs.
        family: jobs whose weights err alike (a method's, say), for the estimate of the time left.
    """

    name: str
    kind: str
    settings: dict = field(hash=False)
    needs: tuple[str, ...] = ()
    weight: float = 1.0
    images: int = 0
    family: str = ""


class Plan:
    """Jobs in an order in which each comes after those that it needs."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs.values())

    def add(self, job: Job) -> str:
        """Add a job unless it is there already; its name.

        Raises ValueError when another job has the name, or when a job that it needs is not in the plan.
        """
        known = self.jobs.get(job.name)
        if known is None:
            missing = [name for name in job.needs if name not in self.jobs]
            if missing:
                raise ValueError(f"job {job.name} needs {missing[0]}, which is not in the plan")
            self.jobs[job.name] = job
        elif (known.settings, known.needs) != (job.settings, job.needs):
            keys = known.settings.keys() | job.settings.keys()
            other = sorted(key for key in keys if known.settings.get(key) != job.settings.get(key)) or ["needs"]
            raise ValueError(f"two different jobs are named {job.name}; they differ in {', '.join(other)}")
        return job.name

    def counts(self) -> dict[str, int]:
        """How many jobs of each kind there are."""
        return dict(Counter(job.kind for job in self))

    def weight(self) -> float:
        """Expected seconds of all jobs on one core."""
        return sum(job.weight for job in self)

    def tails(self) -> dict[str, float]:
        """For each job the weight of the longest chain that starts with it: those with the longest are started first."""
        tails = {job.name: job.weight for job in self}
        for job in reversed(list(self)):
            for name in job.needs:
                tails[name] = max(tails[name], self.jobs[name].weight + tails[job.name])
        return tails


@dataclass(frozen=True)
class Outcome:
    """How one try of a job ended.

    Attributes:
        seconds: that it took.
        error: why it failed; "" where it did not.
        wrong: its input is wrong, so that another try would fail, too.
        lost: its worker or node went away, which need not be the job's fault.
        again: it will be tried again.
        where: the node that it ran on, where there are several.
    """

    job: Job
    seconds: float
    error: str = ""
    wrong: bool = False
    lost: bool = False
    again: bool = False
    where: str = ""


class Executor(Protocol):
    """Runs jobs, at most `slots` at a time; `slots` is at least 1 and may change."""

    @property
    def slots(self) -> int: ...

    def submit(self, job: Job) -> None:
        """Start a job; called only while fewer than `slots` run."""

    def wait(self) -> list[Outcome]:
        """Block until at least one started job has ended, or until `slots` has grown; those that have ended."""


@dataclass
class Report:
    """What became of a plan's jobs, by name."""

    reused: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # -> message
    skipped: dict[str, str] = field(default_factory=dict)  # -> the failed job that it would have needed

    def holds(self, names: Iterable[str]) -> bool:
        """Whether all these jobs' results are there."""
        return {*self.reused, *self.done}.issuperset(names)


class Clock:
    """The time left, from expected weights and from how long finished jobs of the same family really took."""

    def __init__(self, jobs: Iterable[Job], slots: int) -> None:
        self.left = {job.name: job for job in jobs}
        self.slots = max(1, slots)
        self.expected: Counter = Counter()
        self.measured: Counter = Counter()

    def ended(self, outcome: Outcome) -> None:
        """Take note of a finished job."""
        if not outcome.error:
            for family in (outcome.job.family, None):
                self.expected[family] += outcome.job.weight
                self.measured[family] += outcome.seconds
        self.drop(outcome.job.name)

    def drop(self, name: str) -> None:
        """A job that need not run any more."""
        self.left.pop(name, None)

    def seconds(self) -> float:
        """Expected seconds until the last job ends."""
        return sum(job.weight * self._correction(job.family) for job in self.left.values()) / self.slots

    def _correction(self, family: str) -> float:
        key = family if self.expected[family] > 0 else None
        return self.measured[key] / self.expected[key] if self.expected[key] > 0 else 1.0


def run_plan(
    plan: Plan,
    executor: Executor,
    finished: Callable[[Job], bool],
    report: Callable[[Outcome, Clock], None] = lambda outcome, clock: None,
    retries: int = 0,
) -> Report:
    """Run every job that has no results yet, as soon as those that it needs have ended.

    A failed job is tried again, unless its input is wrong; then its dependents are skipped, and everything else goes on.

    Args:
        finished: whether a job's results exist; such a job is reused if all that it needs is. A ValueError or OSError
            is that job's failure.
        report: called after each try of a job.
        retries: how often a job that failed is tried again. Tries that were lost with their worker don't count; of
            those, `LOSSES` are made good.
    """
    result, tails = Report(), plan.tails()
    clock = Clock(plan, executor.slots)
    waiting: dict[str, Job] = {}
    failures: Counter = Counter()  # (job, whether its worker was lost) -> times

    def tried_again(outcome: Outcome) -> bool:
        key = (outcome.job.name, outcome.lost)
        failures[key] += 1
        return not outcome.wrong and failures[key] <= (LOSSES if outcome.lost else retries)

    def settle(outcome: Outcome) -> None:
        clock.ended(outcome)
        if outcome.error:
            result.failed[outcome.job.name] = outcome.error
        else:
            result.done.append(outcome.job.name)
        report(outcome, clock)

    for job in plan:
        try:
            reuse = result.holds(job.needs) and finished(job)
        except (ValueError, OSError) as error:
            settle(Outcome(job, 0.0, str(error)))
            continue
        if reuse:
            result.reused.append(job.name)
            clock.drop(job.name)
        else:
            waiting[job.name] = job

    complete, running = set(result.reused), 0
    while waiting or running:
        for job in list(waiting.values()):
            lost = next((name for name in job.needs if name in result.failed or name in result.skipped), None)
            if lost:
                result.skipped[job.name] = result.skipped.get(lost, lost)
                clock.drop(job.name)
                del waiting[job.name]
        ready = [job for job in waiting.values() if complete.issuperset(job.needs)]
        clock.slots = executor.slots
        for job in sorted(ready, key=lambda job: -tails[job.name])[: max(0, clock.slots - running)]:
            executor.submit(waiting.pop(job.name))
            running += 1
        if running:
            for outcome in executor.wait():
                running -= 1
                if outcome.error and tried_again(outcome):
                    waiting[outcome.job.name] = outcome.job
                    report(replace(outcome, again=True), clock)
                    continue
                settle(outcome)
                if not outcome.error:
                    complete.add(outcome.job.name)
    return result
