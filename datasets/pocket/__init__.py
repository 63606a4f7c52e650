"""The pocket suite: 11 source and 20 target tasks that are rendered on first use and then read like the real ones.

The tasks are registered by `datasets.pocket.tasks`.
"""

from __future__ import annotations

from .specs import SOURCES, SPECS, TARGETS, Spec
from .suite import ensure, ensure_all, home

__all__ = ["SOURCES", "SPECS", "TARGETS", "Spec", "ensure", "ensure_all", "home"]
