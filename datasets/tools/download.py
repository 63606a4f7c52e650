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
    complete = not still_missing(entry, root)
    failures = []
    for url, target in sources:
        if complete and _is_packed(entry, target):
            continue
        try:
            _fetch_and_unpack(entry, url, folder / target, wait)
        except NotDone as error:
            failures.append(str(error))
    if failures:
        raise NotDone("\n".join([*failures, by_hand(entry, root)]))
    return still_missing(entry, root)


def still_missing(entry: Entry, root: str | Path) -> list[str]:
    """Return the files and folders that the set needs and that are not there."""
    return [
        file for file in entry.files if not (Path(root) / entry.folder / file).exists()
    ]


def by_hand(entry: Entry, root: str | Path) -> str:
    """Return the steps that a user can take if no download helps."""
    parts = [
        f"{entry.name} needs {', '.join(entry.files)} in {Path(root) / entry.folder}."
    ]
    if entry.torchvision and entry.suite == "elevater":
        command = (
            f"python -m datasets prepare {entry.name} --from torchvision --root {root}"
        )
        parts.append(f"`{command}` makes them from torchvision's copy.")
    if entry.note:
        parts.append(entry.note)
    return " ".join(parts)


def _fetch_and_unpack(entry: Entry, url: str, target: Path, wait: float) -> None:
    if _whole(target, entry):
        log.info("%s is there already", target)
    else:
        fetch(url, target, wait)
    if not _is_packed(entry, target.name):
        return
    paths = (*entry.files, *entry.annotations, entry.image_dir)
    wanted = [path for path in paths if path and path != entry.split_json]
    try:
        new = unpack(target, target.parent, wanted)
    except ValueError as error:
        raise NotDone(
            f"could not unpack {target}: {error}. Remove it and run the command again"
        ) from error
    log.info(
        "unpacked %s: %s", target.name, ", ".join(new) or "all of it is there already"
    )


def _is_packed(entry: Entry, target: str) -> bool:
    """Return whether it is an archive to be unpacked, not a zip that is read in place."""
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
