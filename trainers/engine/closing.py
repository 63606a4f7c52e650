"""The last lines of a run's log: its files, and the commands that use them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from yacs.config import CfgNode

from datasets import is_custom

from . import tables
from .results import has_predictions
from .run_dir import RESULTS
from .settings import all_task_names


def result_lines(
    cfg: CfgNode, records: Sequence[dict], staged: bool = False
) -> list[str]:
    """Return lines that name the files of a run with the records of results.json, and
    the commands for them. staged: the prompts are in `adapt`, one of each task.
    """
    out = Path(os.path.relpath(cfg.OUTPUT_DIR))
    lines = [f"results: {out / RESULTS}"]
    folder = out / tables.FOLDER
    if (folder / tables.PREDICTIONS).is_file():
        lines.append(f"each prediction, confusions, scores of classes: {folder}")
    if (out / "submission.zip").is_file():
        lines.append(f"submission: {out / 'submission.zip'}")
    if has_predictions(records):
        lines.append(f"look at it: {report_command(cfg)}")
    prompt = out / "adapt" / records[0]["task"] if staged else out
    if (prompt / "prompts.safetensors").is_file():
        command = f"python -m prompting predict {shlex.quote(str(prompt))}"
        lines.append(f"use it: {command} IMAGE_OR_FOLDER")
    return lines


def report_command(cfg: CfgNode) -> str:
    """Return the command that writes the report of a run."""
    words = ["python", "-m", "scripts.report", os.path.relpath(cfg.OUTPUT_DIR)]
    root = data_root(cfg)
    if root:
        words += ["--root", root]
    return shlex.join(words)


def data_root(cfg: CfgNode) -> str:
    """Return --root, the folder of the first absolute custom task, or ""."""
    if cfg.DATASET.ROOT:
        return cfg.DATASET.ROOT
    for name in all_task_names(cfg):
        path = name.partition(":")[2]
        if is_custom(name) and os.path.isabs(path):
            return os.path.dirname(os.path.normpath(path))
    return ""
