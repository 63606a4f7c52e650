"""One job of a study, in whatever process it is run: a run of `trainers.engine.run`, or the matrix and groups made from runs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from scripts.jobs.plan import Job
from scripts.transfer import groups
from scripts.transfer.matrix import Matrix, normalised, read_square_matrix, write_matrix

MARK = "job.json"  # in a finished job's folder: what was done there


@dataclass(frozen=True)
class Place:
    """Where a study works: its folder, and that of the data sets ("" for the pocket suite)."""

    folder: str
    root: str = ""


def finished(job: Job, place: Place) -> bool:
    """Whether the job's folder says that this very job is done: same settings, same resolved configuration.

    Raises ValueError when it holds the results of another.
    """
    path = Path(place.folder) / job.name / MARK
    if not path.is_file():
        return False
    try:
        mark = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return False  # not one of ours; the run itself is checked when it is executed
    if mark == _mark(job):
        return True
    raise ValueError(f"{path.parent} holds another run (its {MARK} differs): use another --output-dir")


def perform(job: Job, place: Place) -> None:
    """Do the job, go on with what an interrupted try of it has left, or reuse its run; then mark it as done."""
    from trainers.engine.results import write_json

    if job.settings["stage"] == "transfer":
        _transfer(job, place)
    else:
        from trainers.engine.run import execute

        execute(build_run(job, place))
    write_json(Path(place.folder) / job.name / MARK, _mark(job))


def build_run(job: Job, place: Place):
    """The `trainers.engine.run.Run` of a source or adaptation job."""
    from trainers.engine import experiment as stages
    from trainers.engine.config import with_overrides

    settings, folder = job.settings, Path(place.folder)
    cfg = with_overrides(configuration_of(job), DATASET__ROOT=place.root)
    start = str(folder / settings["start"]) if settings["start"] else ""
    if settings["stage"] == "source":
        run = stages.source_run(cfg, settings["tasks"], start)
    else:
        (target,), related = settings["tasks"], {}
        if settings["group"]:
            related = group_of(settings["group"], target, folder)
        run = stages.target_runs(cfg, [target], related, start)[0]
    return replace(run, cfg=with_overrides(run.cfg, OUTPUT_DIR=str(folder / job.name)), resume=True)


def group_of(group: dict, target: str, folder: Path) -> dict[str, list[str]]:
    """target -> the tasks it is grouped with, from the matrix of a transfer job."""
    matrix = read_square_matrix(folder / group["transfer"] / "scores.csv")
    return {target: groups.choose(matrix, group["size"], group["worst"])[target]}


def configuration_of(job: Job):
    """The configuration of a job's runs, but for tasks and places. Raises ValueError naming the nearest key."""
    return _configuration(*_key(job.settings))


def _key(settings: dict) -> tuple:
    names = ("method", "shots", "seed", "backbone")
    return (*(settings[name] for name in names), tuple(sorted(settings["options"].items())))


@lru_cache(maxsize=256)
def _configuration(method: str, shots: int, seed: int, backbone: str, options: tuple):
    """The configuration that train.py would resolve from the same flags."""
    import datasets
    import trainers
    from trainers.engine.config import resolve

    trainers.register_all()
    datasets.register_all()
    flags = {"SEED": seed, "DATASET.RANDOM_SEED_SAMPLING": seed, "MODEL.BACKBONE.NAME": backbone}
    flags |= {"DATASET.NUM_SHOTS": shots, "DATASET.NUM_SAMPLES_PER_CLASS": shots}
    return resolve(method, [], flags, [str(text) for pair in options for text in pair])


@lru_cache(maxsize=256)
def _fingerprint(key: tuple) -> str:
    from trainers.engine.config import settings

    return hashlib.sha256(json.dumps(settings(_configuration(*key))).encode()).hexdigest()[:16]


def _mark(job: Job) -> dict:
    """A finished job as plain data, as JSON gives it back."""
    return json.loads(json.dumps({"settings": job.settings, "configuration": _fingerprint(_key(job.settings))}))


def _transfer(job: Job, place: Place) -> None:
    """scores.csv (percent), normalised.csv (each column divided by its best), and the groups that follow."""
    from trainers.engine.config import with_overrides
    from trainers.engine.results import write_text
    from trainers.engine.scoring import score_prompts

    tasks, folder = job.settings["tasks"], Path(place.folder)
    cfg = with_overrides(configuration_of(job), DATASET__ROOT=place.root)
    scores = score_prompts([folder / name for name in job.settings["prompts"]], cfg, tasks)
    matrix = Matrix.square(tasks, scores)
    out = folder / job.name
    write_matrix(out / "scores.csv", matrix)
    write_matrix(out / "normalised.csv", normalised(matrix))
    for worst in (False, True):
        for size in range(2, min(3, len(tasks)) + 1):
            order = "worst" if worst else "best"
            text = groups.to_yaml(groups.choose(matrix, size, worst), f"{order} groups of {size}")
            write_text(out / f"groups_{order}{size}.yaml", text)
