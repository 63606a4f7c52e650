"""Features of frozen image towers in files: memory-mapped, checked, shared by all runs on a machine.

A file is a float32 .npy array (N, d) followed by the SHA-256 of all that precedes it. It appears whole or not at all,
and is found by a name that says what it was computed from, so a cache can be deleted at any time and changes no number.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import re
import tempfile
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

try:
    import fcntl
except ImportError:  # Windows: a file in use cannot be removed there anyway
    fcntl = None

log = logging.getLogger(__name__)

DIGEST = 32  # bytes of the checksum
STALE = 3600  # seconds after which an unfinished file is taken for that of a process that died
GB = 10**9


class FeatureCache:
    """Entries in `folder`, `max_bytes` in all; the least recently used go first, never one that is in use.

    A folder that cannot be written costs the cache, not the run: one warning, and features are computed anew.
    """

    def __init__(self, folder: str | Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = Path(folder), max_bytes
        self._warned = False

    def path(self, label: str, digest: str) -> Path:
        """Where features called `label` (a task and split) with this fingerprint lie."""
        return self.folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', label)[:80]}-{digest[:32]}.npy"

    def load(self, label: str, digest: str) -> Tensor | None:
        """The features (N, d), mapped from their file, which is in use as long as they are; None where there are none. A
        damaged file is reported and counts as none."""
        path = self.path(label, digest)
        try:
            with open(path, "rb") as file:
                _lock(file)
                features = _read(file)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            log.warning("%s is damaged (%s): its features are computed again", path.name, error)
            return None
        with suppress(OSError):
            os.utime(path)  # used now
        return features

    def save(self, label: str, digest: str, features: Tensor) -> None:
        """Keep features (N, d), unless they are larger than the whole cache; others make room."""
        array = np.ascontiguousarray(features.detach().float().cpu().numpy(), dtype="<f4")
        path = self.path(label, digest)
        if array.nbytes > self.max_bytes:
            log.debug("%s: %d bytes are more than the cache holds", path.name, array.nbytes)
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(path, array)
            self._make_room(path)
        except OSError as error:
            if not self._warned:
                log.warning("features are not kept in %s: %s", self.folder, error.strerror or error)
            self._warned = True

    def _make_room(self, written: Path) -> None:
        """Remove what has not been used for longest until the rest fits, and what dead processes left unfinished."""
        entries = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # another process may be removing, too
                entries.append((path.stat().st_mtime_ns, path.stat().st_size, path))
        for modified, _, path in entries:
            if path.suffix == ".tmp" and time.time() - modified / 1e9 > STALE:
                path.unlink(missing_ok=True)
        entries = sorted(entry for entry in entries if entry[2].suffix == ".npy")
        excess = sum(size for _, size, _ in entries) - self.max_bytes
        for _, size, path in entries:
            if excess <= 0:
                break
            if path != written and _remove_unused(path):
                excess -= size


@lru_cache(maxsize=8)
def _cache(folder: str, max_bytes: int) -> FeatureCache:
    return FeatureCache(folder, max_bytes)


def feature_cache(cfg) -> FeatureCache | None:
    """The cache that CACHE.* describes; None where CACHE.FEATURES is off (--no-cache). Without CACHE.DIR it lies where
    MVLPT_CACHE says, else in the project's data/cache."""
    if not cfg.CACHE.FEATURES:
        return None
    home = cfg.CACHE.DIR or os.environ.get("MVLPT_CACHE") or Path(__file__).resolve().parents[2] / "data" / "cache"
    return _cache(str(Path(home).expanduser().absolute() / "features"), int(cfg.CACHE.MAX_GB * GB))


def _write(path: Path, array: np.ndarray) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    digest = hashlib.sha256(header.getvalue())
    digest.update(array.data)
    handle, name = tempfile.mkstemp(prefix=f".{path.stem[-32:]}-", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            for part in (header.getvalue(), array.data, digest.digest()):
                file.write(part)
        os.chmod(name, 0o644)
        os.replace(name, path)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


def _read(file: BinaryIO) -> Tensor:
    """The array (N, d) of an open file, mapped. Raises ValueError for what is no whole entry."""
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("another version of .npy")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    start, size = file.tell(), os.fstat(file.fileno()).st_size
    if len(shape) != 2 or fortran or dtype != np.dtype("<f4"):
        raise ValueError(f"holds {dtype} {shape}")
    if size != start + 4 * shape[0] * shape[1] + DIGEST:
        raise ValueError(f"its length is {size} bytes")
    content = np.memmap(file, np.uint8, "c")  # private: nothing that happens to the tensor reaches the file
    if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:].tobytes():
        raise ValueError("its checksum is wrong")
    return torch.from_numpy(np.asarray(content[start:-DIGEST]).view("<f4").reshape(shape))


def _lock(file: BinaryIO) -> None:
    """Mark a file as in use, for all processes. The mark lasts as long as a mapping of the file, which keeps it open."""
    if fcntl is not None:
        with suppress(OSError):  # file systems without locks
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


def _remove_unused(path: Path) -> bool:
    """Remove an entry unless a process uses it; whether it is gone."""
    try:
        with open(path, "rb") as file:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
    except FileNotFoundError:
        return True
    except OSError:  # in use
        return False
    return True
