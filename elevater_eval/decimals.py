"""Probabilities of six decimals as JSON text and back, many at a time."""

from __future__ import annotations

import json
import math
from functools import cache

import numpy as np

DECIMALS = 6
ONE = 10**DECIMALS
LARGE = 100_000  # numbers from which a table of all texts is worth its half second

# A number of at most eight characters is one 64-bit word. The text 0.25, filled with zeros to 0.250000, differs from
# 0.000000 by the value of each digit, in the byte of that digit.
ZERO = np.frombuffer(b"0.000000", "<u8")[0]
ABOVE_DIGIT = np.frombuffer(bytes([14, 15, 6, 6, 6, 6, 6, 6]), "<u8")[0]  # carries where a byte is over 1, 0, 9, 9, ...
HIGH = np.uint64(0xF0F0F0F0F0F0F0F0)
KEPT = np.array([(1 << 8 * n) - 1 for n in range(9)], np.uint64)  # by length: the bytes of a word that are text
FILL = np.array([0x3030303030303030 & ~((1 << 8 * n) - 1) for n in range(9)], np.uint64)
WEIGHTS = np.array([ONE, 0, *(10 ** (DECIMALS - 1 - i) for i in range(DECIMALS))], np.float32)  # sums stay below 2^24


def rounded(values: np.ndarray) -> np.ndarray:
    """``values`` to six decimals as float64; no zero is negative."""
    return np.round(values.astype(np.float64), DECIMALS) + 0.0


def rows_as_text(values: np.ndarray) -> str:
    """The matrix (N, C) of numbers in [0, 1] as the text ``[a,b],[c,d]``, rounded; equal to that of ``json``."""
    if values.size < LARGE:
        return json.dumps(rounded(values).tolist(), separators=(",", ":"))[1:-1]
    cells = np.full((values.shape[0], values.shape[1] + 1), b"],[", "S9")
    cells[:, :-1] = _texts()[np.rint(values * ONE).astype(np.int64)]
    text = cells.tobytes().translate(None, b"\0").replace(b",]", b"]")
    return "[" + text[:-2].decode("ascii")


@cache
def _texts() -> np.ndarray:
    return np.fromiter((f"{i / ONE!r},".encode() for i in range(ONE + 1)), "S9", ONE + 1)


def rows_from_text(text: str) -> np.ndarray | None:
    """The float64 matrix of a text ``[a,b],[c,d]``; None where it is not the plainest kind of it.

    None says nothing of whether the text is right: longer numbers, other white space, rows of different lengths and
    every kind of damage are left to a parser of JSON. What is read is read exactly as that would.
    """
    if not (text.isascii() and text.startswith("[") and text.endswith("]")) or ";" in text or "\0" in text:
        return None
    plain = text[1:-1].encode("ascii").replace(b", ", b",").replace(b"],[", b";")
    characters = np.frombuffer(plain + b"," + bytes(7), np.uint8)
    ends = np.flatnonzero((characters == ord(",")) | (characters == ord(";")))
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts
    rows = 1 + plain.count(b";")
    columns = len(ends) // rows
    if len(ends) != rows * columns or (characters[ends[columns - 1 : -1 : columns]] != ord(";")).any():
        return None
    if lengths.max() > 8:
        return None
    words = np.ndarray((len(characters) - 7,), "<u8", characters, strides=(1,))[starts] & KEPT[lengths]
    digits = (words | FILL[lengths]) ^ ZERO
    other = np.flatnonzero((((digits | (digits + ABOVE_DIGIT)) & HIGH) != 0) | (lengths < 3))
    values = (digits.view(np.uint8).reshape(-1, 8).astype(np.float32) @ WEIGHTS).astype(np.float64) / ONE
    if other.size:  # 0, 1, 2e-06 and the like: few different ones
        texts, inverse = np.unique(words[other], return_inverse=True)
        numbers = [_number(word.tobytes().rstrip(b"\0")) for word in texts]
        if None in numbers:
            return None
        values[other] = np.array(numbers)[inverse]
    return values.reshape(rows, columns)


def _number(text: bytes) -> float | None:
    try:
        value = json.loads(text.decode("ascii"))
    except ValueError:
        return None
    return float(value) if type(value) in (float, int) and math.isfinite(value) else None
