"""The registry of networks."""

import logging

from ...utils import Registry, check_availability

logger = logging.getLogger(__name__)

NETWORK_REGISTRY = Registry("NETWORK")


def build_network(name: str, verbose: bool = True, **kwargs):
    """The network registered as ``name``, constructed with ``kwargs``.

    Raises:
        ValueError: no such network.
    """
    check_availability(name, NETWORK_REGISTRY.registered_names())
    if verbose:
        logger.info("network: %s", name)
    return NETWORK_REGISTRY.get(name)(**kwargs)
