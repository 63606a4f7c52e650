"""Checks of tensors from untrusted files, made before anything is computed with them or
allocated for them.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_MOST_SHARED = 4  # times that a file's values may be used by its tensors: tied weights


def check_sizes(tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Raise ValueError if tensors claim more values than the file holds (strides 0)."""
    held = {}
    claimed = 0
    for name, value in tensors.items():
        size = value.numel() * value.element_size()
        storage = value.untyped_storage()
        if size > storage.nbytes():
            raise ValueError(f"{source}: {name} claims more values than the file holds")
        claimed += size
        held[storage.data_ptr()] = storage.nbytes()
    if claimed > _MOST_SHARED * sum(held.values()):
        raise ValueError(f"{source}: its tensors claim more values than the file holds")


def check_finite(tensors: Mapping[str, Tensor], source: str | Path) -> None:
    """Raise ValueError naming the file and the first tensor that holds NaN or infinity,
    or numbers of 8 bits, which mean nothing without their scales.
    """
    for name, value in tensors.items():
        if value.is_floating_point() and value.dtype not in _FLOATS:
            kind = str(value.dtype).removeprefix("torch.")
            raise ValueError(
                f"{source}: {name} holds {kind}; quantised weights cannot be used"
            )
        if value.is_floating_point() and not torch.isfinite(value).all():
            kind = "NaN" if torch.isnan(value).any() else "infinity"
            raise ValueError(
                f"{source}: {name} holds {kind}: the file is damaged, or its training diverged"
            )
