"""The registry of trainers."""

import logging

from ..utils import Registry, check_availability

logger = logging.getLogger(__name__)

TRAINER_REGISTRY = Registry("TRAINER")


def build_trainer(cfg):
    """The trainer named by ``cfg.TRAINER.NAME``, constructed with ``cfg`` alone.

    Raises:
        ValueError: no such trainer; the message names the nearest one.
    """
    check_availability(cfg.TRAINER.NAME, TRAINER_REGISTRY.registered_names())
    if cfg.VERBOSE:
        logger.info("Loading trainer: %s", cfg.TRAINER.NAME)
    return TRAINER_REGISTRY.get(cfg.TRAINER.NAME)(cfg)
