"""Heads: a registry, filled by plugins."""

from .build import HEAD_REGISTRY, build_head

__all__ = ["HEAD_REGISTRY", "build_head"]
