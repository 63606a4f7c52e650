"""Test sets whose images are not in ELEVATER's order: `order.json` in a set's folder says so, as `python -m datasets prepare` writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from elevater_eval.entry import PredictionFile
from elevater_eval.problems import WARNING, Problem
from elevater_eval.tasks import TaskInfo

ORDER_FILE = "order.json"


def order_warning(entry: PredictionFile, tasks: Mapping[str, TaskInfo], root: str | Path | None) -> list[Problem]:
    """A warning where the entry's test set below the data root is marked: its predictions cannot be compared with the leaderboard's."""
    task = tasks.get(entry.dataset_name)
    marker = (Path(root) / task.test_index).parent / ORDER_FILE if task and root is not None else None
    if not (marker and marker.is_file()):
        return []
    message = f"made on a copy from {_source(marker)}, whose test images are not in ELEVATER's order: do not submit it ({marker})"
    return [Problem(WARNING, entry.where(), message)]


def _source(marker: Path) -> str:
    try:
        return str(json.loads(marker.read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return "elsewhere"
