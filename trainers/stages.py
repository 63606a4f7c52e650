"""Experiments of more than one run: a source prompt learnt on many tasks, then each target adapted from it, or from
scratch."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from dassl.engine import build_trainer
from dassl.utils import set_random_seed
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm
from yacs.config import CfgNode

from datasets import build_task, pocket
from datasets.fewshot import write_record
from elevater_eval import combine

from . import results
from .configuration import changed, differences, load, shareable, trainer_class
from .frozen import device_of, frozen
from .settings import check

log = logging.getLogger(__name__)


@dataclass
class Plan:
    """What is run.

    Attributes:
        sources: tasks of the source stage; empty: there is none.
        targets: each is adapted and evaluated on its own.
        groups: target -> related tasks that are trained on with it (adaptation "M"); others alone ("S").
        model_dir: an existing run to start every target from, or to evaluate.
        eval_only: evaluate `model_dir`, train nothing.
    """

    sources: list[str]
    targets: list[str]
    groups: dict[str, list[str]] = field(default_factory=dict)
    model_dir: str = ""
    load_epoch: int | None = None
    eval_only: bool = False


def run_one(
    cfg: CfgNode,
    model_dir: str = "",
    load_epoch: int | None = None,
    eval_only: bool = False,
    train: bool = True,
    compare: bool = False,
) -> list[dict]:
    """One run in `cfg.OUTPUT_DIR`: train from `model_dir`'s prompt if one is given, evaluate, and return
    results.json's records.

    A finished run of the same configuration is reused. `compare` adds the zero-shot score and that of the prompt it
    starts from.
    """
    folder = Path(cfg.OUTPUT_DIR)
    if not eval_only and finished(cfg):
        log.info("%s %s: reused from %s", cfg.TRAINER.NAME, cfg.DATASET.DATASET, folder.name)
        return results.read_json(folder / "results.json")
    set_random_seed(cfg.SEED)  # a run's numbers depend on its own seed, not on what ran before it
    trainer = build_trainer(cfg)
    if model_dir:
        trainer.load_model(model_dir, load_epoch)
    elif eval_only and trainer.model.prompt is not None:
        raise ValueError("--eval-only needs --model-dir, the folder of the run to evaluate")
    folder.mkdir(parents=True, exist_ok=True)
    write_config(cfg)
    for task in trainer.tasks:
        if cfg.DATASET.NUM_SHOTS > 0 and trainer.model.prompt is not None:
            write_record(
                folder / "fewshot" / f"{task.name}.json", task, cfg.DATASET.NUM_SHOTS, cfg.DATASET.RANDOM_SEED_SAMPLING
            )
    if compare:
        trainer.compare["zero_shot"] = trainer.scores("test", trainer.predict("test", zero_shot=True))
        if model_dir and not eval_only:
            trainer.compare["source"] = trainer.scores("test", trainer.predict("test"))
    if eval_only or not train or cfg.DATASET.NUM_SHOTS == 0:
        if not model_dir and train and trainer.model.prompt is not None:
            raise ValueError(
                f"nothing to evaluate: without training {cfg.TRAINER.NAME} needs --model-dir, or a source stage"
            )
        trainer.test()
        if trainer.model.prompt is not None:
            trainer.save_prompts(cfg.OUTPUT_DIR)
    else:
        trainer.train()
    return results.read_json(folder / "results.json")


def finished(cfg: CfgNode) -> bool:
    """Whether `cfg.OUTPUT_DIR` holds a finished run of this configuration. Raises ValueError when it holds another
    one."""
    folder = Path(cfg.OUTPUT_DIR)
    if not (folder / "config.yaml").is_file():
        return False
    different = differences(load(folder / "config.yaml"), cfg)
    if different:
        raise ValueError(
            f"{folder} holds a run with another configuration, it differs in {', '.join(different[:8])}: "
            "choose another --output-dir, or --overwrite it"
        )
    return (folder / "results.json").is_file() and (
        (folder / "prompts.safetensors").is_file() or cfg.TRAINER.NAME == "ZeroshotCLIP"
    )


def write_config(cfg: CfgNode) -> None:
    """config.yaml, without what belongs to one machine."""
    path = Path(cfg.OUTPUT_DIR) / "config.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(shareable(cfg).dump(), encoding="utf-8")


def run_plan(cfg: CfgNode, plan: Plan) -> list[dict]:
    """Source stage, adaptation of each target, and the collected results: predictions/, results.json, results.md,
    submission.zip."""
    out, top = Path(cfg.OUTPUT_DIR), _whole(cfg, plan)
    write_config(top)
    start = plan.model_dir
    if plan.sources:
        shots = cfg.MULTITASK.SOURCE_SHOTS if cfg.MULTITASK.SOURCE_SHOTS > -2 else (cfg.DATASET.NUM_SHOTS or 20)
        source = changed(
            cfg,
            DATASET__DATASET=",".join(plan.sources),
            OUTPUT_DIR=str(out / "source"),
            DATASET__NUM_SHOTS=shots,
            DATASET__NUM_SAMPLES_PER_CLASS=shots,
            MULTITASK__SOURCE="",
            OPTIM__MAX_EPOCH=cfg.MULTITASK.SOURCE_EPOCH or cfg.OPTIM.MAX_EPOCH,
        )
        log.info("stage 1: a source prompt over %d tasks", len(plan.sources))
        run_one(source, plan.model_dir, plan.load_epoch)
        start = str(out / "source")
    log.info(
        "stage 2: %d targets, %s", len(plan.targets), "each from the source prompt" if start else "each from scratch"
    )
    records = []
    with logging_redirect_tqdm(), tqdm(plan.targets, desc="targets", unit="task", dynamic_ncols=True) as bar:
        for target in bar:
            group = [name for name in plan.groups.get(target, []) if name != target]
            own = changed(
                cfg,
                DATASET__DATASET=",".join([target, *group]),
                OUTPUT_DIR=str(out / "adapt" / target),
                MULTITASK__SOURCE="",
                DATASET__MULTITASK_EVALKEY=target if group else "average",
            )
            epoch = None if plan.sources else plan.load_epoch
            records += run_one(
                own, _run_of(start, target) if plan.eval_only else start, epoch, plan.eval_only, compare=True
            )
            log.info(results.one_line(records[-1]))
    collect(out, records)
    return records


def _run_of(directory: str, target: str) -> str:
    """The adapted run of a target below a two-stage run, or the directory itself."""
    own = Path(directory) / "adapt" / target
    return str(own) if directory and own.is_dir() else directory


def _whole(cfg: CfgNode, plan: Plan) -> CfgNode:
    """The configuration that stands for a plan as a whole."""
    return changed(cfg, MULTITASK__SOURCE=",".join(plan.sources), DATASET__DATASET=",".join(plan.targets))


def check_plan(cfg: CfgNode, plan: Plan, several: bool) -> None:
    """Everything that can be wrong, before anything is written: names, data, keys, another run in the output folder.

    Pocket tasks that are missing are rendered; every task is built once.
    """
    cls = trainer_class(cfg.TRAINER.NAME)
    if plan.sources and not cls.joint:
        raise ValueError(
            f"--source (MULTITASK.SOURCE): {cfg.TRAINER.NAME} learns one task at a time; use M{cfg.TRAINER.NAME}"
        )
    unknown = [target for target in plan.groups if target not in plan.targets]
    if unknown:
        raise ValueError(f"--groups names {', '.join(unknown)}, which are no targets (--dataset)")
    for names in (
        [plan.sources, *([target, *plan.groups.get(target, [])] for target in plan.targets)]
        if several
        else [plan.targets]
    ):
        if names:
            check(
                changed(
                    cfg,
                    DATASET__DATASET=",".join(names),
                    DATASET__MULTITASK_EVALKEY="average" if several else cfg.DATASET.MULTITASK_EVALKEY,
                ),
                cls.joint,
            )
    if not plan.eval_only:
        finished(_whole(cfg, plan))
    names = list(
        dict.fromkeys([*plan.sources, *plan.targets, *(name for group in plan.groups.values() for name in group)])
    )
    rendered = pocket.ensure_all([name for name in names if name in pocket.SPECS])
    if rendered:
        log.info("%d pocket tasks rendered", rendered)
    for name in names:
        build_task(cfg, name)
    frozen(cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.PRETRAINED, device_of(cfg))


def collect(out: Path, records: list[dict]) -> None:
    """Gather the targets' predictions and results at the top of a run, and pack the submission."""
    shutil.rmtree(out / "predictions", ignore_errors=True)
    (out / "predictions").mkdir(parents=True)
    for record in records:
        name = f"seed{record['seed']}_{record['task']}.json"
        shutil.copyfile(out / "adapt" / record["task"] / "predictions" / name, out / "predictions" / name)
    results.write_json(out / "results.json", records)
    (out / "results.md").write_text(results.markdown(records), encoding="utf-8")
    combine([out / "predictions"], out / "submission.zip")
