"""Trainers that were written for Dassl alone: built, loaded, trained and tested as Dassl's own programs do."""

from __future__ import annotations

from pathlib import Path

from dassl.data import data_manager
from dassl.engine import build_trainer
from dassl.utils import set_random_seed
from yacs.config import CfgNode

from datasets.custom import task as custom
from datasets.union import register_union
from toolkit.common import images

from .config import with_overrides
from .run import check_configuration, write_config


def checked(cfg: CfgNode, trains: bool) -> CfgNode:
    """The configuration with RESUME as Dassl has it: the folder with regular checkpoints (TRAIN.CHECKPOINT_FREQ), or none.

    Raises ValueError where the folder holds another run, or a trained one that is neither to go on nor only evaluated.
    """
    folder = Path(cfg.OUTPUT_DIR)
    check_configuration(cfg)
    if trains and not cfg.RESUME and any(folder.glob("*/model*.pth.tar*")):
        raise ValueError(f"{folder} holds a run: --resume auto goes on with it, --overwrite starts anew")
    goes_on = cfg.RESUME and any(folder.glob("*/checkpoint"))
    return with_overrides(cfg, RESUME=cfg.OUTPUT_DIR if goes_on else "")


def run(cfg: CfgNode, model_dir: str, load_epoch: int | None, eval_only: bool, no_train: bool) -> None:
    """Train and test, or only test; several tasks are one union of classes."""
    given, names = cfg, cfg.DATASET.DATASET.split(",")
    set_random_seed(cfg.SEED)
    data_manager.read_image = images.read_image  # Dassl's loaders take images in zips, too
    if len(names) > 1:
        cfg = with_overrides(cfg, DATASET__NAME=register_union(names))
    else:
        custom.register(cfg.DATASET.NAME)
    trainer = build_trainer(cfg)
    write_config(given)
    if eval_only or model_dir:
        trainer.load_model(model_dir, epoch=load_epoch)
    if eval_only or no_train:
        trainer.test()
    else:
        trainer.train()
