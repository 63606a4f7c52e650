"""The registry of datasets."""

import logging

from ...utils import Registry, check_availability

logger = logging.getLogger(__name__)

DATASET_REGISTRY = Registry("DATASET")


def build_dataset(cfg):
    """The dataset named by ``cfg.DATASET.NAME``, constructed with ``cfg`` alone.

    Raises:
        ValueError: no such dataset; the message names the nearest one.
    """
    check_availability(cfg.DATASET.NAME, DATASET_REGISTRY.registered_names())
    if cfg.VERBOSE:
        logger.info("Loading dataset: %s", cfg.DATASET.NAME)
    return DATASET_REGISTRY.get(cfg.DATASET.NAME)(cfg)
