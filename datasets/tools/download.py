"""Fetch the files of a set to where it wants them, and unpack what comes packed."""

from __future__ import annotations

import logging
from pathlib import Path

from datasets.catalog.entries import Entry

from . import NotDone
from .fetch import fetch
from .forms import check_form, is_archive, unpack

log = logging.getLogger(__name__)


def download(entry: Entry, root: str | Path, mirror: str = "", wait: float = 2.0) -> list[str]:
    """Fetch what is missing of a set; files that are there and whole are left alone.

    Args:
        mirror: the URL of a copy of the data root, to take the set's own files from instead of their known places.
        wait: seconds between two attempts.

    Returns:
        the files and folders of the set that are still missing, relative to its folder, which no download brings

    Raises:
        NotDone: something could not be had. All other files are fetched first.
    """
    folder = Path(root) / entry.folder
    sources = (
        [(f"{mirror.rstrip('/')}/{entry.folder}/{file}", file) for file in _files(entry)] if mirror else entry.downloads
    )
    if not sources:
        raise NotDone(f"no place is known to fetch {entry.name} from. {by_hand(entry, root)}")
    complete = not still_missing(entry, root)  # then the archives have served
    problems = []
    for url, target in sources:
        if complete and _is_packed(entry, target):
            continue
        try:
            _one(entry, url, folder / target, wait)
        except NotDone as error:
            problems.append(str(error))
    if problems:
        raise NotDone("\n".join([*problems, by_hand(entry, root)]))
    return still_missing(entry, root)


def still_missing(entry: Entry, root: str | Path) -> list[str]:
    """The files and folders that the set needs and that are not there."""
    return [file for file in entry.files if not (Path(root) / entry.folder / file).exists()]


def by_hand(entry: Entry, root: str | Path) -> str:
    """What a user can do where no download helps."""
    parts = [f"{entry.name} needs {', '.join(entry.files)} in {Path(root) / entry.folder}."]
    if entry.torchvision and entry.suite == "elevater":
        parts.append(
            f"`python -m datasets prepare {entry.name} --from torchvision --root {root}` makes them from torchvision's copy."
        )
    if entry.note:
        parts.append(entry.note)
    return " ".join(parts)


def _one(entry: Entry, url: str, target: Path, wait: float) -> None:
    wanted = [path for path in (*entry.files, *entry.annotations, entry.image_dir) if path and path != entry.split_json]
    if _whole(target, entry):
        log.info("%s is there already", target)
    else:
        fetch(url, target, wait)
    if _is_packed(entry, target.name):
        try:
            new = unpack(target, target.parent, wanted)
        except ValueError as error:
            raise NotDone(f"could not unpack {target}: {error}. Remove it and run the command again") from error
        log.info("unpacked %s: %s", target.name, ", ".join(new) if new else "all of it is there already")


def _is_packed(entry: Entry, target: str) -> bool:
    """Is it an archive to be unpacked, not a zip that is read in place?"""
    return is_archive(target) and target not in entry.zips


def _whole(target: Path, entry: Entry) -> bool:
    if not target.is_file():
        return False
    try:
        check_form(target, target.name, thorough=False)
    except ValueError as error:
        log.warning("%s is not usable (%s); fetching it again", target, error)
        return False
    return True


def _files(entry: Entry) -> list[str]:
    """Files of the set, without folders of images, which a plain web server can't hand out."""
    return [file for file in entry.files if Path(file).suffix]
