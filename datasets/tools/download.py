"""Fetch the files of a set to their paths, and unpack archives."""

from __future__ import annotations

import logging
from pathlib import Path

from datasets.catalog.entries import Entry
from toolkit.common.cli import NotDone

from .fetch import fetch
from .unpack import check_form, is_archive, unpack

log = logging.getLogger(__name__)


def download(
    entry: Entry, root: str | Path, mirror: str = "", wait: float = 2.0
) -> list[str]:
    """Fetch the missing files of a set; files that are there and whole stay as they
    are.

    Args:
        mirror: the URL of a copy of the data root, to take the set's own files from
            instead of their known places.
        wait: seconds between two attempts.

    Returns:
        the files and folders of the set that are still missing, relative to its folder,
        which no download brings

    Raises:
        NotDone: a file is not available. All other files are fetched first.
    """
    folder = Path(root) / entry.folder
    sources = list(entry.downloads)
    if mirror:  # a plain web server can't hand out folders of images
        base = f"{mirror.rstrip('/')}/{entry.folder}"
        sources = [
            (f"{base}/{file}", file) for file in entry.files if Path(file).suffix
        ]
    if not sources:
        raise NotDone(
            f"no place is known to fetch {entry.name} from. {by_hand(entry, root)}"
        )
    complete = not _missing(entry, folder)
    failures = []
    for url, target in sources:
        # an archive to be unpacked, not a zip that is read in place
        is_packed = is_archive(target) and target not in entry.zips
        if is_packed and complete:
            continue
        try:
            _fetch(url, folder / target, wait)
            if is_packed:
                _unpack(entry, folder / target)
        except NotDone as error:
            failures.append(str(error))
    if failures:
        raise NotDone("\n".join([*failures, by_hand(entry, root)]))
    return _missing(entry, folder)


def by_hand(entry: Entry, root: str | Path) -> str:
    """Return the steps that a user can take if no download helps."""
    folder = Path(root) / entry.folder
    text = f"{entry.name} needs {', '.join(entry.files)} in {folder}."
    if entry.torchvision and entry.suite == "elevater":
        command = f"prepare {entry.name} --from torchvision --root {root}"
        text += f" `python -m datasets {command}` makes them from torchvision's copy."
    if entry.note:
        text += f" {entry.note}"
    return text


def _missing(entry: Entry, folder: Path) -> list[str]:
    return [file for file in entry.files if not (folder / file).exists()]


def _fetch(url: str, target: Path, wait: float) -> None:
    """Fetch a file, unless it is there and of the type of its name."""
    if target.is_file():
        try:
            check_form(target, target.name, thorough=False)
            log.info("%s is there already", target)
            return
        except ValueError as error:
            log.warning("%s is not usable (%s); fetching it again", target, error)
    fetch(url, target, wait)


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
