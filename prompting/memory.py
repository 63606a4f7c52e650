"""How much of the text tower's work is held at once, or kept for later, and memory that the C library would otherwise hold back."""

import ctypes
import functools
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

# Places (sequences x length) that enter the text tower at once. On a CPU few enough that the largest activation (6 MB
# of ViT-B/16's) is neither mapped anew by the C library for each operation nor falls out of the processor's cache.
CHUNK = {"cpu": 768, "cuda": 16384}
# Classes whose activations are kept for the backward pass; with ViT-B/16 in float32, names of two tokens and 16 vectors
# 0.6 GB on a CPU and 8 GB on a GPU (class token at the end), or three times that (in the middle).
KEEP = {"cpu": 640, "cuda": 8192}
# Classes whose token sequences are kept: some 2 kB each with 16 vectors. Others are put together again from their names' tokens.
SEQUENCES = 16384


class Recent(Generic[T]):
    """Values by key, of which those used last are kept, as many as their sizes allow: `capacity` in all, and one at least."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.size = capacity, 0
        self._kept: dict[Hashable, tuple[int, T]] = {}  # the one used last is the last

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, size: int, make: Callable[[], T]) -> T:
        """The value of `key`, which `make` makes where it is not kept; `size` is what it will take of the capacity."""
        if key in self._kept:
            self._kept[key] = self._kept.pop(key)
            return self._kept[key][1]
        value = make()
        self._kept[key] = size, value
        self.size += size
        while self.size > self.capacity and len(self._kept) > 1:
            self.size -= self._kept.pop(next(iter(self._kept)))[0]
        return value

    def clear(self) -> None:
        """Keep nothing."""
        self._kept.clear()
        self.size = 0


def release_free_memory() -> None:
    """Give the free memory of the process back to the system, where the C library can.

    glibc before 2.38 does not use the hole of an aligned block for one of the same size, so that chunk after chunk
    takes new memory: some 80 % more than the tensors hold.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim():
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
