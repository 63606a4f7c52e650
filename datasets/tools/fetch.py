"""Fetch one file: over HTTP or from Google Drive, resumable, under a temporary name until it is whole and checked.

What a stopped download leaves is `.<name>.part` and `.<name>.part.json`, which says what it is part of (from Google Drive: a
`.<name>.part<something>.part` of gdown's); the next call goes on with it. The file appears under its own name only once it is complete.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import logging
import os
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from . import NotDone
from .forms import check_form

log = logging.getLogger(__name__)

DRIVE = "gdrive:"
CHUNK = 1 << 18  # bytes
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4  # connections in a row that bring nothing
AGENT = {"User-Agent": "python-datasets/1"}
_BROKEN = (urllib.error.URLError, http.client.HTTPException, OSError)


def fetch(url: str, target: Path, wait: float = 2.0) -> Path:
    """Fetch `url` ("https://...", "http://..." or "gdrive:<id>") to `target`, whose folder is made.

    Args:
        wait: seconds between two attempts.

    Raises:
        ValueError: the URL is of no known kind.
        NotDone: it could not be had, or is not what its name says; the message says what to do by hand.
    """
    if not url.startswith(("https://", "http://", DRIVE)):
        raise ValueError(f"cannot fetch {url!r}; a URL begins with https://, http:// or {DRIVE}")
    part = target.with_name(f".{target.name}.part")
    with _folder(target.parent), _alone(part):
        log.info("fetching %s", target.name)
        digest = _from_drive(url, target, part) if url.startswith(DRIVE) else _from_http(url, target, part, wait)
        try:
            check_form(part, target.name)
            if digest and digest != _md5(part):
                raise ValueError("its checksum is not the one that the server states")
        except ValueError as error:
            _drop(part)
            raise _failed(url, target, f"what came is not usable: {error}") from error
        os.replace(part, target)
        _drop(part)
    return target


def _from_http(url: str, target: Path, part: Path, wait: float) -> str | None:
    """Fill `part`, going on where it ends; return the MD5 that the server states, base64-encoded, if it does."""
    state = _state(part)
    if state.get("url") != url:
        _drop(part)
        state = {}
    idle = 0
    while True:
        before = _size(part)
        try:
            return _transfer(url, part, state)
        except urllib.error.HTTPError as error:
            if error.code == 416 and before:  # the file has become shorter since
                _drop(part)
                state = {}
            elif error.code < 500 and error.code != 429:
                raise _failed(url, target, f"the server answers {error.code} {error.reason}") from error
            reason = f"the server answers {error.code} {error.reason}"
        except _NoSpace as error:
            raise _failed(url, target, str(error)) from error
        except _BROKEN as error:
            if isinstance(getattr(error, "reason", error), socket.gaierror):  # no network, or no such server
                raise _failed(url, target, f"the server cannot be found ({error.reason})") from error
            reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        idle = 0 if _size(part) > before else idle + 1
        if idle >= ATTEMPTS:
            kept = f"; {_size(part)} bytes are kept and the same command goes on with them" if _size(part) else ""
            raise _failed(url, target, f"{reason}{kept}")
        log.info("interrupted (%s), trying again", reason)
        time.sleep(wait)


def _transfer(url: str, part: Path, state: dict) -> str | None:
    """One connection. `state` is what the server said about the file when `part` was begun."""
    start = _size(part)
    if start and start == state.get("total"):
        return state.get("md5")
    headers = dict(AGENT)
    if start:
        headers["Range"] = f"bytes={start}-"
        if state.get("validator"):
            headers["If-Range"] = state["validator"]
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as answer:
        resumed = answer.status == 206
        length = answer.headers.get("Content-Length")
        total = _total(answer.headers.get("Content-Range")) if resumed else int(length) if length else None
        if resumed and state.get("total") not in (None, total):
            resumed = False  # another file by now; begin again
            _drop(part)
            raise http.client.IncompleteRead(b"")
        if not resumed:
            start = 0
            state.clear()
            state.update(
                url=url, total=total, validator=_validator(answer.headers), md5=answer.headers.get("Content-MD5")
            )
            _state_file(part).write_text(json.dumps(state), encoding="utf-8")
        if total and total - start > shutil.disk_usage(part.parent).free:
            raise _NoSpace(f"{(total - start) / 1e9:.1f} GB are needed, but the disk has not so much free")
        bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.name[1:-5], dynamic_ncols=True)
        with open(part, "ab" if resumed else "wb") as file, bar:
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                bar.update(len(chunk))
    if total is not None and _size(part) != total:
        raise http.client.IncompleteRead(b"", total - _size(part))
    return state.get("md5")


def _from_drive(url: str, target: Path, part: Path) -> None:
    """Google Drive has pages between a link and its file; gdown knows them."""
    try:
        import gdown
    except ImportError as error:
        raise _failed(url, target, "gdown is not installed (pip install gdown)") from error
    if _state_file(part).exists():  # begun from a web server
        _drop(part)
    try:  # gdown keeps what it has in a file `<part>????????.part` and goes on with it
        found = gdown.download(id=url.removeprefix(DRIVE), output=str(part), resume=True, quiet=False)
    except Exception as error:  # gdown's own errors, those of its HTTP client and of the parsing of Google's pages
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _failed(url, target, f"Google Drive: {reason if len(reason) < 160 else reason[:150] + ' ...'}") from error
    if found is None or not part.is_file():
        raise _failed(url, target, "Google Drive did not hand it out")


def _failed(url: str, target: Path, reason: str) -> NotDone:
    address = f"https://drive.google.com/uc?id={url.removeprefix(DRIVE)}" if url.startswith(DRIVE) else url
    return NotDone(f"could not fetch {target.name}: {reason}. Get {address} with a browser and save it as {target}")


class _NoSpace(Exception):
    pass


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Make a folder, and remove it where nothing came into it."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for path in new:
            if any(path.iterdir()):
                break
            path.rmdir()


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Refuse to write where another process is writing."""
    try:
        import fcntl
    except ImportError:  # not on this system; nothing is lost but the refusal
        yield
        return
    lock = part.with_name(part.name + ".lock")
    with open(lock, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise NotDone(f"another process is fetching {part.name[1:-5]} at this moment") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _validator(headers) -> str | None:
    """What If-Range takes: a strong ETag, or the date of the last change."""
    tag = headers.get("ETag")
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified")


def _total(content_range: str | None) -> int | None:
    size = (content_range or "").rpartition("/")[2]
    return int(size) if size.isdigit() else None


def _state_file(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _state(part: Path) -> dict:
    try:
        content = json.loads(_state_file(part).read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else {}
    except (OSError, ValueError):
        return {}


def _drop(part: Path) -> None:
    part.unlink(missing_ok=True)
    _state_file(part).unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return base64.b64encode(digest.digest()).decode()
