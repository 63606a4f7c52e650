"""log.txt of a run: its program and machine, without Dassl's own lines."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator

import torch
from dassl.utils import setup_logger
from yacs.config import CfgNode

import toolkit
from toolkit import plugin_files

from . import distributed
from .config import is_foreign, trainer_class
from .settings import task_names

log = logging.getLogger(__name__)


def start_log(cfg: CfgNode, first_line: str = "") -> None:
    """Open log.txt; its first lines name trainer, tasks, program and machine.

    It has the lines of epochs, which the console does not show.
    """
    setup_logger(cfg.OUTPUT_DIR if distributed.main() else None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.DEBUG)
    logging.getLogger("trainers.base").setLevel(logging.DEBUG)
    if first_line:
        log.info("%s", first_line)
    gpu = torch.cuda.is_available() and cfg.USE_CUDA
    device = "GPU" if gpu else "CPU"
    if distributed.world() > 1:
        device += f", {distributed.world()} processes"
    log.info("%s, torch %s, %s", toolkit.which_dassl(), torch.__version__, device)
    _log_run(cfg)
    for line in plugin_files.lines([cfg.TRAINER.NAME, *task_names(cfg)]):
        log.info("%s", line)
    precision = cfg.TRAINER.MVLPT.PREC
    is_ours = not is_foreign(trainer_class(cfg.TRAINER.NAME))
    if not gpu and is_ours and precision in ("fp16", "amp"):
        log.info(
            "precision: float32, as there is no GPU for TRAINER.MVLPT.PREC %s",
            precision,
        )


def _log_run(cfg: CfgNode) -> None:
    """Log the trainer, its tasks, the folder, and the scored images."""
    names = task_names(cfg)
    label = ", ".join(names)
    if len(names) > 5:
        label = f"{len(names)} tasks"
    shots, out = cfg.DATASET.NUM_SHOTS, os.path.relpath(cfg.OUTPUT_DIR)
    seed = "a random seed" if cfg.SEED < 0 else f"seed {cfg.SEED}"
    log.info("%s on %s, %d shots, %s -> %s", cfg.TRAINER.NAME, label, shots, seed, out)
    if cfg.TEST.NO_TEST:
        log.info("nothing is scored (TEST.NO_TEST)")
    elif cfg.TEST.SPLIT != "test":
        log.info(
            "scores are of validation images (TEST.SPLIT %s), so no predictions are written",
            cfg.TEST.SPLIT,
        )


@contextlib.contextmanager
def without_dassl_lines() -> Iterator[None]:
    """Keep Dassl's lines out of the log: native trainers have their own."""
    logger = logging.getLogger("dassl")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)
