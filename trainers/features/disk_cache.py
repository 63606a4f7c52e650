"""Features of frozen image towers in files, shared by all runs on a machine. An entry
is a float32 .npy array (N, d) followed by a SHA-256 of it and of the fingerprint of its
source. It appears whole or not at all. A cache can be deleted at any time and changes
no number.
"""

import hashlib
import io
import logging
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from toolkit.common.files import atomic_write

try:
    import fcntl
except ImportError:  # Windows does not remove a file in use
    fcntl = None

log = logging.getLogger(__name__)

CHECKSUM = 32  # bytes
# seconds after which an unfinished file is taken for that of a process that died
STALE = 3600
_reported: set[Path] = set()  # folders that cannot be written


class FeatureCache:
    """Entries in `folder`, `max_bytes` in all; the least recently used are removed
    first, never one in use. If it cannot be written, one warning is logged.
    """

    def __init__(self, folder: str | Path, max_bytes: int):
        self.folder, self.max_bytes = Path(folder), max_bytes

    def path(self, label: str, fingerprint: str) -> Path:
        """Return the file of features called `label`, with this fingerprint."""
        name = re.sub(r"[^A-Za-z0-9._-]+", "_", label)[:80]
        return self.folder / f"{name}-{fingerprint[:32]}.npy"

    def load(
        self, label: str, fingerprint: str, shape: tuple[int, int]
    ) -> Tensor | None:
        """Return the features of this shape (N, d), mapped from their file, which is in
        use as long as they are; or None, after a warning if it is damaged.
        """
        path = self.path(label, fingerprint)
        try:
            if path.exists() and not path.is_file():
                raise ValueError("it is no regular file")
            with open(path, "rb") as file:
                with suppress(OSError):  # a file system without locks
                    _lock(file, "LOCK_SH")
                features = _read(file, fingerprint, shape)
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            log.warning(
                "%s is damaged (%s): its features are computed again", path.name, error
            )
            return None
        with suppress(OSError):
            os.utime(path)  # the most recently used
        return features

    def save(self, label: str, fingerprint: str, features: Tensor) -> None:
        """Write features (N, d), unless they are larger than the whole cache, and
        remove others to stay within it.
        """
        array = features.detach().float().cpu().numpy()
        array = np.ascontiguousarray(array, dtype="<f4")
        path = self.path(label, fingerprint)
        if array.nbytes > self.max_bytes:
            log.debug("%s: %d bytes are more than the cache's", path.name, array.nbytes)
            return
        if path.exists() and not path.is_file():  # reported when it was to be loaded
            return
        header = _header(array.shape)
        try:
            with atomic_write(path) as temporary, open(temporary, "wb") as file:
                file.write(header)
                file.write(array.data)
                file.write(_checksum(header, array, fingerprint))
            self._evict(path)
        except OSError as error:
            if self.folder not in _reported:
                reason = error.strerror or error
                log.warning("features are not kept in %s: %s", self.folder, reason)
            _reported.add(self.folder)

    def _evict(self, written: Path) -> None:
        entries = []
        for path in self.folder.iterdir():
            with suppress(OSError):  # removed by another process
                info = path.stat()
                if path.suffix == ".npy":
                    entries.append((info.st_mtime_ns, info.st_size, path))
                elif path.suffix == ".tmp" and time.time() - info.st_mtime > STALE:
                    path.unlink()
        excess = sum(size for _, size, _ in entries) - self.max_bytes
        for _, size, path in sorted(entries):
            if excess <= 0:
                break
            if path != written and _remove_unused(path):
                excess -= size


def _header(shape: tuple[int, int]) -> bytes:
    header = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue()


def _checksum(header: bytes, array: np.ndarray, fingerprint: str) -> bytes:
    total = hashlib.sha256(header)
    total.update(array.data)
    total.update(fingerprint.encode())
    return total.digest()


def _read(file: BinaryIO, fingerprint: str, shape: tuple[int, int]) -> Tensor:
    """Return the mapped array of a file; raise ValueError if it is another."""
    header = _header(shape)
    start = len(header)
    end = start + 4 * shape[0] * shape[1]
    size = os.fstat(file.fileno()).st_size
    if size != end + CHECKSUM:
        raise ValueError(f"its length is {size} bytes, not {end + CHECKSUM}")
    # private: changes of the tensor do not reach the file
    content = np.memmap(file, np.uint8, "c")
    if content[:start].tobytes() != header:
        raise ValueError("its header is another")
    array = np.asarray(content[start:end]).view("<f4")
    if _checksum(header, array, fingerprint) != content[end:].tobytes():
        raise ValueError("its checksum is wrong")
    return torch.from_numpy(array.reshape(shape))


def _lock(file: BinaryIO, kind: str) -> None:
    """Lock a file ("LOCK_SH" or "LOCK_EX") while it is open or mapped, or raise
    OSError.
    """
    if fcntl is not None:
        fcntl.flock(file, getattr(fcntl, kind) | fcntl.LOCK_NB)


def _remove_unused(path: Path) -> bool:
    """Remove an entry unless it is in use or no file; return False then."""
    if not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            _lock(file, "LOCK_EX")
            path.unlink()
    except FileNotFoundError:  # removed by another process
        return True
    except OSError:
        return False
    return True
