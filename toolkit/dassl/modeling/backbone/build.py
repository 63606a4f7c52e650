"""The registry of backbones."""

import logging

from ...utils import Registry, check_availability

logger = logging.getLogger(__name__)

BACKBONE_REGISTRY = Registry("BACKBONE")


def build_backbone(name: str, verbose: bool = True, **kwargs):
    """The backbone registered as ``name``, constructed with ``kwargs``.

    Raises:
        ValueError: no such backbone.
    """
    check_availability(name, BACKBONE_REGISTRY.registered_names())
    if verbose:
        logger.info("backbone: %s", name)
    return BACKBONE_REGISTRY.get(name)(**kwargs)
