"""One run: a configuration, the prompt it starts from, and whether it trains. Checked, executed, or reused."""

from __future__ import annotations

import errno
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from dassl.engine import build_trainer
from dassl.utils import set_random_seed
from tqdm import tqdm
from yacs.config import CfgNode

from datasets import build_task, is_custom
from datasets.few_shot import find_record, to_record, write_record
from toolkit.common.archives import require_files
from toolkit.common.random_state import get_random_state, set_random_state

from . import distributed, provenance, results, resume
from .config import differences, load, trainer_class, without_local_paths
from .run_dir import exclusive_folder
from .settings import check, task_names

log = logging.getLogger(__name__)

FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)  # of the disk, not of the input


@dataclass(frozen=True)
class Run:
    """What is run in `cfg.OUTPUT_DIR`.

    Attributes:
        start: folder of the run whose prompt is the initial one, or is evaluated; empty: a fresh prompt.
        load_epoch: of `start`; None: its best.
        trains: False only evaluates.
        compare: also score zero-shot CLIP and, before training, the prompt it starts from.
        fresh: evaluating a prompt that was never trained is meant (--no-train).
        resume: continue an interrupted run in the folder; without it, one is refused.
    """

    cfg: CfgNode
    start: str = ""
    load_epoch: int | None = None
    trains: bool = True
    compare: bool = False
    fresh: bool = False
    resume: bool = False

    @property
    def folder(self) -> Path:
        """Where it writes."""
        return Path(self.cfg.OUTPUT_DIR)

    @property
    def epochs(self) -> int:
        """Epochs that it trains for."""
        return self.cfg.OPTIM.MAX_EPOCH if self.trains else 0


class Prepared:
    """The trainer that a check has built, for the run itself; taken once, so that it lives no longer than the run."""

    def __init__(self, trainer) -> None:
        self._trainer, self._state = trainer, get_random_state()

    def take(self):
        """The trainer; random generators are where they were when it was built."""
        trainer, self._trainer = self._trainer, None
        set_random_state(self._state)
        return trainer


def check_run(run: Run, start_exists: bool = True) -> Prepared:
    """Everything that can be wrong before anything is written: keys, data, the prompt it starts from, another run's
    results in its folder. Raises ValueError or FileNotFoundError. `execute` may have what was built for it.

    start_exists: False where an earlier run of the same plan makes the prompt that this one starts from.
    """
    check(run.cfg, trainer_class(run.cfg.TRAINER.NAME).joint)
    if not finished(run, start_exists):
        check_interrupted(run.folder, run.resume)
    trainer = _prepare(run, start_exists)
    require_files(item.impath for task in trainer.tasks for item in task.test)  # they are read last
    return Prepared(trainer)


def execute(run: Run, prepared: Prepared | None = None) -> list[dict]:
    """Train and evaluate, or only evaluate; results.json's records. A finished run is reused, an interrupted one goes
    on where `run.resume` says so.

    Raises ValueError where another process is at work in the folder, and OSError where a file cannot be written; what is
    lost then is the present epoch, as the message says.
    """
    with exclusive_folder(run.folder):
        try:
            reused = distributed.from_main(lambda: finished(run))
            return _reuse(run) if reused else _execute(run, prepared)
        except OSError as error:
            if error.errno in FAILURES:
                raise OSError(error.errno, f"{error.strerror}; {_kept(run)}", error.filename) from error
            raise


def _reuse(run: Run) -> list[dict]:
    resume.tidy(run.folder)
    names = task_names(run.cfg)
    with tqdm.external_write_mode():  # a bar may be open
        name = names[0] if len(names) == 1 else f"on {len(names)} tasks"
        log.info("%s %s: reused", run.cfg.TRAINER.NAME, name)
    return distributed.from_main(lambda: results.read_json(run.folder / "results.json"))


def _execute(run: Run, prepared: Prepared | None) -> list[dict]:
    cfg, folder = run.cfg, run.folder
    trainer = prepared.take() if prepared else _prepare(run)
    for note in trainer.notes:
        log.warning("%s", note)
    trainer.facts = {"epochs": run.epochs, "start": _digest(run), "drawn": provenance.of_lists(trainer.tasks)}
    trainer.resume = run.resume
    if distributed.main():
        check_interrupted(folder, run.resume)
        resume.remove_unfinished(folder)
        write_config(cfg)
    for task in trainer.tasks if distributed.main() else ():
        if cfg.DATASET.NUM_SHOTS > 0 and trainer.model.prompt is not None:
            path = folder / "fewshot" / f"{task.name}.json"
            seed = cfg.DATASET.RANDOM_SEED_SAMPLING if task.drawn_seed is None else task.drawn_seed
            write_record(path, task, cfg.DATASET.NUM_SHOTS, seed)
    same = [task.name for task in trainer.tasks if task.val and task.val == task.train_x]
    if same and run.trains:
        which = ", ".join(same) if len(same) < 6 else f"{len(same)} tasks"
        with tqdm.external_write_mode():
            log.info("%s: with one shot, the validation images are the training images", which)
    if run.compare:
        trainer.compare["zero_shot"] = trainer.scores("test", trainer.predict("test", zero_shot=True))
        if run.start and (run.trains or cfg.DATASET.NUM_SHOTS == 0):
            trainer.compare["source"] = trainer.scores("test", trainer.predict("test"))
    if run.trains:
        trainer.train()
    else:
        trainer.test()
        if trainer.model.prompt is not None:
            trainer.save_prompts(cfg.OUTPUT_DIR)
    return distributed.from_main(lambda: results.read_json(folder / "results.json"))


def finished(run: Run, start_exists: bool = True) -> bool:
    """Whether the run's folder holds its results already.

    Raises ValueError when it holds those of another run: another configuration, another initial prompt, or a trained
    prompt where this run only evaluates.
    """
    folder = run.folder
    check_configuration(run.cfg)
    if not run.trains and (folder / "prompt_learner").is_dir():
        raise _another(folder, ["that it was trained"])
    learns = run.cfg.TRAINER.NAME != "ZeroshotCLIP"
    if not (folder / "results.json").is_file() or (learns and not (folder / "prompts.safetensors").is_file()):
        return False
    first = results.read_json(folder / "results.json")[0]
    same_start = not start_exists or first.get("start") == _digest(run)
    if first.get("epochs", 0) and not same_start:
        raise _another(folder, ["the prompt it started from (--model-dir)"])
    complete = same_start and first.get("epochs") == run.epochs
    if complete:
        _check_own_images(run)
    return complete


def _check_own_images(run: Run) -> None:
    """Raise ValueError where images of one's own have changed since the finished run."""
    tested = {record["task"]: record["test_images"] for record in results.read_json(run.folder / "results.json")}
    for name in filter(is_custom, task_names(run.cfg)):
        task = build_task(run.cfg, name)
        same = tested.get(task.name, len(task.test)) == len(task.test)
        if (run.folder / "fewshot" / f"{task.name}.json").is_file():
            record, now = find_record(run.folder, task.name), to_record(task, run.cfg.DATASET.NUM_SHOTS, 0)
            same &= all(record[split] == now[split] for split in ("train", "val"))
        if not same:
            raise _another(run.folder, [f"the images of {task.name}"])


def check_interrupted(folder: Path, goes_on: bool) -> None:
    """Raise ValueError where a folder holds an unfinished run that has learnt something and is not to go on."""
    if not goes_on and (folder / "config.yaml").is_file() and any(folder.rglob("prompt_learner/*")):
        reached = resume.reached(folder)
        raise ValueError(
            f"{folder} holds an interrupted run{f' ({reached})' if reached else ''}: --resume auto goes on with it, "
            "--overwrite starts anew"
        )


def _kept(run: Run) -> str:
    """What a run that could not write has lost."""
    reached = resume.reached(run.folder)
    lost = f"{reached} are kept, the present epoch is lost" if reached else "nothing of it was done before"
    return f"{run.cfg.TRAINER.NAME} in {run.folder.name}: {lost}; with --resume auto the same command goes on"


def check_configuration(cfg: CfgNode) -> None:
    """Raise ValueError when `cfg.OUTPUT_DIR` holds a run of another configuration, naming the keys that differ."""
    path = Path(cfg.OUTPUT_DIR) / "config.yaml"
    different = differences(load(path), cfg) if path.is_file() else []
    if different:
        raise _another(path.parent, different)


def _another(folder: Path, different: list[str]) -> ValueError:
    what = ", ".join(different[:8])
    return ValueError(f"{folder} holds another run, it differs in {what}: use another --output-dir, or --overwrite it")


def write_config(cfg: CfgNode) -> None:
    """config.yaml, without what belongs to one machine."""
    results.write_text(Path(cfg.OUTPUT_DIR) / "config.yaml", without_local_paths(cfg).dump())


def _prepare(run: Run, start_exists: bool = True):
    """The trainer, with the prompt that it starts from."""
    set_random_seed(run.cfg.SEED)  # a run's numbers depend on its own seed, not on what ran before it
    _set_deterministic(run.cfg.TRAIN.DETERMINISTIC)
    trainer = build_trainer(run.cfg)
    learns = trainer.model.prompt is not None
    if learns and not run.trains and not run.start and not run.fresh:
        raise ValueError(
            f"nothing to evaluate: without training (--eval-only, --shots 0) {run.cfg.TRAINER.NAME} needs --model-dir, "
            "the folder of a run, or a source stage"
        )
    if learns and run.trains:
        trainer.check_training()
    if run.start and start_exists:
        trainer.load_model(run.start, run.load_epoch)
    return trainer


def _set_deterministic(wanted: bool) -> None:
    """Whether torch may only use kernels that give the same bits each time; one that has none then raises an error."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(wanted)
    torch.backends.cudnn.benchmark = False


def _digest(run: Run) -> str:
    return results.digest(run.start, run.load_epoch) if run.start and run.cfg.TRAINER.NAME != "ZeroshotCLIP" else ""
