"""The registry of networks."""

from ..utils.registry import Registry

NETWORK_REGISTRY = Registry("NETWORK")


def build_network(name: str, verbose: bool = True, **kwargs):
    """Return the network registered as `name`, constructed with `kwargs`."""
    return NETWORK_REGISTRY.build(name, "network", verbose, **kwargs)
