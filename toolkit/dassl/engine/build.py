"""The registry of trainers."""

from ..utils.registry import Registry

TRAINER_REGISTRY = Registry("TRAINER")


def build_trainer(cfg):
    """Return the trainer `cfg.TRAINER.NAME`, constructed with `cfg` alone."""
    return TRAINER_REGISTRY.build(cfg.TRAINER.NAME, "Loading trainer", cfg.VERBOSE, cfg)
