"""Prepare several sets: one that fails does not stop the others, and a table has the
outcome of each.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets.catalog.entries import Entry, entries
from toolkit.common.cli import BAD_INPUT, FAILED, OK, NotDone

from . import record
from .copies import find_copy
from .hub import fetch_copy, find_zip, hub_form
from .prepare import check, prepare, prepare_copy
from .torchvision_copies import COPIES
from .whole_copies import prepare_folder, prepare_zip

log = logging.getLogger(__name__)

WRITTEN, SKIPPED, FAILURE = "written", "skipped", "failed"


@dataclass(frozen=True)
class Source:
    """The origin of copies.

    Attributes:
        origin: one of `ORIGINS`.
        at: a copy, or a folder of copies; of the Hub, the folder to download to. None:
            the origin's own default.
        revision: of a repository on the Hub, "" for the known one.
        offline: let torchvision download nothing.
    """

    origin: str
    at: Path | None
    revision: str = ""
    offline: bool = False


@dataclass(frozen=True)
class Outcome:
    """The outcome of one set. `code`: its exit code."""

    name: str
    status: str
    detail: str
    code: int = OK


def available(origin: str) -> list[Entry]:
    """Return the sets of which there can be a copy of this origin."""
    found = []
    for entry in entries().values():
        if entry.suite == "pocket":
            continue
        is_elevater = entry.suite == "elevater"
        if origin == "torchvision":
            is_known = entry.name in COPIES and is_elevater
        elif origin == "hub":
            is_known = _is_on_hub(entry)
        elif origin == "folder":
            is_known = is_elevater
        elif origin == "zip":
            is_known = is_elevater or find_copy(entry, "zip") is not None
        else:
            is_known = find_copy(entry, origin) is not None
        if is_known:
            found.append(entry)
    return found


def require_available(chosen: Sequence[Entry], source: Source, root: Path) -> None:
    """Raise ValueError if a set cannot come from this origin, or FileNotFoundError if
    there is no copy at all, before anything is written.
    """
    if source.origin not in ("torchvision", "hub") and source.at is None:
        raise ValueError(
            f"--from {source.origin} needs --at PATH, the copy or the folder of copies"
        )
    is_local = source.origin not in ("torchvision", "hub")
    if is_local and not source.at.exists():
        raise FileNotFoundError(f"--at: no file or folder {source.at}")
    known = available(source.origin)
    for entry in chosen:
        if source.origin == "torchvision":
            check(entry, root)
        elif entry not in known:
            names = ", ".join(other.name for other in known)
            raise ValueError(
                f"{entry.name} cannot be prepared from {source.origin}; it can be one of {names}"
            )


def prepare_all(
    chosen: Sequence[Entry],
    root: Path,
    source: Source,
    every: bool,
    report: Callable[[Outcome], None],
) -> list[Outcome]:
    """Prepare sets one after the other, and return the outcome of each.

    Args:
        every: "all" was asked for: a set that is there already, or has no copy, is
            skipped.
        report: is called with each outcome.
    """
    outcomes = []
    for entry in chosen:
        outcome = _prepare_one(entry, root, source, every, len(chosen) > 1)
        report(outcome)
        outcomes.append(outcome)
    return outcomes


def table(outcomes: Sequence[Outcome]) -> str:
    """Return one line a set: its name, written, skipped or failed, and the reason or
    the verdict.
    """
    width = max(len(outcome.name) for outcome in outcomes)
    lines = []
    for outcome in outcomes:
        lines.append(f"{outcome.name:{width}}  {outcome.status:7}  {outcome.detail}")
    return "\n".join(lines)


def _is_on_hub(entry: Entry) -> bool:
    try:
        hub_form(entry)
    except ValueError:
        return False
    return True


def _prepare_one(
    entry: Entry, root: Path, source: Source, every: bool, several: bool
) -> Outcome:
    folder = root / entry.folder
    if every and folder.is_dir() and any(folder.iterdir()):
        return Outcome(entry.name, SKIPPED, f"{folder} is there already")
    try:
        if source.origin == "torchvision":
            prepare(entry, root, source.at or "", download=not source.offline)
        else:
            form, path, origin, revision = _locate(entry, root, source, several)
            if every and not path.exists():
                return Outcome(entry.name, SKIPPED, f"no copy {path}")
            _prepare_local(entry, root, form, path, origin, revision)
    except NotDone as error:
        return Outcome(entry.name, FAILURE, str(error), FAILED)
    except (OSError, ValueError) as error:
        return Outcome(entry.name, FAILURE, str(error), BAD_INPUT)
    made = record.read(folder)
    note = f" ({made.note})" if made.note else ""
    return Outcome(entry.name, WRITTEN, f"{made.verdict}{note}")


def _prepare_local(
    entry: Entry, root: Path, form: str, path: Path, origin: str, revision: str
) -> None:
    if form == "zip":
        prepare_zip(entry, root, path, revision, origin)
    elif form == "folder":
        prepare_folder(entry, root, path, origin)
    else:
        prepare_copy(entry, root, form, path, revision, origin)


def _locate(
    entry: Entry, root: Path, source: Source, several: bool
) -> tuple[str, Path, str, str]:
    """Return (form, path, repository, revision) of the copy of a set, downloaded if it
    is the Hub's.
    """
    if source.origin == "hub":
        return fetch_copy(entry, source.at or root / "hub", source.revision)
    path = source.at
    if source.origin == "zip":
        if path.is_dir():
            zips = sorted(file.name for file in path.glob("*.zip"))
            path = path / find_zip(entry, zips, str(path))
        return "zip", path, "", source.revision
    copy = find_copy(entry, source.origin)
    names = [entry.name]
    if copy and copy.repo:
        names.insert(0, copy.repo.rpartition("/")[2])
    for name in names:
        if (path / name).exists():
            return source.origin, path / name, "", source.revision
    if several:
        return source.origin, path / names[0], "", source.revision
    return source.origin, path, "", source.revision
