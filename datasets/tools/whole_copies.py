"""Take over a set that is in its published layout already: a zip of a CoOp set, or a
folder or zip of ELEVATER's own files.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from datasets.catalog.entries import Entry
from datasets.io.split_names import FOLDER_SPLITS

from . import record
from .copies import find_copy
from .doctor import examine
from .prepare import prepare_copy, require_empty, writing
from .report import SHOWN
from .unpack import unpack


def prepare_zip(
    entry: Entry, root: Path, zip_file: Path, revision: str = "", origin: str = ""
) -> Path:
    """Unpack a zip of a set into its folder below the data root and return the folder.

    A set of CoOp's comes with its split file; one of ELEVATER's in ELEVATER's own
    files, or as split folders of class folders.

    Raises:
        FileNotFoundError, ValueError: the zip is not there, damaged, or lacks files of
            the set.
    """
    require_empty(entry, root)
    if not zip_file.is_file():
        raise FileNotFoundError(f"no file {zip_file}")
    origin = origin or f"zip {zip_file.name}"
    if entry.suite == "elevater":
        return _prepare_elevater(entry, root, zip_file, revision, origin)
    copy = find_copy(entry, "zip")
    with writing(entry, root) as work:
        paths = (*entry.files, *entry.annotations, entry.image_dir)
        unpack(zip_file, work, [path for path in paths if path])
        for file in entry.files:
            if not (work / file).exists():
                raise ValueError(f"{zip_file} has no {file}, which {entry.name} needs")
        images = _require_sound(entry, work, zip_file)
        note = copy.note if copy else ""
        record.write(work, entry, images, origin, record.SAME, note, revision)
    return root / entry.folder


def prepare_folder(entry: Entry, root: Path, folder: Path, origin: str = "") -> Path:
    """Copy a folder of ELEVATER's own files, or write ELEVATER's layout from split
    folders, and return the new folder.
    """
    if entry.suite != "elevater":
        raise ValueError(
            f"{entry.name} is in CoOp's layout: move its folder to {root / entry.folder}, or use --from zip"
        )
    origin = origin or f"folder {folder.resolve().name}"
    if not all((folder / file).exists() for file in entry.files):
        return prepare_copy(entry, root, "folder", folder, origin=origin)
    require_empty(entry, root)
    with writing(entry, root) as work:
        shutil.copytree(folder, work, dirs_exist_ok=True)
        _record_elevater(entry, work, folder, origin)
    return root / entry.folder


def _prepare_elevater(
    entry: Entry, root: Path, zip_file: Path, revision: str, origin: str
) -> Path:
    wanted = [*entry.files, *FOLDER_SPLITS, *map(str.capitalize, FOLDER_SPLITS)]
    with writing(entry, root) as work:
        unpacked = work / ".unpacked"
        unpacked.mkdir()
        unpack(zip_file, unpacked, wanted)
        if all((unpacked / file).exists() for file in entry.files):
            for child in unpacked.iterdir():
                child.rename(work / child.name)
            _record_elevater(entry, work, zip_file, origin, revision)
        else:
            inner = prepare_copy(entry, work, "folder", unpacked, revision, origin)
            for child in inner.iterdir():
                child.rename(work / child.name)
            shutil.rmtree(work / Path(entry.folder).parts[0])
        shutil.rmtree(unpacked)
    return root / entry.folder


def _record_elevater(
    entry: Entry, work: Path, source: Path, origin: str, revision: str = ""
) -> None:
    """Check ELEVATER's own files and write their record, unless they bring one."""
    images = _require_sound(entry, work, source)
    if record.read(work) is None:  # else a prepared set was copied
        record.write(work, entry, images, origin, record.SAME, revision=revision)


def _require_sound(entry: Entry, work: Path, source: Path) -> dict[str, int]:
    """Return split -> number of images.

    Raises ValueError with the first errors that `doctor` finds in the files of a set,
    other than numbers of images, which the verdict is about.

    work: the folder with the files. source: the copy that they are from.
    """
    placed = replace(entry, folder=work.name)
    report = examine(placed, work.parent, quick=True)
    errors = [error for error in report.errors if error.kind != "image-count"]
    if not errors:
        return report.images
    lines = []
    for error in errors[:SHOWN]:
        lines.append(f"{error.where.removeprefix(f'{work.name}/')}: {error.message}")
    if len(errors) > SHOWN:
        lines.append(f"and {len(errors) - SHOWN} more")
    raise ValueError(f"{source} cannot be used: " + "\n".join(lines))
