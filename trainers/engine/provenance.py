"""The origin of numbers: versions, the commit of this project, and the images."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from datasets import Task
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
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = ""
    return {"versions": versions, "commit": _commit()}


def of_machine(device: str) -> dict:
    """Return {"cpu", "threads", "processes", "device"}, on which numbers may depend.
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


def of_tasks(tasks: Sequence[Task]) -> dict[str, str]:
    """Return fingerprints of 16 hexadecimal digits, the same on every machine: "drawn" of
    class names, paths in the index and labels; "content" of the images, too; "settings"
    of how tasks are prompted, cropped and scored.
    """
    settings = []
    for task in tasks:
        templates = list(task.templates)
        settings.append([task.name, templates, task.crop, task.label_kind, task.metric])
    return {
        "drawn": _digest(part for task in tasks for part in _described(task)),
        "content": _digest(of_data(task).encode() for task in tasks),
        "settings": _digest([json.dumps(settings).encode()]),
    }


def of_data(task: Task) -> str:
    """Return a fingerprint of a task's classes, labels and images, 16 digits."""
    return _digest(_described(task, content=True))


def _described(task: Task, content: bool = False) -> Iterator[bytes]:
    yield json.dumps([task.name, list(task.classnames)]).encode()
    for split in (task.train_x, task.val, task.test):
        for sample in split or ():
            line = f"{sample.key}\0{sample.labels}\n"
            yield line.encode("utf-8", "surrogateescape")
            if content:
                yield content_checksum(sample.impath).encode()


def _digest(parts: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()[:16]


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    here = {"cwd": Path(__file__).parent, "stderr": subprocess.DEVNULL}
    try:
        found = subprocess.check_output(command, text=True, timeout=20, **here)
    except (OSError, subprocess.SubprocessError):
        return ""
    return found.strip()
