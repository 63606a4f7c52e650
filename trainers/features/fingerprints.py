"""Fingerprints of what features are computed from: an image tower, and image files as they are on disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import torch
from torch import nn

from datasets.task import Sample
from toolkit.common.archives import split_archive

MOOD = ("training", "grad_checkpointing")  # attributes of modules that change no feature


def of_tower(tower: nn.Module) -> str:
    """A fingerprint of a module's tensors and of its structure, such as numbers of heads and activations."""
    total = hashlib.sha256(repr(tower).encode())
    for name, module in tower.named_modules():
        facts = sorted((key, value) for key, value in vars(module).items() if _is_fact(key, value))
        total.update(f"{name} {facts}\n".encode())
    for name, value in tower.state_dict().items():
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def of_images(samples: Sequence[Sample]) -> str:
    """A fingerprint of images in order: their paths as the task's index has them, and size and time of change of the
    files or zips that they lie in. Nothing of it depends on the folder where the data are."""
    total, files = hashlib.sha256(), {}
    for sample in samples:
        file = split_archive(sample.impath)[0]
        if file not in files:
            files[file] = _state(file)
        total.update(f"{sample.key}\0{files[file]}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def of_text(*parts: object) -> str:
    """A fingerprint of plain values."""
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()


def _state(file: str) -> str:
    try:
        info = os.stat(file)
    except OSError:
        return "missing"  # reading it will say so
    return f"{info.st_size} {info.st_mtime_ns}"


def _is_fact(key: str, value: object) -> bool:
    plain = isinstance(value, (bool, int, float, str)) or (
        isinstance(value, tuple) and all(isinstance(part, (int, float, str)) for part in value)
    )
    return plain and key not in MOOD
