"""The registry of heads."""

import logging

from ...utils import Registry, check_availability

logger = logging.getLogger(__name__)

HEAD_REGISTRY = Registry("HEAD")


def build_head(name: str, verbose: bool = True, **kwargs):
    """The head registered as ``name``, constructed with ``kwargs``.

    Raises:
        ValueError: no such head.
    """
    check_availability(name, HEAD_REGISTRY.registered_names())
    if verbose:
        logger.info("head: %s", name)
    return HEAD_REGISTRY.get(name)(**kwargs)
