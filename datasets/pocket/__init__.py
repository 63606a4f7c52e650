"""The pocket suite: 11 source tasks, 20 target tasks and 4 shifted ones, rendered on
first use and then read like real ones. The tasks are registered by
`datasets.pocket.tasks`.
"""

from .specs import SHIFTS, SOURCES, SPECS, TARGETS, Spec
from .suite import ensure, ensure_all, home

__all__ = [
    "SHIFTS",
    "SOURCES",
    "SPECS",
    "TARGETS",
    "Spec",
    "ensure",
    "ensure_all",
    "home",
]
