"""Test sets whose images are not in ELEVATER's order: `order.json` in a set's folder says so, as `python -m datasets prepare` writes it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from elevater_eval.entry import PredictionFile
from elevater_eval.problems import WARNING, Problem
from elevater_eval.tasks import TaskInfo

ORDER_FILE = "order.json"


def order_warnings(entries: Iterable[PredictionFile], tasks: Mapping[str, TaskInfo], root: str | Path) -> list[Problem]:
    """A warning for each entry whose test set below the data root is marked: its predictions cannot be compared with the leaderboard's."""
    problems = []
    for entry in entries:
        task = tasks.get(entry.dataset_name)
        marker = (Path(root) / task.test_index).parent / ORDER_FILE if task else None
        if marker and marker.is_file():
            message = f"made on a copy from {_source(marker)}, whose test images are not in ELEVATER's order: do not submit it ({marker})"
            problems.append(Problem(WARNING, entry.where(), message))
    return problems


def _source(marker: Path) -> str:
    try:
        return str(json.loads(marker.read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return "elsewhere"
