"""Curves and results of a run in an experiment tracker: W&B, MLflow or trackio.

None of the packages is a requirement. An error of a backend never ends a training run:
it is one warning, and nothing more is sent.
"""

import contextlib
import importlib
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from toolkit.common.structured import read_json, write_json

log = logging.getLogger(__name__)

Values, Settings = Mapping[str, float], Mapping[str, Any]
PROJECT = "mvlpt"  # unless the backend's own environment variable names another
RECORD = "tracking.json"  # in a run's folder: backend -> id of its run


class Backend:
    """A tracker: `start` opens a run, or continues that of an id, and returns its id;
    `log` adds a point to each curve; `finish` records final scores and closes the run.
    """

    project_variable = ""

    def __init__(self, package: ModuleType) -> None:
        self.package = package
        self.project = os.environ.get(self.project_variable, PROJECT)


class Wandb(Backend):
    """Weights & Biases; WANDB_MODE=offline keeps the run in a local folder."""

    project_variable = "WANDB_PROJECT"

    def start(self, name: str, settings: Settings, run_id: str | None) -> str:
        given = {"project": self.project, "config": dict(settings), "resume": "allow"}
        self.run = self.package.init(name=name, id=run_id, **given)
        return self.run.id

    def log(self, values: Values, step: int) -> None:
        self.run.log(dict(values), step=step)

    def finish(self, scores: Values) -> None:
        self.run.summary.update(dict(scores))
        self.run.finish()


class Trackio(Backend):
    """Trackio, which keeps runs in a local database and knows them by name."""

    project_variable = "TRACKIO_PROJECT"
    step = 0

    def start(self, name: str, settings: Settings, run_id: str | None) -> str:
        given = {"project": self.project, "config": dict(settings), "resume": "allow"}
        self.package.init(name=run_id or name, **given)
        return run_id or name

    def log(self, values: Values, step: int) -> None:
        self.step = step
        self.package.log(dict(values), step=step)

    def finish(self, scores: Values) -> None:
        self.package.log(dict(scores), step=self.step)
        self.package.finish()


class Mlflow(Backend):
    """MLflow; MLFLOW_TRACKING_URI names the server or the folder."""

    project_variable = "MLFLOW_EXPERIMENT_NAME"
    PARAMETERS = 100  # of a request, at most
    LENGTH = 500  # of a parameter's text, at most

    def start(self, name: str, settings: Settings, run_id: str | None) -> str:
        self.package.set_experiment(self.project)
        run = self.package.start_run(run_id=run_id, run_name=name)
        if run_id is None:
            for first in range(0, len(settings), self.PARAMETERS):
                part = list(settings)[first : first + self.PARAMETERS]
                texts = {key: str(settings[key])[: self.LENGTH] for key in part}
                self.package.log_params(texts)
        return run.info.run_id

    def log(self, values: Values, step: int | None = None) -> None:
        # names that MLflow allows
        named = {re.sub(r"[^\w.:/ -]", "_", name): v for name, v in values.items()}
        self.package.log_metrics(named, step=step)

    def finish(self, scores: Values) -> None:
        self.log(scores)
        self.package.end_run()


BACKENDS = {"wandb": Wandb, "mlflow": Mlflow, "trackio": Trackio}


class Tracker:
    """One run in a tracker, or in none (`Tracker()`)."""

    def __init__(self, backend: Backend | None = None, name: str = "") -> None:
        self.backend = backend
        self.name = name

    def start(self, title: str, settings: Settings, folder: Path) -> None:
        """Open the tracker's run, the same one again if the folder's run is resumed."""
        if self.backend is None:
            return
        known = {}
        with contextlib.suppress(OSError, ValueError):  # missing or damaged
            content = read_json(folder / RECORD)
            if isinstance(content, dict):
                known = {key: v for key, v in content.items() if isinstance(v, str)}
        started = self._try("start", title, settings, known.get(self.name))
        if self.backend is not None:
            write_json(folder / RECORD, known | {self.name: started}, indent=1)

    def log(self, values: Values, step: int) -> None:
        """Add a point to each curve at an epoch."""
        self._try("log", values, step)

    def finish(self, records: Sequence[Settings]) -> None:
        """Record each task's final and zero-shot scores in percent; close the run."""
        scores = {}
        for record in records:
            for name, column in (("final", "score"), ("zero_shot", "zero_shot")):
                if record.get(column) is not None:
                    scores[f"{name}/{record['task']}"] = float(record[column])
        self._try("finish", scores)
        self.backend = None

    def _try(self, action: str, *arguments: Any) -> Any:
        if self.backend is None:
            return None
        try:
            return getattr(self.backend, action)(*arguments)
        except Exception as error:  # a tracker's faults are of any kind
            reason = f"{type(error).__name__}: {error}"
            message = "--track %s: %s; this run is tracked no further"
            log.warning(message, self.name, reason)
            self.backend = None
            return None


def open_tracker(name: str) -> Tracker:
    """Return the tracker of a name, "" for none; ValueError if it is not installed."""
    if not name:
        return Tracker()
    try:
        package = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"--track {name}: {error}; install it with: pip install {name}"
        ) from None
    return Tracker(BACKENDS[name](package), name)
