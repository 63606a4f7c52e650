"""The registry of datasets."""

from ...utils.registry import Registry

DATASET_REGISTRY = Registry("DATASET")


def build_dataset(cfg):
    """Return the dataset `cfg.DATASET.NAME`, constructed with `cfg` alone."""
    return DATASET_REGISTRY.build(cfg.DATASET.NAME, "Loading dataset", cfg.VERBOSE, cfg)
