"""One run: a configuration, the prompt it starts from, and whether it trains. Checked, executed, or reused."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from dassl.engine import build_trainer
from dassl.utils import set_random_seed
from tqdm import tqdm
from yacs.config import CfgNode

from datasets import build_task, is_own
from datasets.fewshot import find_record, to_record, write_record

from . import results
from .configuration import differences, load, shareable, trainer_class
from .settings import check, task_names

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What is run in `cfg.OUTPUT_DIR`.

    Attributes:
        start: folder of the run whose prompt is the initial one, or is evaluated; empty: a fresh prompt.
        load_epoch: of `start`; None: its best.
        trains: False only evaluates.
        compare: also score zero-shot CLIP and, before training, the prompt it starts from.
        fresh: evaluating a prompt that was never trained is meant (--no-train).
        resume: continue an interrupted run in the folder.
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


def check_run(run: Run, start_exists: bool = True) -> None:
    """Everything that can be wrong before anything is written: keys, data, the prompt it starts from, another run's
    results in its folder. Raises ValueError or FileNotFoundError.

    start_exists: False where an earlier run of the same plan makes the prompt that this one starts from.
    """
    check(run.cfg, trainer_class(run.cfg.TRAINER.NAME).joint)
    finished(run, start_exists)
    if run.cfg.RESUME and not (Path(run.cfg.RESUME) / "prompt_learner").is_dir():
        raise FileNotFoundError(f"--resume (RESUME): {run.cfg.RESUME} holds no run (no prompt_learner/)")
    _prepare(run, start_exists)


def execute(run: Run) -> list[dict]:
    """Train and evaluate, or only evaluate; results.json's records. A finished run is reused."""
    cfg, folder = run.cfg, run.folder
    if finished(run):
        names = task_names(cfg)
        with tqdm.external_write_mode():  # a bar may be open
            log.info("%s %s: reused", cfg.TRAINER.NAME, names[0] if len(names) == 1 else f"on {len(names)} tasks")
        return results.read_json(folder / "results.json")
    trainer = _prepare(run)
    for note in trainer.notes:
        log.warning("%s", note)
    trainer.facts = {"epochs": run.epochs, "start": _digest(run)}
    write_config(cfg)
    for task in trainer.tasks:
        if cfg.DATASET.NUM_SHOTS > 0 and trainer.model.prompt is not None:
            path = folder / "fewshot" / f"{task.name}.json"
            seed = cfg.DATASET.RANDOM_SEED_SAMPLING if task.drawn_seed is None else task.drawn_seed
            write_record(path, task, cfg.DATASET.NUM_SHOTS, seed)
    same = [task.name for task in trainer.tasks if task.val and task.val == task.train_x]
    if same and run.trains:
        with tqdm.external_write_mode():
            log.info("%s: with one shot, the validation images are the training images", ", ".join(same))
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
    return results.read_json(folder / "results.json")


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
    for name in filter(is_own, task_names(run.cfg)):
        task = build_task(run.cfg, name)
        same = tested.get(task.name, len(task.test)) == len(task.test)
        if (run.folder / "fewshot" / f"{task.name}.json").is_file():
            record, now = find_record(run.folder, task.name), to_record(task, run.cfg.DATASET.NUM_SHOTS, 0)
            same &= all(record[split] == now[split] for split in ("train", "val"))
        if not same:
            raise _another(run.folder, [f"the images of {task.name}"])


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
    results.write_text(Path(cfg.OUTPUT_DIR) / "config.yaml", shareable(cfg).dump())


def _prepare(run: Run, start_exists: bool = True):
    """The trainer, with the prompt that it starts from."""
    set_random_seed(run.cfg.SEED)  # a run's numbers depend on its own seed, not on what ran before it
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


def _digest(run: Run) -> str:
    return results.digest(run.start, run.load_epoch) if run.start and run.cfg.TRAINER.NAME != "ZeroshotCLIP" else ""
