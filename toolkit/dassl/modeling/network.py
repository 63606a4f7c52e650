"""Networks: a registry."""

from ..utils.registry import Registry, build_registered

NETWORK_REGISTRY = Registry("NETWORK")


def build_network(name: str, verbose: bool = True, **kwargs):
    """Return the network registered as `name`, constructed with `kwargs`.

    Raises ValueError if there is none.
    """
    return build_registered(NETWORK_REGISTRY, name, "network", verbose, **kwargs)
