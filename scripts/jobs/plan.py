"""A plan: a directed acyclic graph of jobs, and the loop that hands them to an
executor: processes of this machine, a Ray cluster, or any other that runs functions.
"""

import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from graphlib import TopologicalSorter
from typing import Protocol

from toolkit.common.files import InUse
from toolkit.common.plugins import raised_by_user
from toolkit.common.text import printable

# how often a job may lose its worker before the job itself is taken for the cause
MAX_LOSSES = 3
LONGEST_TRACE = 20_000  # characters of a traceback


@dataclass(frozen=True)
class Job:
    """One piece of work."""

    name: str  # unique in a plan; also the job's folder below the output folder
    kind: str  # for counts ("source", "adaptation", "transfer")
    settings: dict = field(hash=False)  # all that distinguishes it; plain JSON data
    needs: tuple[str, ...] = ()  # names of the jobs whose results it reads
    weight: float = 1.0  # expected seconds on one core
    images: int = 0  # training images that it sees, over all epochs
    family: str = ""  # jobs whose weights err alike (a method's), for the time left


class Plan:
    """Jobs in an order in which each comes after those that it needs."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs.values())

    def add(self, job: Job) -> str:
        """Add a job unless it is there already, and return its name. Raises ValueError
        if another job has the name, or a need is not in the plan.
        """
        for name in job.needs:
            if name not in self.jobs:
                raise ValueError(
                    f"job {job.name} needs {name}, which is not in the plan"
                )
        known = self.jobs.setdefault(job.name, job)
        different = []
        keys = known.settings.keys() | job.settings.keys()
        for key in sorted(keys):
            if known.settings.get(key) != job.settings.get(key):
                different.append(key)
        if not different and known.needs != job.needs:
            different.append("needs")
        if different:
            raise ValueError(
                f"two different jobs are named {job.name}; they differ in {', '.join(different)}"
            )
        return job.name

    def counts(self) -> Counter[str]:
        """Return the number of jobs of each kind."""
        return Counter(job.kind for job in self)

    def chain_weights(self) -> dict[str, float]:
        """Return each job's weight with that of the longest chain after it."""
        weights = {job.name: job.weight for job in self}
        for job in reversed(self.jobs.values()):
            after = weights[job.name]
            for name in job.needs:
                chain = self.jobs[name].weight + after
                weights[name] = max(weights[name], chain)
        return weights


@dataclass(frozen=True)
class Outcome:
    """How one try of a job ended."""

    job: Job
    seconds: float  # duration of the try
    error: str = ""  # why it failed
    wrong: bool = False  # its input is wrong, so that another try would fail, too
    lost: bool = False  # its worker or node went away; it need not be the job's fault
    again: bool = False  # it will be tried again
    where: str = ""  # the node that it ran on, if there are several


def attempt(perform: Callable[[Job, object], None], place: object, job: Job) -> Outcome:
    """Try a job; whatever it raises is its outcome. ValueError and FileNotFoundError
    mean wrong input; InUse, that a lost try still works in the folder. An error in a
    plugin's own line comes with its traceback.
    """
    began = time.monotonic()
    try:
        perform(job, place)
    except Exception as failure:  # noqa: BLE001 - whatever ended this job must not end the others
        if os.environ.get("MVLPT_DEBUG"):
            traceback.print_exc()
        lost = isinstance(failure, InUse)
        wrong = isinstance(failure, (ValueError, FileNotFoundError)) and not lost
        error = printable(f"{type(failure).__name__}: {failure}".strip())
        if raised_by_user(failure):
            trace = traceback.format_exc().strip()
            error = f"{error}\n{printable(trace, LONGEST_TRACE, lines=True)}"
        seconds = time.monotonic() - began
        return Outcome(job, seconds, error, wrong, lost)
    return Outcome(job, time.monotonic() - began)


def hanging(job: Job, seconds: float, timeout: float) -> Outcome:
    """Return the outcome of a job that is lost as it took more than `timeout` seconds."""
    reason = f"it took more than {timeout / 3600:g} hours (--job-timeout)"
    return Outcome(job, seconds, reason, lost=True)


class Executor(Protocol):
    """Runs jobs, at most `slots` at a time; `slots` is at least 1 and may change."""

    @property
    def slots(self) -> int: ...

    def submit(self, job: Job) -> None:
        """Start a job; called only while fewer than `slots` run."""

    def wait(self) -> list[Outcome]:
        """Block until a job has ended or `slots` has grown; return new outcomes."""


@dataclass
class Report:
    """The outcomes of a plan's jobs, by name."""

    reused: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  # -> message
    # -> the failed job that it would have needed
    skipped: dict[str, str] = field(default_factory=dict)


class Clock:
    """The time left, by expected weights and how long jobs of a family took."""

    def __init__(self, jobs: Iterable[Job], slots: int) -> None:
        self.left = {job.name: job for job in jobs}
        self.slots = max(1, slots)
        self.expected: Counter = Counter()
        self.measured: Counter = Counter()

    def ended(self, outcome: Outcome) -> None:
        """Take note of a job that has ended; those that succeeded correct the estimate."""
        if not outcome.error:
            for family in (outcome.job.family, None):
                self.expected[family] += outcome.job.weight
                self.measured[family] += outcome.seconds
        self.left.pop(outcome.job.name, None)

    def seconds(self) -> float:
        """Return the expected seconds until the last job ends."""
        total = 0.0
        for job in self.left.values():
            total += job.weight * self._correction(job.family)
        return total / self.slots

    def _correction(self, family: str) -> float:
        for key in (family, None):
            if self.expected[key] > 0:
                return self.measured[key] / self.expected[key]
        return 1.0


def run_plan(
    plan: Plan,
    executor: Executor,
    finished: Callable[[Job], bool],
    report: Callable[[Outcome, Clock], None] = lambda outcome, clock: None,
    retries: int = 0,
) -> Report:
    """Run every job that has no results yet, as soon as those that it needs have ended;
    if its input is wrong, or its last try failed, its dependents are skipped.

    finished: True if a job's results exist; a ValueError or OSError is that job's
    failure. report: called after each try. retries: of a job that failed; tries that
    were lost with their worker don't count, `MAX_LOSSES` of them are repeated.
    """
    run = _PlanRun(plan, executor, report, retries)
    run.reuse(finished)
    run.queue_ready_jobs()
    while run.waiting or run.running:
        run.start_jobs()
        for outcome in executor.wait():
            run.job_ended(outcome)
        run.queue_ready_jobs()
    return run.result


@dataclass
class _PlanRun:
    """The state of `run_plan`."""

    plan: Plan
    executor: Executor
    report: Callable[[Outcome, Clock], None]
    retries: int
    result: Report = field(default_factory=Report)
    waiting: list[Job] = field(default_factory=list)
    running: int = 0
    # (job, worker was lost) -> times
    failed_tries: Counter = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.clock = Clock(self.plan, self.executor.slots)
        self.chain_weights = self.plan.chain_weights()
        needs = {job.name: job.needs for job in self.plan}
        self.graph = TopologicalSorter(needs)
        self.graph.prepare()

    def reuse(self, finished: Callable[[Job], bool]) -> None:
        """Settle the jobs whose results, or another job's, are there."""
        reused: set[str] = set()
        for job in self.plan:
            if not reused.issuperset(job.needs):
                continue
            try:
                if finished(job):
                    reused.add(job.name)
                    self.result.reused.append(job.name)
                    del self.clock.left[job.name]
            except (ValueError, OSError) as error:
                self._settle(Outcome(job, 0.0, printable(error)))

    def queue_ready_jobs(self) -> None:
        """Queue the jobs whose needs are met; skip those that need a job that failed."""
        result = self.result
        while names := self.graph.get_ready():
            for name in names:
                job = self.plan.jobs[name]
                for need in job.needs:
                    if need in result.failed or need in result.skipped:
                        result.skipped[name] = result.skipped.get(need, need)
                        self.clock.left.pop(name, None)
                        break
                if name in self.clock.left:  # neither reused, failed nor skipped
                    self.waiting.append(job)
                else:
                    self.graph.done(name)

    def start_jobs(self) -> None:
        self.clock.slots = self.executor.slots
        self.waiting.sort(key=lambda job: -self.chain_weights[job.name])
        while self.waiting and self.running < self.clock.slots:
            self.executor.submit(self.waiting.pop(0))
            self.running += 1

    def job_ended(self, outcome: Outcome) -> None:
        """Settle a job that has ended, or queue it again."""
        self.running -= 1
        if outcome.error and not outcome.wrong:
            key = (outcome.job.name, outcome.lost)
            self.failed_tries[key] += 1
            limit = MAX_LOSSES if outcome.lost else self.retries
            if self.failed_tries[key] <= limit:
                self.waiting.append(outcome.job)
                outcome = replace(outcome, again=True)
                self.report(outcome, self.clock)
                return
        self._settle(outcome)
        self.graph.done(outcome.job.name)

    def _settle(self, outcome: Outcome) -> None:
        self.clock.ended(outcome)
        if outcome.error:
            self.result.failed[outcome.job.name] = outcome.error
        else:
            self.result.done.append(outcome.job.name)
        self.report(outcome, self.clock)
