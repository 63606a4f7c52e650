"""How to get a run again: its command, what its configuration changes, its versions."""

from __future__ import annotations

import logging
import platform
import shlex
from collections.abc import Iterator
from importlib import metadata

from yacs.config import CfgNode

from datasets import is_custom
from trainers.engine.config import resolve
from trainers.engine.settings import task_names

from .experiment import Experiment

log = logging.getLogger(__name__)

BY_FLAGS = (  # keys that the command line's flags set, or train.py itself
    *("TRAINER.NAME", "MODEL.BACKBONE.NAME", "MULTITASK.SOURCE", "SEED", "DATASET.RANDOM_SEED_SAMPLING"),
    *("DATASET.DATASET", "DATASET.NAME", "DATASET.NUM_SHOTS", "DATASET.NUM_SAMPLES_PER_CLASS"),
)
PACKAGES = ("torch", "open_clip_torch", "numpy", "scikit-learn")


def changes(cfg: CfgNode) -> list[tuple[str, object, object]] | None:
    """(key, value, default) of every key that differs from the trainer's defaults and its backbone's settings.

    None where the trainer is not known here. Keys that one side lacks are left out.
    """
    try:
        default = resolve(cfg.TRAINER.NAME, [], {"MODEL.BACKBONE.NAME": cfg.MODEL.BACKBONE.NAME}, [])
    except (ValueError, FileNotFoundError) as error:
        log.warning("no defaults to compare with: %s", error)
        return None
    usual, found = dict(_flat(default)), []
    for key, value in _flat(cfg):
        if key in usual and _listed(usual[key]) != _listed(value) and key not in ("OUTPUT_DIR", "RESUME"):
            found.append((key, value, usual[key]))
    return found


def command(run: Experiment, changed: list[tuple[str, object, object]] | None) -> str:
    """The `train.py` command that makes the run, from its configuration."""
    cfg = run.cfg
    words = ["python", "train.py", "--trainer", cfg.TRAINER.NAME]
    if cfg.MODEL.BACKBONE.NAME != "pocket":
        words += ["--backbone", cfg.MODEL.BACKBONE.NAME]
    if cfg.MULTITASK.SOURCE:
        words += ["--source", cfg.MULTITASK.SOURCE]
    names = task_names(cfg)
    words += ["--dataset", ",".join(names)]
    if needs_root(run):
        words += ["--root", "DATA"]
    words += ["--shots", str(cfg.DATASET.NUM_SHOTS), "--seed", str(cfg.SEED)]
    if run.source is None and run.fact("start"):
        words += ["--model-dir", "START"]
    if any(group for group in groups(run).values()):
        words += ["--groups", "groups.yaml"]
    words += ["--output-dir", f"output/{run.folder.resolve().name}"]
    for key, value, _ in changed or []:
        drawn_otherwise = key == "DATASET.RANDOM_SEED_SAMPLING" and value != cfg.SEED
        if key not in BY_FLAGS or drawn_otherwise:
            words += [key, str(value)]
    return shlex.join(words)


def needs_root(run: Experiment) -> bool:
    """Whether some data lie below --root."""
    names = [*task_names(run.cfg), *(name.strip() for name in run.cfg.MULTITASK.SOURCE.split(","))]
    return any(name and not is_custom(name) and not name.startswith("pocket-") for name in names)


def groups(run: Experiment) -> dict[str, list[str]]:
    """target -> the tasks that it was adapted together with."""
    if run.stages[0].folder == run.folder:
        return {}
    return {stage.records[0]["task"]: task_names(stage.cfg)[1:] for stage in run.stages if task_names(stage.cfg)[1:]}


def versions(run: Experiment) -> list[tuple[str, str]]:
    """(what, version): of the run as its log says, and of the packages that are installed now."""
    found = []
    path = run.folder / "log.txt"
    if path.is_file():
        with open(path, encoding="utf-8", errors="replace") as file:
            found.append(("the run", file.readline().strip()))
    found.append(("Python, at this page's time", platform.python_version()))
    for package in PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            found.append((package, "not installed"))
    return found


def _flat(node: CfgNode, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _listed(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else value
