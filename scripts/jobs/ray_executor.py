"""An executor of Ray actors, anywhere on a cluster. Each performs many jobs, so that the backbone, decoded images and features
are there once an actor; unlike a task's worker, it keeps its GPU."""

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
from dataclasses import replace
from pathlib import Path

from .plan import Job, Outcome
from .processes import attempt

ROOT = Path(__file__).resolve().parents[2]
log = logging.getLogger(__name__)


class Ray:
    """Runs `perform(job, place)` on a Ray cluster; a context manager that leaves nothing running there.

    An actor that is lost, by itself or with its node, takes its job with it, which is lost, and is replaced.

    Args:
        folder: that jobs work in; all nodes must see it under this path, and the code and the data too.
        address: "auto", "HOST:PORT", or "local" for a Ray on this machine that ends with this one.
        cpus, gpus: of the cluster for each job; 0.5 lets two share one.
        most: jobs at a time; None: what fits.

    Raises ValueError where Ray is not installed, does not answer, or has no node that one job fits on.
    """

    settle = 5.0  # seconds before a lost job is given back, as a lost node's worker may go on for one

    def __init__(
        self,
        perform: Callable[[Job, object], None],
        place: object,
        folder: Path,
        address: str,
        cpus: float = 1.0,
        gpus: float = 0.0,
        most: int | None = None,
    ) -> None:
        self.work = (perform, place, os.getcwd(), str(folder.resolve() / ".nodes"), uuid.uuid4().hex)
        self.address, self.cpus, self.gpus, self.most = address, cpus, gpus, most
        self.queue: list[Job] = []
        self.starting: dict = {}  # reference of its node -> actor; one may have to wait for a node
        self.idle: list[tuple] = []  # (actor, node)
        self.busy: dict = {}  # reference of the outcome -> (actor, node, job, when it was started)
        self.lost: list[tuple[float, Outcome]] = []  # (when to give it back, outcome)

    def __enter__(self) -> Ray:
        self.ray = connect(self.address, _environment(self.cpus))
        nodes = _nodes(self.ray)
        if not any(map(self._fit, nodes)):
            self.ray.shutdown()
            most = [f"{max((node.get(name, 0) for node in nodes), default=0):g} {name}s" for name in ("CPU", "GPU")]
            raise ValueError(
                f"--cpus {self.cpus:g} --gpus {self.gpus:g}: a job fits on no node of the cluster; the most that one has "
                f"is {' and '.join(most)}"
            )
        if not self.gpus and any(node.get("GPU") for node in nodes):
            log.warning("the cluster has GPUs, and no job gets any of them: see --gpus")
        Path(self.work[3]).write_text(self.work[4], encoding="utf-8")
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_restarts": 0, "max_task_retries": 0}
        self.worker = self.ray.remote(**options)(_Worker)
        return self

    def __exit__(self, *_) -> None:
        for actor in [*self.starting.values(), *(actor for actor, *_ in [*self.idle, *self.busy.values()])]:
            self.ray.kill(actor)
        self.ray.shutdown()
        Path(self.work[3]).unlink(missing_ok=True)

    @property
    def slots(self) -> int:
        """How many jobs fit onto the nodes that there are; 1 where there is none, to wait for one."""
        fit = sum(map(self._fit, _nodes(self.ray)))
        return max(1, fit if self.most is None else min(fit, self.most))

    def submit(self, job: Job) -> None:
        """Queue a job for the first actor that is free, and start one if none is."""
        self.queue.append(job)
        self._dispatch()

    def wait(self) -> list[Outcome]:
        """The outcomes of at least one job, or none where more jobs fit onto the cluster than before."""
        before = self.slots
        while True:
            references, now = [*self.starting, *self.busy], time.monotonic()
            if references:
                references, _ = self.ray.wait(references, timeout=1.0)
            else:  # all that ran were lost
                time.sleep(1.0)
            outcomes = [outcome for reference in references if (outcome := self._ready(reference))]
            self.lost += [(now + self.settle, outcome) for outcome in outcomes if outcome.lost]
            ended = [outcome for outcome in outcomes if not outcome.lost]
            ended += [outcome for when, outcome in self.lost if when <= now]
            self.lost = [(when, outcome) for when, outcome in self.lost if when > now]
            self._dispatch()
            if ended or self.slots > before:
                return ended

    def _dispatch(self) -> None:
        """Hand queued jobs to idle actors, and have an actor started for each that is left."""
        while self.queue and self.idle:
            (actor, node), job = self.idle.pop(), self.queue.pop(0)
            self.busy[actor.do.remote(job)] = (actor, node, job, time.monotonic())
        while len(self.starting) < len(self.queue):
            actor = self.worker.remote(*self.work)
            self.starting[actor.node.remote()] = actor

    def _ready(self, reference) -> Outcome | None:
        """An actor has started, or has ended a job, or is lost; the outcome of its job. A lost one that had none takes a queued
        one along, so that an actor that can't be started is noticed."""
        node, job, began = "", None, time.monotonic()
        if reference in self.starting:
            actor = self.starting.pop(reference)
        else:
            actor, node, job, began = self.busy.pop(reference)
        try:
            result = self.ray.get(reference)
        except self.ray.exceptions.RayError as failure:
            self._drop(actor, node)
            job = job or (self.queue.pop(0) if self.queue else None)
            return Outcome(job, time.monotonic() - began, _reason(failure), lost=True) if job else None
        self.idle.append((actor, node or result))
        return result if job else None

    def _drop(self, actor, node: str) -> None:
        """A lost actor's node may be lost: others that are idle there are given up, too."""
        gone = [other for other, place in self.idle if place == node]
        self.idle = [(other, place) for other, place in self.idle if place != node]
        for one in (actor, *gone):
            self.ray.kill(one)  # where only the connection was lost, it must not go on

    def _fit(self, node: dict[str, float]) -> int:
        """How many jobs a node with these resources takes."""
        fits = _shares(node.get("CPU", 0.0), self.cpus)
        return min(fits, _shares(node.get("GPU", 0.0), self.gpus)) if self.gpus else fits


class _Worker:
    """An actor: tries jobs, one after the other."""

    def __init__(self, perform: Callable, place: object, home: str, mark: str, token: str) -> None:
        self.perform, self.place, self.home, self.mark, self.token = perform, place, home, mark, token

    def node(self) -> str:
        """Where it is, as Ray calls it."""
        import ray

        return ray.get_runtime_context().get_node_id()

    def do(self, job: Job) -> Outcome:
        """Try a job."""
        return replace(attempt(self._do, job, self.place), where=platform.node())

    def _do(self, job: Job, place: object) -> None:
        mark = Path(self.mark)
        if not mark.is_file() or mark.read_text(encoding="utf-8") != self.token or not Path(self.home).is_dir():
            raise OSError(f"node {platform.node()} does not see {mark.parent}: all nodes must share its file system")
        os.chdir(self.home)  # relative paths are those of the command
        self.perform(job, place)


def connect(address: str, environment: dict[str, str]):
    """The ray module, connected to a cluster whose workers get these variables. Raises ValueError."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError:
        raise ValueError(
            "--address: Ray is not installed: pip install ray, or leave --address out to work in processes of this machine"
        ) from None
    if address.startswith("ray://"):
        raise ValueError(f"--address {address}: start this command on a node of the cluster, with --address auto")
    host, _, port = address.rpartition(":")
    try:
        if port.isdigit():  # Ray itself tries for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        raise ValueError(f"--address {address}: nothing answers there ({error})") from None
    before = signal.getsignal(signal.SIGTERM)  # ray.init puts its own in place
    local = {"include_dashboard": False, "object_store_memory": 10**8} if address == "local" else {}
    try:
        ray.init(
            address,
            runtime_env={"env_vars": environment},
            log_to_driver=bool(os.environ.get("MVLPT_DEBUG")),
            logging_level=logging.WARNING,
            **local,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ValueError(f"--address {address}: no Ray cluster there: {' '.join(str(error).split())}") from None
    finally:
        signal.signal(signal.SIGTERM, before)
    return ray


def _environment(cpus: float) -> dict[str, str]:
    """Variables of the workers: where our code is, their share of the cores, no bars, and ours."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    values = {"PYTHONPATH": path, "OMP_NUM_THREADS": str(max(1, math.floor(cpus))), "TQDM_DISABLE": "1"}
    return values | {name: value for name, value in os.environ.items() if name.startswith("MVLPT_")}


def _reason(failure: Exception) -> str:
    """A lost actor's end in a line: what kept it from starting is in the last one of Ray's message."""
    if "creation task" in str(failure):
        return f"its worker did not start: {str(failure).strip().splitlines()[-1].strip()}"
    return f"its worker or node was lost ({type(failure).__name__})"


def _nodes(ray) -> list[dict[str, float]]:
    """The resources of each node that is there."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _shares(there: float, wanted: float) -> int:
    """How many jobs get their share: of a part of a GPU, each from one GPU."""
    if wanted >= 1:
        return int(there // wanted)
    return int(there) * math.floor(1 / wanted + 1e-9)
