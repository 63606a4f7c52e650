"""The folder of a run: its status, the action for each status, and its lock.

| the folder holds          | default                 | --resume auto | --overwrite |
|---------------------------|-------------------------|---------------|-------------|
| nothing                   | run                     | run           | run         |
| the same run, finished    | reuse                   | reuse         | run again   |
| ... with damaged files    | error, naming the files | repair        | run again   |
| the same run, interrupted | error                   | continue      | run again   |
| another run               | error, naming the keys  | error         | run again   |

With --overwrite the folder is put aside before it is looked at (`replaced_on_success`),
so that it holds nothing.
"""

import contextlib
import enum
import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from yacs.config import CfgNode

from toolkit.common import manifest
from toolkit.common.files import exclusive_lock, write_text
from toolkit.common.structured import read_json

from . import distributed, resume
from .config import differences, load, without_local_paths

log = logging.getLogger(__name__)

CONFIG, RESULTS = "config.yaml", "results.json"
INPUTS = (CONFIG, "fewshot/*")  # written before training
OUTPUTS = (
    "prompt_learner/*",
    "predictions/*",
    "prompts.safetensors",
    "results.*",
    "results/*",
    "submission.zip",
    "cmat*",
)
FACTS = ("epochs", "start", "drawn", "content", "settings")
MAX_NAME = 255  # bytes of a name on common file systems
# exists while a process works in the folder; a killed process leaves it unheld
LOCK = ".lock"


class Action(enum.Enum):
    """The use of a run's folder."""

    RUN = "run"
    REUSE = "reuse"
    REPAIR = "repair"
    RETEST = "test again"
    RESUME = "continue"


class Status(enum.Enum):
    """The content of a run's folder; values are the actions with --resume auto."""

    EMPTY = Action.RUN
    FINISHED = Action.REUSE  # the same run
    DAMAGED = Action.REPAIR  # the same run, finished, with damaged or missing files
    INTERRUPTED = Action.RESUME  # the same run
    OTHER = None  # another run


@dataclass(frozen=True)
class FolderState:
    """A status; `detail`: progress of an interrupted run, or keys that differ."""

    status: Status
    detail: str = ""


def decide(
    folder: str | os.PathLike, state: FolderState, resume_allowed: bool
) -> Action:
    """Return the action for a folder's state; ValueError if it is left alone."""
    if state.status is Status.OTHER:
        raise ValueError(
            f"{folder} holds another run, it differs in {state.detail}: use another --output-dir, or --overwrite it"
        )
    if resume_allowed or state.status in (Status.FINISHED, Status.EMPTY):
        return state.status.value
    if state.status is Status.DAMAGED:
        raise ValueError(
            f"{folder} holds a finished run with damaged or missing files: {state.detail}; --resume auto makes them "
            "again, --overwrite starts again"
        )
    reached = f" ({state.detail})" if state.detail else ""
    raise ValueError(
        f"{folder} holds an interrupted run{reached}: --resume auto continues it, --overwrite starts again"
    )


def run_status(cfg, epochs: int, start: str | None, learns: bool) -> FolderState:
    """Return the state of `cfg.OUTPUT_DIR` for one run of so many epochs (0: none) from
    the prompt with this fingerprint (None: not known yet); learns: it leaves a prompt.
    """
    folder = Path(cfg.OUTPUT_DIR)
    other = other_run(cfg)
    if other:
        return other
    if not epochs and (folder / "prompt_learner").is_dir():
        return another_run(["that it was trained"])
    known = read_manifest(folder)
    if not _is_finished(folder, known, learns):
        return unfinished_status(folder)
    about = finished_metadata(folder)
    same_start = start is None or about.get("start") == start
    if about.get("epochs", 0) and not same_start:
        return another_run(["the prompt it started from (--model-dir)"])
    if not same_start or about.get("epochs") != epochs:
        return unfinished_status(folder)
    damaged = known.damaged() if known else []
    if damaged:
        return FolderState(Status.DAMAGED, ", ".join(damaged))
    return FolderState(Status.FINISHED)


def _is_finished(folder: Path, known: manifest.Manifest | None, learns: bool) -> bool:
    if known:
        return RESULTS in known.files
    # the manifest is lost, or the run is of an earlier version
    if learns and not (folder / "prompts.safetensors").is_file():
        return False
    return (folder / RESULTS).is_file()


def experiment_status(cfg) -> FolderState:
    """Return the state of `cfg.OUTPUT_DIR` for an experiment of several runs."""
    folder = Path(cfg.OUTPUT_DIR)
    other = other_run(cfg)
    if other:
        return other
    if (folder / RESULTS).is_file():
        return FolderState(Status.FINISHED)
    return unfinished_status(folder)


def other_run(cfg) -> FolderState | None:
    """Return the state of `cfg.OUTPUT_DIR` if its run differs from `cfg`, else None."""
    path = Path(cfg.OUTPUT_DIR) / CONFIG
    known = read_manifest(path.parent)
    if known and CONFIG in known.files and not known.is_whole(CONFIG):
        if known.expects(CONFIG, config_text(cfg).encode()):
            return None  # it is written again
        raise ValueError(
            f"{path} is damaged or missing, and of another run than this one: --overwrite starts again"
        )
    if not path.is_file():
        return None
    written = path.stat()
    known_cfg = _load_once(path, written.st_mtime_ns, written.st_size)
    different = differences(known_cfg, cfg)
    return another_run(different) if different else None


@lru_cache(maxsize=128)
def _load_once(path: Path, written: int, size: int) -> CfgNode:
    """Load a configuration again only if its file has been written since."""
    return load(path)


def another_run(different: Sequence[str]) -> FolderState:
    """Return the state of a folder whose run differs in some keys."""
    return FolderState(Status.OTHER, ", ".join(different[:8]))


def unfinished_status(folder: Path) -> FolderState:
    """Return INTERRUPTED if a run in `folder` has learned something, else EMPTY."""
    is_run = (folder / CONFIG).is_file() or (folder / manifest.NAME).is_file()
    if is_run and any(folder.rglob("prompt_learner/*")):
        return FolderState(Status.INTERRUPTED, resume.reached(folder))
    return FolderState(Status.EMPTY)


def write_config(cfg) -> None:
    """Write config.yaml, without keys that belong to one machine."""
    write_text(Path(cfg.OUTPUT_DIR) / CONFIG, config_text(cfg))


def config_text(cfg) -> str:
    """Return the content of a run's config.yaml."""
    return without_local_paths(cfg).dump()


def read_manifest(folder: Path) -> manifest.Manifest | None:
    """Return a run's manifest, None if it is missing or damaged."""
    try:
        return manifest.read(folder)
    except ValueError as error:
        log.warning("%s", error)
        return None


def write_manifest(
    folder: Path, about: Mapping[str, object] | None = None, finished: bool = True
) -> None:
    """Write the manifest of a run's files but log and curves."""
    names = []
    for pattern in INPUTS + OUTPUTS if finished else INPUTS:
        for path in folder.glob(pattern):
            is_left_out = path.name.startswith(".") or path == folder / resume.STATE
            if path.is_file() and not is_left_out:
                names.append(path.relative_to(folder).as_posix())
    manifest.write(folder, names, about)


def finished_metadata(folder: Path) -> Mapping:
    """Return the metadata of a finished run: those of `FACTS` that are known."""
    known = read_manifest(folder)
    if known:
        return known.about
    record = read_json(folder / RESULTS)[0]
    return {key: record[key] for key in FACTS if key in record}


def finish(folder: str | os.PathLike, about: Mapping[str, object]) -> None:
    """Write the manifest of a finished run, and tidy its folder."""
    if distributed.main():
        write_manifest(Path(folder), about)
    tidy(folder)


def resumed_folder(cfg) -> str:
    """Return the folder of `--resume DIR`; raise if no run can continue there."""
    folder, out = Path(cfg.RESUME), cfg.OUTPUT_DIR
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(
            f"--resume (RESUME): {folder} holds no run (no config.yaml)"
        )
    if out not in ("", "./output") and Path(out).resolve() != folder.resolve():
        raise ValueError(
            f"--resume {folder} continues in that folder: leave --output-dir ({out}) out"
        )
    return str(folder)


@contextlib.contextmanager
def exclusive_folder(folder: str | os.PathLike) -> Iterator[None]:
    """Keep other processes out of `folder`, which is made, until this one ends; its
    holder (under torchrun the main process) may enter again. Raises InUse.
    """
    if not distributed.main():
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    message = f"another process is at work in {folder}: use another --output-dir"
    with exclusive_lock(Path(folder) / LOCK, message):
        yield


def check_folder(folder: str | os.PathLike) -> None:
    """Raise ValueError if `folder` can be none, InUse if a process is at work in it."""
    path, flag = Path(folder), "--output-dir (OUTPUT_DIR)"
    for part in path.parts:
        if len(os.fsencode(part)) > MAX_NAME:
            raise ValueError(f"{flag}: {part} has more than {MAX_NAME} bytes")
    if path.is_symlink() and not path.exists():
        raise ValueError(f"{flag}: {path} is a link to a folder that is not there")
    place = next(place for place in (path, *path.parents) if place.exists())
    if not place.is_dir():
        raise ValueError(f"{flag}: {place} is a file, not a folder")
    if (path / LOCK).is_file():
        with exclusive_folder(path):
            pass


@contextlib.contextmanager
def replaced_on_success(folder: str, wanted: bool) -> Iterator[None]:
    """Put a run aside, if `wanted`, while the new one is checked, then remove it."""
    path = Path(os.path.realpath(folder))  # a link is not moved
    if not wanted or not path.exists() or not any(path.iterdir()):
        yield
        return
    if not (path / "config.yaml").is_file():
        raise ValueError(
            f"--overwrite: {folder} holds no run (no config.yaml), so it is left alone"
        )
    aside = path.with_name(f".{path.name}.{os.getpid()}.old")
    path.rename(aside)
    try:
        path.mkdir()
        yield
    except BaseException:
        shutil.rmtree(path)
        aside.rename(path)
        raise
    shutil.rmtree(aside)


def remove_unfinished(folder: str | os.PathLike) -> None:
    """Remove files that a killed process left unfinished in a folder."""
    for name in ("", "prompt_learner", "fewshot", "predictions", "results"):
        for pattern in (".*.tmp", "*.part"):
            for path in (Path(folder) / name).glob(pattern):
                path.unlink(missing_ok=True)


def tidy(folder: str | os.PathLike) -> None:
    """Remove what only an unfinished run needs: its state, and unfinished files."""
    if distributed.main():
        (Path(folder) / resume.STATE).unlink(missing_ok=True)
        remove_unfinished(folder)
