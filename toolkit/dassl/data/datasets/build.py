"""The registry of datasets."""

from ...utils.registry import Registry, build_registered

DATASET_REGISTRY = Registry("DATASET")


def build_dataset(cfg):
    """Return the dataset `cfg.DATASET.NAME`, constructed with `cfg` alone.

    Raises ValueError naming the nearest one.
    """
    return build_registered(
        DATASET_REGISTRY, cfg.DATASET.NAME, "Loading dataset", cfg.VERBOSE, cfg
    )
