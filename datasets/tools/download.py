"""Fetch the files of a set to their paths, and unpack archives.

A file comes over HTTP or from Google Drive, resumable, under a temporary name until it
is whole and checked. A stopped download leaves `.<name>.part` and `.<name>.part.json`,
which names its file (from Google Drive: a `.<name>.part<something>.part` of gdown's);
the next call resumes it. Google Drive is gdown's business. HTTP is done here: neither
gdown, pooch nor huggingface_hub checks (If-Range) that the file is still the one that
was begun.
"""

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
from pathlib import Path

from tqdm import tqdm

from datasets.catalog.entries import Entry
from toolkit.common.cli import NotDone
from toolkit.common.files import InUse, exclusive_lock, new_parents
from toolkit.common.structured import read_json, write_json
from toolkit.common.text import one_line

from .unpack import check_form, is_archive, unpack

log = logging.getLogger(__name__)

DRIVE = "gdrive:"
CHUNK = 1 << 18  # bytes
TIMEOUT = 30.0  # seconds without a byte
ATTEMPTS = 4  # connections in a row that bring nothing
AGENT = {"User-Agent": "python-datasets/1"}


def download(entry: Entry, root: Path, mirror: str = "") -> list[str]:
    """Fetch the missing files of a set, from a copy of the data root at `mirror` if
    given; whole files stay. Return those, relative to the set's folder, that no
    download brings. Raises NotDone for a file that is not available, after all others
    are fetched.
    """
    folder = root / entry.folder
    sources = list(entry.downloads)
    if mirror:  # a plain web server can't hand out folders of images
        base = f"{mirror.rstrip('/')}/{entry.folder}"
        sources = [
            (f"{base}/{file}", file) for file in entry.files if Path(file).suffix
        ]
    if not sources:
        message = f"no place is known to fetch {entry.name} from"
        raise NotDone(f"{message}. {by_hand(entry, root)}")
    complete = not _missing(entry, folder)
    failures = []
    for url, target in sources:
        # an archive to be unpacked, not a zip that is read in place
        is_packed = is_archive(target) and target not in entry.zips
        if is_packed and complete:
            continue
        try:
            _fetch_missing(url, folder / target)
            if is_packed:
                _unpack(entry, folder / target)
        except NotDone as error:
            failures.append(str(error))
    if failures:
        raise NotDone("\n".join([*failures, by_hand(entry, root)]))
    return _missing(entry, folder)


def by_hand(entry: Entry, root: Path) -> str:
    """Return the steps that a user can take if no download helps."""
    folder = root / entry.folder
    text = f"{entry.name} needs {', '.join(entry.files)} in {folder}."
    if entry.torchvision and entry.suite == "elevater":
        command = f"prepare {entry.name} --from torchvision --root {root}"
        text += f" `python -m datasets {command}` makes them from torchvision's copy."
    if entry.note:
        text += f" {entry.note}"
    return text


def _missing(entry: Entry, folder: Path):
    return [file for file in entry.files if not (folder / file).exists()]


def _fetch_missing(url: str, target: Path) -> None:
    """Fetch a file, unless it is there and of the type of its name."""
    if target.is_file():
        try:
            check_form(target, target.name, thorough=False)
            log.info("%s is there already", target)
            return
        except ValueError as error:
            log.warning("%s is not usable (%s); fetching it again", target, error)
    fetch(url, target)


def _unpack(entry: Entry, target: Path) -> None:
    paths = (*entry.files, *entry.annotations, entry.image_dir)
    wanted = [path for path in paths if path and path != entry.split_json]
    try:
        new = unpack(target, target.parent, wanted)
    except ValueError as error:
        raise NotDone(
            f"could not unpack {target}: {error}. Remove it and run the command again"
        ) from error
    added = ", ".join(new) or "all of it is there already"
    log.info("unpacked %s: %s", target.name, added)


def fetch(url: str, target: Path, wait: float = 2.0) -> Path:
    """Fetch `url` ("https://...", "http://..." or "gdrive:<id>") to `target`, whose
    folder is made; wait: seconds between two attempts. Raises ValueError for another
    URL, NotDone, with the steps to take by hand, if it is not available or of another
    type.
    """
    if not url.startswith(("https://", "http://", DRIVE)):
        raise ValueError(
            f"cannot fetch {url!r}; a URL begins with https://, http:// or {DRIVE}"
        )
    lock = target.with_name(f".{target.name}.part.lock")
    message = f"another process is fetching {target.name} at this moment"
    try:
        with new_parents(target), exclusive_lock(lock, message):
            part = _Part(target, url)
            log.info("fetching %s", target.name)
            if url.startswith(DRIVE):
                _from_drive(url, part)
            else:
                _from_http(url, part, wait)
            part.check()
            os.replace(part.path, target)
            part.drop()
    except InUse as error:
        raise NotDone(message) from error
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
    """The part of a file that has come, and the server's metadata when it was begun."""

    def __init__(self, target: Path, url: str):
        self.name = target.name
        self.path = target.with_name(f".{target.name}.part")
        self.state_file = target.with_name(f".{target.name}.part.json")
        # url, total (bytes), validator (for If-Range), md5 (base64), as far as known
        self.state: dict = {}
        try:
            state = read_json(self.state_file)
        except (OSError, ValueError):
            state = {}
        if isinstance(state, dict) and state.get("url") == url:
            self.state = state
        elif not url.startswith(DRIVE) or self.state_file.exists():
            self.drop()  # of another address

    def drop(self) -> None:
        self.state = {}
        self.path.unlink(missing_ok=True)
        self.state_file.unlink(missing_ok=True)

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def check(self) -> None:
        """Raise _Failed, and drop the part, if its type or checksum is another one."""
        try:
            check_form(self.path, self.name)
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


def _from_http(url: str, part: _Part, wait: float):
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
    """Return why a connection broke. Raises _Failed if another attempt would not help."""
    cause = getattr(error, "reason", error)
    if isinstance(cause, socket.gaierror):  # no network, or no such server
        raise _Failed(f"the server cannot be found ({cause})") from error
    if isinstance(cause, ConnectionRefusedError):
        raise _Failed(f"the server refuses connections ({cause})") from error
    return str(cause) or type(error).__name__


def _transfer(url: str, part: _Part) -> None:
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
            part.state = {"url": url, "total": total, "validator": validator}
            part.state["md5"] = found.get("Content-MD5")
            write_json(part.state_file, part.state, indent=None)
        _copy(answer, part, start, total)
    if total is not None and part.size != total:
        raise http.client.IncompleteRead(b"", total - part.size)


def _copy(answer: http.client.HTTPResponse, part: _Part, start: int, total: int | None):
    free = shutil.disk_usage(part.path.parent).free
    if total and total - start > free:
        raise _Failed(f"{(total - start) / 1e9:.1f} GB are needed, more than is free")
    mode = "ab" if start else "wb"
    style = {"unit": "B", "unit_scale": True, "dynamic_ncols": True}
    bar = tqdm(None, part.name, total, initial=start, **style)
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
