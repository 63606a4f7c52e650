"""How much of the text tower's work is held at once, and memory that the C library would otherwise hold back."""

import ctypes
import functools

# Places (sequences x length) that enter the text tower at once. On a CPU few enough that the largest activation (6 MB
# of ViT-B/16's) is neither mapped anew by the C library for each operation nor falls out of the processor's cache.
CHUNK = {"cpu": 768, "cuda": 16384}
# Classes whose activations are kept for the backward pass; with ViT-B/16 in float32, names of two tokens and 16 vectors
# 0.6 GB on a CPU and 8 GB on a GPU (class token at the end), or three times that (in the middle).
KEEP = {"cpu": 640, "cuda": 8192}


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
