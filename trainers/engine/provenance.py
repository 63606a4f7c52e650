"""The origin of numbers: versions, the commit of this project, and the images."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from datasets import Task
from datasets.task import Sample
from toolkit.common.archives import content_checksum
from toolkit.common.hardware import processor_name

from . import distributed

PACKAGES = ("torch", "torchvision", "open_clip_torch", "numpy", "pillow")


@lru_cache(maxsize=1)
def of_program() -> dict:
    """Return {"versions": {package: version}, "commit": hash}; the commit ends in
    "-dirty" if files differ from it, and is "" outside a git checkout.
    """
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        versions[name] = _version(name)
    return {"versions": versions, "commit": _commit()}


def of_machine(device: str) -> dict:
    """Return {"cpu", "threads", "processes", "device"}: numbers of the same program may
    differ if these do.

    device: of the computation, "cpu" or "cuda".
    """
    if device.startswith("cuda"):
        device = torch.cuda.get_device_name()
    return {
        "cpu": processor_name(),
        "threads": torch.get_num_threads(),
        "processes": distributed.world(),
        "device": device,
    }


def of_lists(tasks: Sequence[Task]) -> str:
    """Return a fingerprint of the data that tasks train, validate and test on: class
    names, paths in the index, labels; 16 hexadecimal digits, the same on every machine.
    """
    total = hashlib.sha256()
    for task in tasks:
        total.update(_head(task))
        for sample in _samples(task):
            total.update(_line(sample))
    return total.hexdigest()[:16]


def of_data(task: Task) -> str:
    """Return such a fingerprint of one task, over the images' content, too; 16
    hexadecimal digits.
    """
    total = hashlib.sha256(_head(task))
    for sample in _samples(task):
        total.update(_line(sample))
        total.update(content_checksum(sample.impath).encode())
    return total.hexdigest()[:16]


def of_content(tasks: Sequence[Task]) -> str:
    """Return such a fingerprint of several tasks: `of_data` of all; 16 hexadecimal
    digits.
    """
    total = hashlib.sha256()
    for task in tasks:
        total.update(of_data(task).encode())
    return total.hexdigest()[:16]


def of_settings(tasks: Sequence[Task]) -> str:
    """Return a fingerprint of how tasks are prompted, cropped and scored; 16
    hexadecimal digits.
    """
    known = []
    for task in tasks:
        templates = list(task.templates)
        known.append([task.name, templates, task.crop, task.label_kind, task.metric])
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


def _head(task: Task) -> bytes:
    return json.dumps([task.name, list(task.classnames)]).encode()


def _line(sample: Sample) -> bytes:
    return f"{sample.key}\0{sample.labels}\n".encode("utf-8", "surrogateescape")


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
            command,
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""
