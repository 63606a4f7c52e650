"""One job of a study, in whatever process it is run: a run of `trainers.engine.run` or
of a trainer for Dassl alone, or the matrix and groups made from runs.
"""

import contextlib
import hashlib
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import datasets
import trainers
from scripts import groups
from scripts.jobs.plan import Job
from scripts.transfer.matrix import Matrix, normalised, read_square_matrix, write_matrix
from toolkit.common.files import write_text
from toolkit.common.structured import read_json, write_json

from .methods import leaves_prompt

DONE_FILE = "job.json"  # in a finished job's folder: the finished job
# backbone -> why it has no zero-shot scores; a download that failed is not tried again
UNAVAILABLE: dict[str, str] = {}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """The folders of a study's output and of the data sets ("": the pocket's)."""

    folder: str
    root: str = ""


def finished(job: Job, place: Place) -> bool:
    """Return True if the folder says that this very job, so configured, is done. Raises
    ValueError if it holds the results of another.
    """
    path = Path(place.folder) / job.name / DONE_FILE
    if not path.is_file():
        return False
    try:
        done = read_json(path)
    except ValueError:
        return False  # damaged; the run itself is checked when it is executed
    if done == _done(job):
        return True
    raise ValueError(
        f"{path.parent} holds another run (its {DONE_FILE} differs): use another --output-dir"
    )


def perform(job: Job, place: Place) -> None:
    """Do, resume or reuse a job; then mark it as done."""
    if job.settings["stage"] == "transfer":
        _transfer(job, place)
    else:
        if leaves_prompt(job.settings["method"]):
            from trainers.engine.run import execute
        else:
            execute = execute_dassl
        execute(build_run(job, place))
    path = Path(place.folder) / job.name / DONE_FILE
    write_json(path, _done(job), indent=1)


def build_run(job: Job, place: Place):
    """Return the `trainers.engine.run.Run` of a source or adaptation job."""
    from trainers.engine import stages
    from trainers.engine.config import with_overrides

    settings, folder = job.settings, Path(place.folder)
    stage, tasks = settings["stage"], settings["tasks"]
    cfg = with_overrides(configuration_of(job), DATASET__ROOT=place.root)
    start = str(folder / settings["start"]) if settings["start"] else ""
    if stage == "source":
        run = stages.source_run(cfg, tasks, start=start)
    else:
        related = {}
        if settings["group"]:
            related = group_of(settings["group"], tasks[0], folder)
        trains = stage != "evaluation"
        (run,) = stages.target_runs(cfg, tasks, related, start, trains=trains)
    own_folder = str(folder / job.name)
    cfg = with_overrides(run.cfg, OUTPUT_DIR=own_folder)
    return replace(run, cfg=cfg, resume=True)


def group_of(group: dict, target: str, folder: Path) -> dict[str, list[str]]:
    """Return target -> the tasks it is grouped with, from the matrix of a transfer job."""
    matrix = read_square_matrix(folder / group["transfer"] / "scores.csv")
    size = group["size"]
    chosen = groups.choose(matrix, size, group["worst"])
    return {target: chosen[target]}


def configuration_of(job: Job):
    """Return a job's configuration, but for tasks and places, or raise ValueError."""
    return _configuration(*_configuration_key(job.settings))


def resolved(method: str, shots: int, seed: int, backbone: str, options: dict):
    """Return the configuration that train.py resolves from the same flags."""
    text = json.dumps(options, sort_keys=True)
    return _configuration(method, shots, seed, backbone, text)


def _configuration_key(settings: dict) -> tuple:
    parts = [settings[name] for name in ("method", "shots", "seed", "backbone")]
    parts.append(json.dumps(settings["options"], sort_keys=True))
    if not leaves_prompt(settings["method"]):
        # its repository may have settings for each data set
        parts += settings["tasks"]
    return tuple(parts)


@lru_cache(maxsize=256)
def _configuration(
    method: str, shots: int, seed: int, backbone: str, options: str, task: str = ""
):
    from trainers.engine.config import resolve

    trainers.register_all()
    datasets.register_all()
    flags = {
        "MODEL.BACKBONE.NAME": backbone,
        "SEED": seed,
        "DATASET.RANDOM_SEED_SAMPLING": seed,
        "DATASET.NUM_SHOTS": shots,
        "DATASET.NUM_SAMPLES_PER_CLASS": shots,
    }
    if task:
        flags["DATASET.DATASET"] = task
    pairs = []
    for key, value in json.loads(options).items():
        pairs += [key, "null" if value is None else str(value)]
    return resolve(method, [], flags, pairs)


@lru_cache(maxsize=256)
def _fingerprint(key: tuple) -> str:
    from trainers.engine.config import settings

    text = json.dumps(settings(_configuration(*key)))
    fingerprint = hashlib.sha256(text.encode()).hexdigest()
    return fingerprint[:16]


def _done(job: Job) -> dict:
    """Return a finished job as plain data, as JSON gives it back."""
    fingerprint = _fingerprint(_configuration_key(job.settings))
    return json.loads(
        json.dumps({"settings": job.settings, "configuration": fingerprint})
    )


def _transfer(job: Job, place: Place) -> None:
    """Write scores.csv (percent), normalised.csv, and the groups that follow."""
    from trainers.engine.config import with_overrides
    from trainers.engine.scoring import score_prompts

    tasks = job.settings["tasks"]
    folder = Path(place.folder)
    cfg = with_overrides(configuration_of(job), DATASET__ROOT=place.root)
    prompts = [folder / name for name in job.settings["prompts"]]
    scores = score_prompts(prompts, cfg, tasks)
    matrix = Matrix.square(tasks, scores)
    out = folder / job.name
    write_matrix(out / "scores.csv", matrix)
    write_matrix(out / "normalised.csv", normalised(matrix))
    largest = min(3, len(tasks))
    for order in ("best", "worst"):
        for size in range(2, largest + 1):
            text = groups.to_yaml(matrix, size, order == "worst")
            write_text(out / f"groups_{order}{size}.yaml", text)


def execute_dassl(run) -> None:
    """Train and test, or only test `run.start`, as `trainers.engine.external` does; its
    lines go to log.txt in the run's folder. A record gets the score of plain CLIP
    ("zero_shot") unless TEST.ZERO_SHOT is False. Raises ValueError or FileNotFoundError
    for wrong input.
    """
    from trainers.engine import external
    from trainers.engine.config import RunOptions
    from trainers.engine.run_dir import RESULTS, exclusive_folder

    options = RunOptions(eval_only=not run.trains, model_dir=run.start)
    external.check(run.cfg, options)
    with exclusive_folder(run.folder), lines_in(run.folder / "log.txt"):
        records = external.run(run.cfg, options)
        if run.cfg.TEST.ZERO_SHOT:
            _add_zero_shot(run.cfg, records)
            write_json(run.folder / RESULTS, records, indent=1)


@contextlib.contextmanager
def lines_in(path: Path) -> Iterator[None]:
    """Append what is printed or logged to a file; only warnings are shown, too."""
    root = logging.getLogger()
    levels = {handler: handler.level for handler in root.handlers}
    level = root.level
    written = logging.FileHandler(path, encoding="utf-8")
    written.setFormatter(logging.Formatter("%(message)s"))
    for handler in levels:
        handler.setLevel(max(handler.level, logging.WARNING))
    root.addHandler(written)
    root.setLevel(logging.INFO)
    try:
        with contextlib.redirect_stdout(written.stream):
            yield
    finally:
        root.removeHandler(written)
        written.close()
        root.setLevel(level)
        for handler, before in levels.items():
            handler.setLevel(before)


def _add_zero_shot(cfg, records: list[dict]) -> None:
    """Add plain CLIP's score to the only record; log why if it cannot be loaded."""
    from dassl.config import get_cfg_default

    from trainers.engine.scoring import score_prompts
    from trainers.engine.settings import extend

    (record,) = records
    backbone = _weights(cfg.MODEL.BACKBONE.NAME)
    if backbone in UNAVAILABLE:
        log.info("no zero-shot score: %s", UNAVAILABLE[backbone])
        return
    ours = extend(get_cfg_default())
    ours.DATASET.update(cfg.DATASET)
    ours.SEED = cfg.SEED
    ours.MODEL.BACKBONE.NAME = backbone
    ours.DATALOADER.NUM_WORKERS = cfg.DATALOADER.NUM_WORKERS
    ours.freeze()
    try:
        scores = score_prompts([None], ours, [cfg.DATASET.NAME])
    except (ValueError, OSError) as error:
        log.warning("no zero-shot scores of %s: %s", backbone, error)
        UNAVAILABLE[backbone] = str(error)
    else:
        record["zero_shot"] = round(float(scores[0, 0]), 6)


def _weights(backbone: str) -> str:
    """Return the file that OpenAI's package keeps for a backbone, or the backbone."""
    name = backbone.replace("/", "-").replace("@", "-")
    file = Path.home() / ".cache" / "clip" / f"{name}.pt"
    return str(file) if file.is_file() else backbone
