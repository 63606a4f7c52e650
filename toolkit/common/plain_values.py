"""Values that a checkpoint may hold: `torch.load` reads them with `weights_only=True`;
among them the state of all random generators.
"""

import random
from collections import Counter, OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor


def plain_values(value: Any, where: str = "state") -> Any:
    """Return ``value`` made of tensors, numbers, strings, None, dicts, lists and tuples
    only.

    numpy scalars become Python's, numpy arrays tensors.

    Raises:
        TypeError: it holds anything else; the message names its position.
    """
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if value is None or isinstance(value, (bool, int, float, str, Counter)):
        return value
    if isinstance(value, Mapping):
        found: dict = OrderedDict() if isinstance(value, OrderedDict) else {}
        for key, item in value.items():
            found[key] = plain_values(item, f"{where}[{key!r}]")
        return found
    if isinstance(value, (list, tuple)):
        items = [plain_values(item, f"{where}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    raise TypeError(
        f"A checkpoint holds plain values only, but {where} is of type {type(value).__name__}"
    )


def get_random_state() -> dict:
    """Return the states of Python's, numpy's and torch's generators as plain values."""
    name, keys, *rest = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, torch.from_numpy(keys.astype(np.int64)), *rest),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict) -> None:
    """Restore such states; those of CUDA if there are as many devices."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    cuda = state["cuda"]
    if cuda and torch.cuda.is_available() and len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
