"""Where numbers come from: versions, the commit of this project, and what the images were."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from datasets import Task
from datasets.task import Sample
from toolkit.common.archives import checksum

PACKAGES = ("torch", "torchvision", "open_clip_torch", "numpy", "pillow")


@lru_cache(maxsize=1)
def of_program() -> dict:
    """{"versions": {package: version}, "commit": hash}; the commit ends in "-dirty" where files differ from it, and is
    "" outside a git checkout."""
    return {"versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}} | {
        "commit": _commit()
    }


def of_lists(tasks: Sequence[Task]) -> str:
    """A fingerprint of what tasks train, validate and test on: class names, paths in the index, labels; 16 hexadecimal
    digits, the same on every machine."""
    total = hashlib.sha256()
    for task in tasks:
        for line in _lines(task):
            total.update(line)
    return total.hexdigest()[:16]


def of_data(task: Task) -> str:
    """Like `of_lists` of one task, over the images' content too: the checksum that a zip has of it, or a file's size."""
    total = hashlib.sha256()
    for line, sample in zip(_lines(task), [None, *_samples(task)], strict=True):
        total.update(line if sample is None else line + str(checksum(sample.impath)).encode())
    return total.hexdigest()[:16]


def _lines(task: Task) -> Iterator[bytes]:
    yield json.dumps([task.name, list(task.classnames)]).encode()
    for sample in _samples(task):
        yield f"{sample.key}\0{sample.labels}\n".encode("utf-8", "surrogateescape")


def _samples(task: Task) -> Iterator[Sample]:
    for split in (task.train_x, task.val, task.test):
        yield from split or ()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
