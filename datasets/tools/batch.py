"""Prepare several sets: one that fails does not stop the others, and a table has the
outcome of each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from datasets.catalog.entries import Entry, entries
from toolkit.common.cli import BAD_INPUT, FAILED, OK, NotDone

from . import record
from .copies import fetch_copy, find_copy, find_zip, hub_form
from .prepare import prepare, require_empty


@dataclass(frozen=True)
class Source:
    """The origin of copies."""

    origin: str  # "hub" or a form that `prepare` takes
    # a copy or a folder of copies; of the Hub, the folder to download to
    at: Path | None
    revision: str  # of a repository on the Hub, "" for the known one
    offline: bool  # let torchvision download nothing


@dataclass(frozen=True)
class Outcome:
    """The outcome of one set: "written", "skipped" or "failed", and its exit code."""

    name: str
    status: str
    detail: str
    code: int


def available(origin: str) -> list[Entry]:
    """Return the sets of which there can be a copy of this origin."""
    found = []
    for entry in entries().values():
        if origin == "hub":
            is_known = bool(hub_form(entry))
        elif origin in ("zip", "folder") and entry.suite == "elevater":
            is_known = True
        else:
            is_known = find_copy(entry, origin) is not None
        if is_known:
            found.append(entry)
    return found


def require_available(chosen: Sequence[Entry], source: Source, root: Path) -> None:
    """Raise ValueError if a set cannot come from this origin, or FileNotFoundError if
    there is no copy at all, before anything is written.
    """
    origin = source.origin
    if origin not in ("torchvision", "hub"):
        if source.at is None:
            raise ValueError(
                f"--from {origin} needs --at PATH, the copy or the folder of copies"
            )
        if not source.at.exists():
            raise FileNotFoundError(f"--at: no file or folder {source.at}")
    known = available(origin)
    names = ", ".join(entry.name for entry in known)
    for entry in chosen:
        if entry not in known:
            message = f"{entry.name} cannot be prepared from {origin}; it can be one of"
            if origin == "torchvision":
                message = f"torchvision has no copy of {entry.name}; it has one of"
            raise ValueError(f"{message} {names}")
        if origin == "torchvision":
            require_empty(entry, root)


def prepare_all(
    chosen: Sequence[Entry], root: Path, source: Source, every: bool
) -> Iterator[Outcome]:
    """Prepare sets one after the other, and yield the outcome of each. every: "all" was
    asked for: a set that is there already, or has no copy, is skipped.
    """
    for entry in chosen:
        status, code = "failed", FAILED
        try:
            status, detail = _prepare_one(entry, root, source, every, len(chosen) > 1)
            code = OK
        except NotDone as error:
            detail = str(error)
        except (OSError, ValueError) as error:
            detail, code = str(error), BAD_INPUT
        yield Outcome(entry.name, status, detail, code)


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a line for each set: its name, status, and reason or verdict."""
    width = max(len(outcome.name) for outcome in outcomes)
    lines = []
    for outcome in outcomes:
        lines.append(f"{outcome.name:{width}}  {outcome.status:7}  {outcome.detail}")
    return "\n".join(lines)


def _prepare_one(entry: Entry, root: Path, source: Source, every: bool, several: bool):
    """Prepare a set, or skip it; return its status, and the verdict or the reason."""
    folder = root / entry.folder
    if every and folder.is_dir() and any(folder.iterdir()):
        return "skipped", f"{folder} is there already"
    form, path = source.origin, source.at
    repo, revision = "", source.revision
    if form == "hub":
        form, path, repo, revision = fetch_copy(entry, path or root / form, revision)
    elif form == "torchvision":
        path = path or root / form
    else:
        path = _locate(entry, form, path, several)
    if every and form != "torchvision" and not path.exists():
        return "skipped", f"no copy {path}"
    if form == "folder":
        revision = ""
    prepare(entry, root, form, path, repo, revision, download=not source.offline)
    made = record.read(folder)
    return "written", f"{made.verdict}{made.note}"


def _locate(entry: Entry, form: str, at: Path, several: bool) -> Path:
    """Return the path of the local copy of a set: `at`, or in it."""
    if form == "zip":
        if not at.is_dir():
            return at
        zips = sorted(file.name for file in at.glob("*.zip"))
        return at / find_zip(entry, zips, str(at))
    copy = find_copy(entry, form)
    names = [entry.name]
    if copy and copy.repo:
        names.insert(0, copy.repo.rpartition("/")[2])
    for name in names:
        if (at / name).exists():
            return at / name
    return at / names[0] if several else at
