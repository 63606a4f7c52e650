"""The registry of heads."""

from ..utils.registry import Registry

HEAD_REGISTRY = Registry("HEAD")


def build_head(name: str, verbose: bool = True, **kwargs):
    """Return the head registered as `name`, constructed with `kwargs`."""
    return HEAD_REGISTRY.build(name, "head", verbose, **kwargs)
