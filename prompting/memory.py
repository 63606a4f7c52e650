"""Limits of the text tower's work that is held at once, and memory that the C library
would otherwise hold back.
"""

import ctypes
from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")

# Tokens (sequences x length) that enter the text tower at once. On a CPU few enough
# that the largest activation (6 MB of ViT-B/16's) is neither mapped again by the C
# library for each operation nor falls out of the processor's cache.
MAX_TOKENS = {"cpu": 768, "cuda": 16384}
# Classes whose activations are kept for the backward pass; with ViT-B/16 in float32,
# names of two tokens and 16 vectors 0.6 GB on a CPU and 8 GB on a GPU (class token at
# the end), or three times that (in the middle).
MAX_CACHED_CLASSES = {"cpu": 640, "cuda": 8192}
# Classes whose token sequences are kept: some 2 kB each with 16 vectors. Others are
# made again from their names' tokens.
MAX_SEQUENCES = 16384
# Classes whose features are kept: 2 to 4 kB each, so 256 MB at most.
MAX_CLASS_FEATURES = 1 << 16


class LRUCache(Generic[T]):
    """Values by key; the least recently used go beyond a total size of `capacity`."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.size = 0
        # the most recently used is the last
        self._kept: dict[Hashable, tuple[int, T]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, size: int, make: Callable[[], T]) -> T:
        """Return the value of `key`, made by `make` unless kept, as one of `size`."""
        if key in self._kept:
            self._kept[key] = self._kept.pop(key)
            return self._kept[key][1]
        value = make()
        self._kept[key] = size, value
        self.size += size
        while self.size > self.capacity and len(self._kept) > 1:
            oldest = next(iter(self._kept))
            self.size -= self._kept.pop(oldest)[0]
        return value

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self.size = 0


def release_free_memory() -> None:
    """Return the free memory of the process to the system, if the C library can. glibc
    before 2.38 does not use the hole of an aligned block for one of the same size, so
    that chunk after chunk takes new memory: some 80 % more than the tensors hold.
    """
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
