"""Curves and results of a run in an experiment tracker: W&B, MLflow or trackio.

A backend has `start`, `log` and `finish`; none of the packages is a requirement. An
error of a backend never ends a training run: it is one warning, and nothing more is
sent.
"""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from toolkit.common.structured import read_json, write_json

log = logging.getLogger(__name__)

PROJECT = "mvlpt"  # unless the backend's own environment variable names another
RECORD = "tracking.json"  # in a run's folder: backend -> id of its run


class Backend(Protocol):
    """The interface of a tracker."""

    def start(self, name: str, settings: Mapping[str, Any], run_id: str | None) -> str:
        """Open a run, or continue the one of an id; return its id."""
        ...

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve."""
        ...

    def finish(self, scores: Mapping[str, float]) -> None:
        """Record final scores and close the run."""
        ...


class Wandb:
    """Weights & Biases; WANDB_MODE=offline keeps the run in a local folder."""

    project_variable = "WANDB_PROJECT"

    def __init__(self, package: ModuleType) -> None:
        self.package = package

    def start(self, name: str, settings: Mapping[str, Any], run_id: str | None) -> str:
        self.run = self.package.init(
            project=os.environ.get(self.project_variable, PROJECT),
            name=name,
            config=dict(settings),
            id=run_id,
            resume="allow",
        )
        return self.run.id

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def finish(self, scores: Mapping[str, float]) -> None:
        self.run.summary.update(dict(scores))
        self.run.finish()


class Trackio:
    """Trackio, which keeps runs in a local database and knows them by name."""

    project_variable = "TRACKIO_PROJECT"

    def __init__(self, package: ModuleType) -> None:
        self.package = package
        self.step = 0

    def start(self, name: str, settings: Mapping[str, Any], run_id: str | None) -> str:
        self.package.init(
            project=os.environ.get(self.project_variable, PROJECT),
            name=run_id or name,
            config=dict(settings),
            resume="allow",
        )
        return run_id or name

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.step = step
        self.package.log(dict(values), step=step)

    def finish(self, scores: Mapping[str, float]) -> None:
        self.package.log(dict(scores), step=self.step)
        self.package.finish()


class Mlflow:
    """MLflow; MLFLOW_TRACKING_URI names the server or the folder."""

    project_variable = "MLFLOW_EXPERIMENT_NAME"
    PARAMETERS = 100  # of a request, at most
    LENGTH = 500  # of a parameter's text, at most

    def __init__(self, package: ModuleType) -> None:
        self.package = package

    def start(self, name: str, settings: Mapping[str, Any], run_id: str | None) -> str:
        self.package.set_experiment(os.environ.get(self.project_variable, PROJECT))
        run = self.package.start_run(run_id=run_id, run_name=name)
        if run_id is None:
            self._log_settings(settings)
        return run.info.run_id

    def _log_settings(self, settings: Mapping[str, Any]) -> None:
        texts = [(key, str(value)[: self.LENGTH]) for key, value in settings.items()]
        for first in range(0, len(texts), self.PARAMETERS):
            part = texts[first : first + self.PARAMETERS]
            self.package.log_params(dict(part))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.package.log_metrics(self._named(values), step=step)

    def finish(self, scores: Mapping[str, float]) -> None:
        self.package.log_metrics(self._named(scores))
        self.package.end_run()

    def _named(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the values under names that MLflow allows."""
        return {re.sub(r"[^\w.:/ -]", "_", name): v for name, v in values.items()}


BACKENDS = {"wandb": Wandb, "mlflow": Mlflow, "trackio": Trackio}


def check_backend(name: str) -> None:
    """Raise ValueError if the package of a tracker is not installed."""
    if name:
        _package(name)


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--track {name}: {error}; install it with: pip install {name}"
        ) from None


class Tracker:
    """One run in a tracker, or in none (`Tracker()`).

    A backend's exceptions end the tracking, not the run.
    """

    def __init__(self, backend: Backend | None = None, name: str = "") -> None:
        self.backend = backend
        self.name = name

    def start(self, title: str, settings: Mapping[str, Any], folder: Path) -> None:
        """Open the tracker's run, the same one again if the folder's run is resumed.

        settings: of the run, {key: value}, without paths of this machine.
        """
        if self.backend is None:
            return
        known = _read_ids(folder / RECORD)
        started = self._try("start", title, settings, known.get(self.name))
        if self.backend is not None:
            write_json(folder / RECORD, known | {self.name: started}, indent=1)

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve at an epoch."""
        self._try("log", values, step)

    def finish(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Record each task's final score, and zero-shot's, in percent; close the run.

        A run without a test (TEST.NO_TEST) has no scores.
        """
        scores = {}
        for record in records:
            task = record["task"]
            if "score" in record:
                scores[f"final/{task}"] = float(record["score"])
            if record.get("zero_shot") is not None:
                scores[f"zero_shot/{task}"] = float(record["zero_shot"])
        self._try("finish", scores)
        self.backend = None

    def _try(self, action: str, *arguments: Any) -> Any:
        if self.backend is None:
            return None
        try:
            return getattr(self.backend, action)(*arguments)
        except Exception as error:  # a tracker's faults are of any kind
            text = f"{type(error).__name__}: {error}"
            log.warning(
                "--track %s: %s; this run is tracked no further", self.name, text
            )
            self.backend = None
            return None


def _read_ids(path: Path) -> dict[str, str]:
    """Return the ids of a folder's record; {} if it is missing or damaged."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {name: value for name, value in content.items() if isinstance(value, str)}


def open_tracker(name: str) -> Tracker:
    """Return a tracker of a backend's name, or one that does nothing for "".

    Raises ValueError if its package is not installed.
    """
    if not name:
        return Tracker()
    return Tracker(BACKENDS[name](_package(name)), name)
