"""Fingerprints of what image features depend on: an image tower, and images."""

import hashlib
from collections.abc import Sequence

import torch
from torch import nn

from datasets.task import Sample
from toolkit.common.archives import content_checksum

# attributes of modules that change no feature
MODES = ("training", "grad_checkpointing")


def of_tower(tower: nn.Module) -> str:
    """Return a fingerprint of a module's tensors and structure."""
    total = hashlib.sha256(repr(tower).encode())
    for name, module in tower.named_modules():
        attributes = []
        for key, value in sorted(vars(module).items()):
            if key not in MODES and _is_plain(value):
                attributes.append((key, value))
        total.update(f"{name} {attributes}\n".encode())
    for name, value in tower.state_dict().items():
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        content = value.detach().cpu().contiguous()
        total.update(content.reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def of_images(samples: Sequence[Sample]) -> str:
    """Return a fingerprint of the content of images, in order, and of nothing else."""
    total = hashlib.sha256()
    for sample in samples:
        try:
            content = content_checksum(sample.impath)
        except (OSError, ValueError):
            content = "unreadable"  # decoding it says why
        total.update(f"{content}\n".encode())
    return total.hexdigest()


def of_text(*parts: object) -> str:
    """Return a fingerprint of plain values."""
    text = "\n".join(map(repr, parts))
    return hashlib.sha256(text.encode()).hexdigest()


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(isinstance(part, (int, float, str)) for part in value)
    return isinstance(value, (bool, int, float, str))
