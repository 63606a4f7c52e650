"""Registries of model parts, filled by plugins."""

from ..utils.registry import Registry
from .backbone import BACKBONE_REGISTRY, Backbone, build_backbone

HEAD_REGISTRY = Registry("HEAD")
NETWORK_REGISTRY = Registry("NETWORK")


def build_head(name: str, verbose: bool = True, **kwargs):
    """Return the head registered as `name`, constructed with `kwargs`."""
    return HEAD_REGISTRY.build(name, "head", verbose, **kwargs)


def build_network(name: str, verbose: bool = True, **kwargs):
    """Return the network registered as `name`, constructed with `kwargs`."""
    return NETWORK_REGISTRY.build(name, "network", verbose, **kwargs)
