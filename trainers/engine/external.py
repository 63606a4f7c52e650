"""Trainers that were written for Dassl alone: built, loaded, trained and tested as
Dassl's own programs do.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from dassl.data import data_manager
from dassl.engine import build_trainer
from dassl.utils import set_random_seed
from yacs.config import CfgNode

from datasets.custom import task as custom
from datasets.union import register_union
from toolkit.common import images

from . import distributed
from .config import RunOptions, with_overrides
from .run_dir import (
    FolderState,
    Status,
    another_run,
    decide,
    different_keys,
    write_config,
)
from .settings import task_names, wrong_values


def check_processes(cfg: CfgNode) -> None:
    """Raise ValueError under torchrun."""
    if distributed.world() > 1:
        raise ValueError(
            f"{cfg.TRAINER.NAME} is a trainer for one process (TRAINER.NAME): start it without torchrun"
        )


def check(cfg: CfgNode, options: RunOptions) -> None:
    """Raise ValueError for values that no trainer can have, and if the folder holds
    another run, or a trained one that is neither to continue nor only evaluated.
    """
    issues = wrong_values(cfg)
    if len(cfg.INPUT.SIZE) != 2:
        issues.append(
            f"INPUT.SIZE is {cfg.INPUT.SIZE}; {cfg.TRAINER.NAME} takes height and width"
        )
    if issues:
        raise ValueError("\n".join(issues))
    folder = Path(cfg.OUTPUT_DIR)
    state = FolderState(Status.EMPTY)
    different = different_keys(cfg)
    if different:
        state = another_run(different)
    elif not options.eval_only and not options.no_train:
        if any(folder.glob("*/model*.pth.tar*")):
            state = FolderState(Status.INTERRUPTED)  # or finished: Dassl does not tell
    decide(folder, state, options.resume)


def run(cfg: CfgNode, options: RunOptions) -> None:
    """Train and test, or only test; several tasks are one union of classes."""
    names = task_names(cfg)
    # see TRAIN.CHECKPOINT_FREQ
    can_resume = options.resume and any(Path(cfg.OUTPUT_DIR).glob("*/checkpoint"))
    cfg = with_overrides(cfg, RESUME=cfg.OUTPUT_DIR if can_resume else "")
    written = cfg
    set_random_seed(cfg.SEED)
    # takes images in zips, too
    data_manager.read_image = partial(
        images.read_image, background=cfg.INPUT.BACKGROUND
    )
    if len(names) > 1:
        cfg = with_overrides(cfg, DATASET__NAME=register_union(names))
    else:
        custom.register(cfg.DATASET.NAME)
    trainer = build_trainer(cfg)
    write_config(written)
    if options.eval_only or options.model_dir:
        trainer.load_model(options.model_dir, epoch=options.load_epoch)
    if options.eval_only or options.no_train:
        trainer.test()
    else:
        trainer.train()
