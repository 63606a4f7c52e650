"""Fetch one file: over HTTP or from Google Drive, resumable, under a temporary name
until it is whole and checked.

A stopped download leaves `.<name>.part` and `.<name>.part.json`, which names its file
(from Google Drive: a `.<name>.part<something>.part` of gdown's); the next call resumes
it. Google Drive is gdown's business. HTTP is done here: neither gdown, pooch nor
huggingface_hub checks (If-Range) that the file is still the one that was begun.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
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

from toolkit.common.cli import NotDone
from toolkit.common.files import InUse, exclusive_lock, new_parents
from toolkit.common.structured import read_json, write_json
from toolkit.common.text import one_line

from .unpack import check_form

log = logging.getLogger(__name__)

DRIVE = "gdrive:"
CHUNK = 1 << 18  # bytes
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4  # connections in a row that bring nothing
AGENT = {"User-Agent": "python-datasets/1"}


def fetch(url: str, target: Path, wait: float = 2.0) -> Path:
    """Fetch `url` ("https://...", "http://..." or "gdrive:<id>") to `target`, whose
    folder is made.

    Args:
        wait: seconds between two attempts.

    Raises:
        ValueError: the URL is of no known kind. NotDone: it is not available, or is not
        of the type of its name; the message has the steps to take by hand.
    """
    if not url.startswith(("https://", "http://", DRIVE)):
        raise ValueError(
            f"cannot fetch {url!r}; a URL begins with https://, http:// or {DRIVE}"
        )
    part = _Part(target, url)
    try:
        with new_parents(target), part.lock():
            log.info("fetching %s", target.name)
            if url.startswith(DRIVE):
                _from_drive(url, part)
            else:
                _from_http(url, part, wait)
            part.check()
            os.replace(part.path, target)
            part.drop()
    except _Failed as error:
        address = url
        if url.startswith(DRIVE):
            address = f"https://drive.google.com/uc?id={url.removeprefix(DRIVE)}"
        advice = f"Get {address} with a browser and save it as {target}"
        raise NotDone(f"could not fetch {target.name}: {error}. {advice}") from error
    return target


class _Failed(Exception):
    """A file is not available; the message says why."""


class _Part:
    """The part of a file that has come, and the server's metadata when it was begun.

    Attributes:
        state: "url", "total" (bytes), "validator" (for If-Range) and "md5" (base64), as
            far as they are known.
    """

    def __init__(self, target: Path, url: str):
        self.target = target
        self.url = url
        self.path = target.with_name(f".{target.name}.part")
        self.state_file = target.with_name(f".{target.name}.part.json")
        self.state: dict = {}

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the part, or raise NotDone, and drop that of another address."""
        path = self.target.with_name(f".{self.target.name}.part.lock")
        message = f"another process is fetching {self.target.name} at this moment"
        try:
            with exclusive_lock(path, message):
                self._read_state()
                yield
        except InUse as error:
            raise NotDone(str(error)) from None

    def _read_state(self) -> None:
        try:
            state = read_json(self.state_file)
        except (OSError, ValueError):
            state = {}
        if isinstance(state, dict) and state.get("url") == self.url:
            self.state = state
        elif not self.url.startswith(DRIVE) or self.state_file.exists():
            self.drop()

    def begin(self, **state: object) -> None:
        """Record the server's metadata of the file."""
        self.state = {"url": self.url, **state}
        write_json(self.state_file, self.state, indent=None)

    def drop(self) -> None:
        """Remove the downloaded part."""
        self.state = {}
        self.path.unlink(missing_ok=True)
        self.state_file.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        """Return the number of bytes that have come."""
        return self.path.stat().st_size if self.path.exists() else 0

    def check(self) -> None:
        """Raise _Failed, and drop the part, if its type or checksum is another one."""
        try:
            check_form(self.path, self.target.name)
            stated = self.state.get("md5")
            digest = hashlib.md5(usedforsecurity=False)
            with open(self.path, "rb") as file:
                while stated and (chunk := file.read(CHUNK)):
                    digest.update(chunk)
            if stated and stated != base64.b64encode(digest.digest()).decode():
                raise ValueError("its checksum is not the one that the server states")
        except ValueError as error:
            self.drop()
            raise _Failed(f"what came is not usable: {error}") from error


def _from_http(url: str, part: _Part, wait: float) -> None:
    """Fill `part`, resuming it, until it is whole."""
    idle = 0
    while idle < ATTEMPTS:
        before = part.size
        try:
            _transfer(url, part)
            return
        except urllib.error.HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            if error.code == 416 and before:  # the file has become shorter since
                part.drop()
            elif error.code < 500 and error.code != 429:
                raise _Failed(reason) from error
        except (OSError, http.client.HTTPException) as error:
            reason = _reason(error)
        idle = 0 if part.size > before else idle + 1
        if idle < ATTEMPTS:
            log.info("interrupted (%s), trying again", reason)
            time.sleep(wait)
    if part.size:
        reason = f"{reason}; {part.size} bytes are kept and the same command continues with them"
    raise _Failed(reason)


def _reason(error: Exception) -> str:
    """Return why a connection broke.

    Raises _Failed if another attempt would not help.
    """
    cause = getattr(error, "reason", error)
    if isinstance(cause, socket.gaierror):  # no network, or no such server
        raise _Failed(f"the server cannot be found ({cause})") from error
    if isinstance(cause, ConnectionRefusedError):
        raise _Failed(f"the server refuses connections ({cause})") from error
    return str(cause) or type(error).__name__


def _transfer(url: str, part: _Part) -> None:
    """Make one connection and append its data."""
    start = part.size
    if start and start == part.state.get("total"):
        return
    headers = dict(AGENT)
    if start:
        headers["Range"] = f"bytes={start}-"
        if part.state.get("validator"):
            headers["If-Range"] = part.state["validator"]
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        found = answer.headers
        if answer.status == 206:
            stated = found.get("Content-Range", "")
            total = _number(stated.rpartition("/")[2])
            if part.state.get("total") not in (None, total):  # another file by now
                part.drop()
                raise http.client.IncompleteRead(b"")
        else:
            start = 0
            total = _number(found.get("Content-Length", ""))
            validator = found.get("ETag") or "W/"
            if validator.startswith("W/"):  # a weak one
                validator = found.get("Last-Modified")
            md5 = found.get("Content-MD5")
            part.begin(total=total, validator=validator, md5=md5)
        _copy(answer, part, start, total)
    if total is not None and part.size != total:
        raise http.client.IncompleteRead(b"", total - part.size)


def _copy(
    answer: http.client.HTTPResponse, part: _Part, start: int, total: int | None
) -> None:
    """Write the body of an answer to the part, from the byte `start` on."""
    free = shutil.disk_usage(part.path.parent).free
    if total and total - start > free:
        raise _Failed(
            f"{(total - start) / 1e9:.1f} GB are needed, but the disk has not so much free"
        )
    mode = "ab" if start else "wb"
    name = part.target.name
    bar = tqdm(
        None, name, total, initial=start, unit="B", unit_scale=True, dynamic_ncols=True
    )
    with open(part.path, mode) as file, bar:
        while chunk := answer.read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))


def _from_drive(url: str, part: _Part) -> None:
    """Let gdown fetch a file, as Google Drive has pages before it."""
    try:
        import gdown
    except ImportError as error:
        raise _Failed("gdown is not installed (pip install gdown)") from error
    try:  # gdown keeps its part in a file `<part>????????.part` and resumes it
        found = gdown.download(
            id=url.removeprefix(DRIVE), output=str(part.path), resume=True, quiet=False
        )
    except Exception as error:  # gdown's own errors, those of its HTTP client and of the parsing of Google's pages
        reason = one_line(error)
        if len(reason) >= 160:
            reason = f"{reason[:150]} ..."
        raise _Failed(f"Google Drive: {reason}") from error
    if found is None or not part.path.is_file():
        raise _Failed("Google Drive did not hand it out")


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None
