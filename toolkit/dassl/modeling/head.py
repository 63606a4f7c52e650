"""Heads: a registry."""

from ..utils.registry import Registry, build_registered

HEAD_REGISTRY = Registry("HEAD")


def build_head(name: str, verbose: bool = True, **kwargs):
    """Return the head registered as `name`, constructed with `kwargs`.

    Raises ValueError if there is none.
    """
    return build_registered(HEAD_REGISTRY, name, "head", verbose, **kwargs)
