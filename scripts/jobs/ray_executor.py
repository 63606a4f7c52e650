"""An executor of Ray actors, anywhere on a cluster. Each actor performs many jobs, so
that it loads the backbone, decoded images and features once; unlike a task's worker, it
keeps its GPU.
"""

from __future__ import annotations

import logging
import math
import os
import platform
import signal
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .plan import Job, Outcome, attempt, hanging

ROOT = Path(__file__).resolve().parents[2]
log = logging.getLogger(__name__)


@dataclass
class _Actor:
    """An actor of Ray's: the node that it is on ("" while it starts), and its job."""

    handle: Any
    node: str = ""
    job: Job | None = None
    began: float = field(default_factory=time.monotonic)


@dataclass
class Ray:
    """Runs `perform(job, place)` on a Ray cluster; a context manager that leaves
    nothing running there. An actor that is lost, by itself or with its node, takes its
    job with it and is replaced: Ray's own retries would leave no line in the log, and
    count a job that ends its worker as lost for ever.

    folder: jobs work in it; all nodes must see it, the code and the data. address:
    "auto", "HOST:PORT", or "local" for a Ray that ends with this process. cpus, gpus:
    for each job; 0.5 lets two share one. most: jobs at a time; None: as many as fit.
    timeout: seconds after which a try is lost, and so is its actor. settle: seconds
    before a lost job is given back, as its worker may run on. Raises ValueError if Ray
    is not installed, does not answer, or has no node that one job fits on.
    """

    perform: Callable[[Job, object], None]
    place: object
    folder: Path
    address: str
    cpus: float = 1.0
    gpus: float = 0.0
    most: int | None = None
    timeout: float = 86400.0
    settle: float = 5.0

    def __post_init__(self) -> None:
        self.mark = self.folder.resolve() / ".nodes"
        self.token = uuid.uuid4().hex
        self.queue: list[Job] = []
        self.idle: list[_Actor] = []
        # reference of its node or outcome -> an actor that starts or works
        self.pending: dict[Any, _Actor] = {}
        self.lost: list[tuple[float, Outcome]] = []  # (when to give it back, outcome)

    def __enter__(self) -> Ray:
        self.ray = connect(self.address, _environment(self.cpus))
        nodes = self._nodes()
        if not any(self._jobs_that_fit(node) for node in nodes):
            self.ray.shutdown()
            cpus_by_node = [node.get("CPU", 0) for node in nodes]
            cpus = max(cpus_by_node, default=0)
            gpus_by_node = [node.get("GPU", 0) for node in nodes]
            gpus = max(gpus_by_node, default=0)
            raise ValueError(
                f"--cpus {self.cpus:g} --gpus {self.gpus:g}: a job fits on no node of the cluster; the most that one has "
                f"is {cpus:g} CPUs and {gpus:g} GPUs"
            )
        if not self.gpus and any(node.get("GPU") for node in nodes):
            log.warning("the cluster has GPUs, and no job gets any of them: see --gpus")
        self.mark.write_text(self.token, encoding="utf-8")
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        remote = self.ray.remote(max_restarts=0, max_task_retries=0, **options)
        self.worker = remote(_Worker)
        return self

    def __exit__(self, *_) -> None:
        for actor in [*self.pending.values(), *self.idle]:
            self.ray.kill(actor.handle)
        self.ray.shutdown()
        self.mark.unlink(missing_ok=True)

    @property
    def slots(self) -> int:
        """Return the number of jobs that fit onto the present nodes, at least 1."""
        fit = sum(self._jobs_that_fit(node) for node in self._nodes())
        if self.most is not None:
            fit = min(fit, self.most)
        return max(1, fit)

    def submit(self, job: Job) -> None:
        """Queue a job for the first actor that is free, and start one if none is."""
        self.queue.append(job)
        self._dispatch()

    def wait(self) -> list[Outcome]:
        """Return the outcomes of at least one job, or none if `slots` has grown."""
        before = self.slots
        while True:
            ended = self._ended()
            self._dispatch()
            if ended or self.slots > before:
                return ended

    def _ended(self) -> list[Outcome]:
        """Return outcomes of the next second. Kill actors whose job takes too long."""
        references = list(self.pending)
        now = time.monotonic()
        if references:
            references, _ = self.ray.wait(references, timeout=1.0)
        else:  # all that ran were lost
            time.sleep(1.0)
        outcomes = [self._receive(reference) for reference in references]
        for reference, actor in list(self.pending.items()):
            seconds = now - actor.began
            if actor.job is not None and seconds >= self.timeout:
                del self.pending[reference]
                self.ray.kill(actor.handle)
                outcomes.append(hanging(actor.job, seconds, self.timeout))
        ended = []
        for outcome in filter(None, outcomes):
            if outcome.lost:
                self.lost.append((now + self.settle, outcome))
            else:
                ended.append(outcome)
        ended += [outcome for when, outcome in self.lost if when <= now]
        self.lost = [one for one in self.lost if one[0] > now]
        return ended

    def _dispatch(self) -> None:
        """Send queued jobs to idle actors, and start an actor for each other job."""
        while self.queue and self.idle:
            actor = self.idle.pop()
            actor.job = self.queue.pop(0)
            actor.began = time.monotonic()
            reference = actor.handle.do.remote(actor.job)
            self.pending[reference] = actor
        starting = sum(actor.job is None for actor in self.pending.values())
        for _ in range(len(self.queue) - starting):
            work = (self.perform, self.place, os.getcwd(), self.mark, self.token)
            actor = _Actor(self.worker.remote(*work))
            self.pending[actor.handle.node.remote()] = actor

    def _receive(self, reference: Any) -> Outcome | None:
        """Return the outcome of an actor that has ended a job or is lost, if any. An
        actor that is lost while it starts takes a queued job along, so that actors that
        never start are noticed.
        """
        actor = self.pending.pop(reference)
        try:
            result = self.ray.get(reference)
        except self.ray.exceptions.RayError as failure:
            gone = [other for other in self.idle if other.node == actor.node]
            self.idle = [other for other in self.idle if other.node != actor.node]
            for one in (actor, *gone):  # those on its node, which may be lost, too
                # if only the connection was lost, it must not work on
                self.ray.kill(one.handle)
            if actor.job is None and self.queue:
                actor.job = self.queue.pop(0)
            if actor.job is None:
                return None
            seconds = time.monotonic() - actor.began
            return Outcome(actor.job, seconds, _reason(failure), lost=True)
        self.idle.append(actor)
        if actor.job is None:
            actor.node = result
            return None
        actor.job = None
        return result

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def _jobs_that_fit(self, node: dict[str, float]) -> int:
        """Return how many jobs a node takes; parts of a GPU are of one and the same."""
        wanted = {"CPU": self.cpus, "GPU": self.gpus}
        fits = []
        for name, share in wanted.items():
            available = node.get(name, 0.0)
            if share >= 1:
                fits.append(int(available // share))
            elif share > 0:
                fits.append(int(available) * math.floor(1 / share + 1e-9))
        return min(fits)


@dataclass
class _Worker:
    """An actor: tries jobs, one after the other."""

    perform: Callable[[Job, object], None]
    place: object
    home: str
    mark: Path
    token: str

    def node(self) -> str:
        """Return Ray's identifier of the node that this actor is on."""
        import ray

        return ray.get_runtime_context().get_node_id()

    def do(self, job: Job) -> Outcome:
        """Try a job."""
        outcome = attempt(self._do, self.place, job)
        return replace(outcome, where=platform.node())

    def _do(self, job: Job, place: object) -> None:
        token = ""
        if self.mark.is_file():
            token = self.mark.read_text(encoding="utf-8")
        if token != self.token or not Path(self.home).is_dir():
            raise OSError(
                f"node {platform.node()} does not see {self.mark.parent}: all nodes must share its file system"
            )
        os.chdir(self.home)  # relative paths are those of the command
        self.perform(job, place)


def connect(address: str, environment: dict[str, str]) -> Any:
    """Return ray, connected, its workers with these variables, or raise ValueError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise ValueError(
            "--address: Ray is not installed: pip install ray, or leave --address out to work in processes of this machine"
        ) from None
    if address.startswith("ray://"):
        raise ValueError(
            f"--address {address}: start this command on a node of the cluster, with --address auto"
        )
    host, _, port = address.rpartition(":")
    try:
        if port.isdigit():  # Ray itself tries for minutes
            connection = socket.create_connection((host, int(port)), timeout=10)
            connection.close()
    except OSError as error:
        raise ValueError(
            f"--address {address}: nothing answers there ({error})"
        ) from None
    shows_logs = bool(os.environ.get("MVLPT_DEBUG"))
    options = {"log_to_driver": shows_logs, "logging_level": logging.WARNING}
    if address == "local":
        options |= {"include_dashboard": False, "object_store_memory": 10**8}
    before = signal.getsignal(signal.SIGTERM)  # ray.init installs its own
    try:
        ray.init(address, runtime_env={"env_vars": environment}, **options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"--address {address}: no Ray cluster: {reason}") from None
    finally:
        signal.signal(signal.SIGTERM, before)
    return ray


def _environment(cpus: float) -> dict[str, str]:
    """Return the workers' variables: paths, their share of the cores, MVLPT_*."""
    values = {"PYTHONPATH": str(ROOT), "TQDM_DISABLE": "1"}
    if os.environ.get("PYTHONPATH"):
        values["PYTHONPATH"] += os.pathsep + os.environ["PYTHONPATH"]
    threads = max(1, math.floor(cpus))
    values["OMP_NUM_THREADS"] = str(threads)
    for name, value in os.environ.items():
        if name.startswith("MVLPT_"):
            values[name] = value
    return values


def _reason(failure: Exception) -> str:
    if "creation task" in str(failure):
        *_, last_line = str(failure).strip().splitlines()
        return f"its worker did not start: {last_line.strip()}"
    return f"its worker or node was lost ({type(failure).__name__})"
