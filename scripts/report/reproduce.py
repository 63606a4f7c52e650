"""How to repeat a run: its command, the changes of its configuration, its versions."""

import itertools
import logging
import platform
import shlex
from importlib import metadata

from yacs.config import CfgNode

from datasets import is_custom
from trainers.engine.config import resolve
from trainers.engine.config_values import flatten
from trainers.engine.settings import task_names

from .experiment import Experiment

log = logging.getLogger(__name__)

Changes = list[tuple[str, object, object]]  # key, value, default

# keys that the command line's flags set, or train.py itself
BY_FLAGS = (
    "TRAINER.NAME",
    "MODEL.BACKBONE.NAME",
    "MULTITASK.SOURCE",
    "SEED",
    "DATASET.RANDOM_SEED_SAMPLING",
    "DATASET.DATASET",
    "DATASET.NAME",
    "DATASET.NUM_SHOTS",
    "DATASET.NUM_SAMPLES_PER_CLASS",
)
PACKAGES = ("torch", "open_clip_torch", "numpy", "scikit-learn")


def changes(cfg: CfgNode) -> Changes | None:
    """Return the keys of both that differ from the trainer's defaults and its backbone's
    settings; None if the trainer is unknown.
    """
    given = {"MODEL.BACKBONE.NAME": cfg.MODEL.BACKBONE.NAME}
    try:
        default = resolve(cfg.TRAINER.NAME, [], given, [])
    except (ValueError, FileNotFoundError) as error:
        log.warning("no defaults to compare with: %s", error)
        return None
    usual = _settings(default)
    found = []
    for key, value in _settings(cfg).items():
        if key in usual and value != usual[key]:
            found.append((key, value, usual[key]))
    return found


def _settings(cfg: CfgNode) -> dict[str, object]:
    found = {}
    for key, value in flatten(cfg):
        if key not in ("OUTPUT_DIR", "RESUME"):
            found[key] = list(value) if isinstance(value, tuple) else value
    return found


def command(run: Experiment, changed: Changes | None) -> str:
    """Return the `train.py` command that makes the run, from its configuration."""
    cfg = run.cfg
    words = ["python", "train.py", "--trainer", cfg.TRAINER.NAME]
    if cfg.MODEL.BACKBONE.NAME != "pocket":
        words += ["--backbone", cfg.MODEL.BACKBONE.NAME]
    if cfg.MULTITASK.SOURCE:
        words += ["--source", cfg.MULTITASK.SOURCE]
    words += ["--dataset", ",".join(task_names(cfg))]
    if needs_root(run):
        words += ["--root", "DATA"]
    words += ["--shots", str(cfg.DATASET.NUM_SHOTS), "--seed", str(cfg.SEED)]
    if needs_start(run):
        words += ["--model-dir", "START"]
    if groups(run):
        words += ["--groups", "groups.yaml"]
    words += ["--output-dir", f"output/{run.name}"]
    for key, value, _ in changed or []:
        is_other_seed = key == "DATASET.RANDOM_SEED_SAMPLING" and value != cfg.SEED
        if key not in BY_FLAGS or is_other_seed:
            words += [key, str(value)]
    return shlex.join(words)


def needs_root(run: Experiment) -> bool:
    """Return True if some data are below --root."""
    for name in [*task_names(run.cfg), *run.cfg.MULTITASK.SOURCE.split(",")]:
        name = name.strip()
        if name and not is_custom(name) and not name.startswith("pocket-"):
            return True
    return False


def needs_start(run: Experiment) -> bool:
    """Return True if the run began with the prompt of another run."""
    return run.source is None and bool(run.common("start"))


def groups(run: Experiment) -> dict[str, list[str]]:
    """Return for each target the tasks that it was adapted together with, if any."""
    found = {}
    if run.stages[0].folder == run.folder:
        return found
    for stage in run.stages:
        others = task_names(stage.cfg)[1:]
        if others:
            found[stage.records[0]["task"]] = others
    return found


def versions(run: Experiment) -> list[tuple[str, str]]:
    """Return (name, version) of the run, by its log, and of the installed packages."""
    found = []
    path = run.folder / "log.txt"
    if path.is_file():
        with open(path, encoding="utf-8", errors="replace") as file:
            # the first may say which trainer was chosen
            for line in itertools.islice(file, 2):
                if ", torch " in line:
                    found.append(("the run", line.strip()))
    found.append(("Python, at this page's time", platform.python_version()))
    for package in PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            found.append((package, "not installed"))
    return found
