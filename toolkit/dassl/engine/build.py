"""The registry of trainers."""

from ..utils.registry import Registry, build_registered

TRAINER_REGISTRY = Registry("TRAINER")


def build_trainer(cfg):
    """Return the trainer `cfg.TRAINER.NAME`, constructed with `cfg` alone.

    Raises ValueError naming the nearest one.
    """
    return build_registered(
        TRAINER_REGISTRY, cfg.TRAINER.NAME, "Loading trainer", cfg.VERBOSE, cfg
    )
