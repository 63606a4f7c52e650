"""One run: checked, executed, or reused."""

import errno
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from dassl.utils import set_random_seed
from tqdm import tqdm
from yacs.config import CfgNode

from datasets import Task
from datasets.few_shot import write_record
from toolkit.common.archives import require_files
from toolkit.common.files import write_text
from toolkit.common.structured import read_json, write_json

from . import distributed, provenance, results, resume, run_dir, value_checks
from .config import trainer_class, without_local_paths
from .config_values import flatten
from .context import PromptSetup, RunContext, TaskPool
from .run_dir import RESULTS, Action, FolderState, Status, read_manifest
from .settings import task_names
from .start import CLASSES
from .tracking import open_tracker

log = logging.getLogger(__name__)

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)


@dataclass(frozen=True)
class Run:
    """A run in `cfg.OUTPUT_DIR`; `start`, `load_epoch`, `trains` as of `RunContext`."""

    cfg: CfgNode
    start: str = ""
    load_epoch: int | None = None
    trains: bool = True
    # of `RunContext`, "zero_shot" unless TEST.ZERO_SHOT is False
    references: tuple[str, ...] = ()
    fresh: bool = False  # a prompt that was never trained is evaluated (--no-train)
    resume: bool = False  # continue an interrupted run; without it, that is an error
    track: str = ""  # the tracker that gets curves and results

    @property
    def folder(self) -> Path:
        return Path(self.cfg.OUTPUT_DIR)

    @property
    def trainer(self) -> type:
        return trainer_class(self.cfg.TRAINER.NAME)

    @property
    def names(self) -> list[str]:
        return task_names(self.cfg)

    @property
    def epochs(self) -> int:
        return self.cfg.OPTIM.MAX_EPOCH if self.trains else 0

    def start_digest(self) -> str:
        """Return the fingerprint of the prompt that it starts from, "" without one."""
        if self.start and self.trainer.learns:
            return results.digest(self.start, self.load_epoch)
        return ""


def next_action(
    run: Run, tasks: TaskPool | None = None, start_exists: bool = True
) -> Action:
    """Return the action of `execute` for a run; ValueError if another is in its folder.
    start_exists: False if an earlier run of the experiment makes its initial prompt.
    """
    start = run.start_digest() if start_exists else None
    learns = run.trainer.learns
    state = run_dir.run_status(run.cfg, run.epochs, start, learns)
    if state.status in (Status.FINISHED, Status.DAMAGED):
        state = _with_data_compared(run, state, tasks or TaskPool())
    return run_dir.decide(run.folder, state, run.resume)


def check_run(run: Run, tasks: TaskPool, start_exists: bool = True) -> Action:
    """Return the action after checks without a trainer, before anything is written, of
    the folder and, of a run that is not reused, keys, data and the initial prompt.
    Raises ValueError or FileNotFoundError.
    """
    cfg, learns = run.cfg, run.trainer.learns
    value_checks.check(cfg, run.trainer.multitask)
    if cfg.TEST.NO_TEST and not (run.trains and learns):
        raise ValueError(
            "TEST.NO_TEST is True, but nothing is trained: there is nothing to do"
        )
    open_tracker(run.track)
    action = next_action(run, tasks, start_exists)
    if action is Action.REUSE:
        return action
    # missing data are found before a large backbone is loaded
    built = tasks.get(cfg, run.names)
    require_files(item.impath for task in built for item in task.test)
    backbone = run.trainer.load_backbone(cfg)
    allows_any = cfg.DATASET.ALLOW_UNKNOWN_WORDS
    for task in built:
        backbone.check_classes(task.classnames, task.name, allows_any)
    setup = PromptSetup(cfg, built, backbone)
    start = run.start if start_exists else ""
    run.trainer.check_setup(setup, run.trains, start, run.load_epoch)
    if "zero_shot" in run.references and cfg.TEST.ZERO_SHOT:
        value_checks.check_classes(setup, None)
    has_prompt = any((run.trains, run.start, run.fresh))
    if learns and not has_prompt:
        raise ValueError(
            f"nothing to evaluate: without training (--eval-only, --shots 0) {cfg.TRAINER.NAME} needs "
            "--model-dir, the folder of a run, or a source stage"
        )
    if distributed.main():
        tasks.decode_test_images(cfg, built)
    return action


def execute(run: Run, tasks: TaskPool | None = None) -> list[dict]:
    """Train and evaluate, or only evaluate; return results.json's records. A finished
    run is reused, an interrupted one continues if `run.resume` is set. Raises
    ValueError if another process is at work in the folder, and OSError if a file cannot
    be written; only the present epoch is lost then, as the message says.
    """
    tasks = tasks or TaskPool()
    with run_dir.exclusive_folder(run.folder):
        try:
            action = distributed.from_main(lambda: _action_after_repair(run, tasks))
            if action is Action.REUSE:
                return _reuse(run)
            return _train_and_test(run, tasks, action)
        except OSError as error:
            if error.errno not in DISK_ERRORS:
                raise
            reached = resume.reached(run.folder)
            lost = "nothing of it was done before"
            if reached:
                lost = f"{reached} are kept, the present epoch is lost"
            message = (
                f"{error.strerror}; {run.cfg.TRAINER.NAME} in {run.folder.name}: {lost}; "
                "with --resume auto the same command continues"
            )
            raise OSError(error.errno, message, error.filename) from error


def _reuse(run: Run) -> list[dict]:
    if distributed.main() and read_manifest(run.folder) is None:
        run_dir.write_manifest(run.folder, run_dir.finished_metadata(run.folder))
    run_dir.tidy(run.folder)
    count = len(run.names)
    name = f"on {count} tasks" if count > 1 else run.names[0]
    with tqdm.external_write_mode():  # a bar may be open
        log.info("%s %s: reused", run.cfg.TRAINER.NAME, name)
    return distributed.from_main(lambda: read_json(run.folder / RESULTS))


def _train_and_test(run: Run, pool: TaskPool, action: Action) -> list[dict]:
    cfg = run.cfg
    tasks = pool.get(cfg, run.names)
    images = pool.test_images.pop(cfg.OUTPUT_DIR, None)
    # a run's numbers depend on its own seed, not on earlier runs
    set_random_seed(cfg.SEED)
    if cfg.TRAIN.DETERMINISTIC:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # kernels that give the same bits each time, or an error
    torch.use_deterministic_algorithms(cfg.TRAIN.DETERMINISTIC)
    torch.backends.cudnn.benchmark = False
    metadata = {"epochs": run.epochs, "start": run.start_digest()}
    references = []
    for name in run.references:
        wanted = cfg.TEST.ZERO_SHOT
        if name == "source":
            wanted = run.start and (run.trains or cfg.DATASET.NUM_SHOTS == 0)
        if wanted:
            references.append(name)
    context = RunContext(
        tasks,
        run.trains,
        run.start,
        run.load_epoch,
        resume=action is Action.RESUME,
        retest=action is Action.RETEST,
        references=tuple(references),
        metadata=metadata | provenance.of_tasks(tasks),
        test_images=images,
        tracker=open_tracker(run.track if distributed.main() else ""),
    )
    trainer = run.trainer(cfg, context)
    if distributed.main():
        run_dir.remove_unfinished(run.folder)
        run_dir.write_config(cfg)
        _write_samples(run, tasks)
        if action is not Action.RETEST:
            run_dir.write_manifest(run.folder, finished=False)
    _log_tasks(run, trainer)
    title = f"{cfg.TRAINER.NAME} {','.join(run.names)} seed {cfg.SEED}"
    settings = dict(flatten(without_local_paths(cfg)))
    context.tracker.start(title, settings, run.folder)
    records = trainer.run()
    context.tracker.finish(records)
    return records


def _log_tasks(run: Run, trainer) -> None:
    same = []
    line = "%s: %d classes, %d training, %d validation, %d test images"
    with tqdm.external_write_mode():
        for position, task in enumerate(trainer.tasks):
            sizes = [trainer.sets[split].sizes[position] for split in results.SPLITS]
            log.info(line, task.name, task.num_classes, *sizes)
            if task.val and task.val == task.train_x:
                same.append(task.name)
        if same and run.trains:
            line = "%s: with one shot, the validation images are the training images"
            log.info(line, names_or_count(same))


def names_or_count(names: Sequence[str]) -> str:
    """Return up to five names of tasks, or the number of tasks."""
    if len(names) > 5:
        return f"{len(names)} tasks"
    return ", ".join(names)


def _write_samples(run: Run, tasks: Sequence[Task]) -> None:
    """Write fewshot/<task>.json, the images that were sampled to learn from."""
    shots = run.cfg.DATASET.NUM_SHOTS
    if shots <= 0 or not run.trainer.learns:
        return
    for task in tasks:
        seed = task.drawn_seed
        if seed is None:
            seed = run.cfg.DATASET.RANDOM_SEED_SAMPLING
        write_record(run.folder / "fewshot" / f"{task.name}.json", task, shots, seed)


def _with_data_compared(run: Run, state: FolderState, tasks: TaskPool) -> FolderState:
    """Return `state`, or OTHER if data or settings of a task have changed since."""
    about = run_dir.finished_metadata(run.folder)
    try:
        built = tasks.get(run.cfg, run.names)
        now = provenance.of_tasks(built)
    except FileNotFoundError as error:
        log.warning("%s: its data are not compared: %s", run.folder, error)
        return state
    about = {**now, **about}
    changed = [name for name in now if about[name] != now[name]]
    if "settings" in changed:
        return run_dir.another_run(["the templates, the crop or the metric of a task"])
    if not changed:
        return state
    records, different = [], []
    if state.status is Status.FINISHED:
        records = read_json(run.folder / RESULTS)
    known = {record["task"]: record["data"] for record in records}
    for task in built:
        if known.get(task.name, "") != provenance.of_data(task):
            different.append(f"the images of {task.name}, or their labels")
    return run_dir.another_run(different)


def _action_after_repair(run: Run, tasks: TaskPool) -> Action:
    """Return `next_action`; of a finished run with damaged files, make again those that
    need no model, and return the action for the others.
    """
    action = next_action(run, tasks)
    if action is not Action.REPAIR:
        return action
    damaged = read_manifest(run.folder).damaged()
    log.warning("%s: damaged or missing: %s", run.folder, ", ".join(damaged))
    built = tasks.get(run.cfg, run.names)
    run_dir.write_config(run.cfg)
    _write_samples(run, built)
    learner = run.folder / "prompt_learner"
    if "prompt_learner/checkpoint" in damaged:
        write_text(learner / "checkpoint", f"model.pth.tar-{run.epochs}\n")
    if f"prompt_learner/{CLASSES}" in damaged:
        write_json(learner / CLASSES, built[0].classnames, indent=1)
    left = read_manifest(run.folder).damaged()
    if not left:
        return Action.REUSE
    for name in left:
        (run.folder / name).unlink(missing_ok=True)
    lost = [name for name in left if name.startswith("prompt_learner/")]
    if run.epochs and not lost:
        log.warning("%s: tested again with its best prompt", run.folder)
        return Action.RETEST
    log.warning("%s: run again from the start", run.folder)
    (run.folder / RESULTS).unlink(missing_ok=True)
    return Action.RUN
