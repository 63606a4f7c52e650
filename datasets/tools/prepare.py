"""Write a set in ELEVATER's layout from torchvision's copy: index files, a labelmap and zips, with the images as they are."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from datasets.catalog import entries as catalogue
from datasets.catalog.entries import Entry

from . import ORDER_FILE, NotDone
from .torchvision_copies import COPIES, Item, Picture, read_split

log = logging.getLogger(__name__)


def prepare(entry: Entry, root: str | Path, source: str | Path = "", download: bool = True) -> Path:
    """Write `entry` below the data root and return its folder, which appears whole or not at all.

    The order of the test images is torchvision's, which `order.json` in the folder says: predictions on them can be
    scored at home, but not submitted.

    Args:
        source: where torchvision's copy lies or is to be put; by default `<root>/torchvision`.
        download: let torchvision download what is not there.

    Raises:
        ValueError: torchvision does not have the set, or the folder is there already.
        NotDone: torchvision's copy could not be had or read.
    """
    check(entry, root)
    root = Path(root)
    folder, source = root / entry.folder, Path(source) if source else root / "torchvision"
    classes = catalogue.show(entry.name)["classes"]
    if len(classes) != entry.classes:
        raise ValueError(f"{entry.name}: {len(classes)} class names are known, but it has {entry.classes} classes")
    import torchvision

    cls = getattr(torchvision.datasets, entry.torchvision)
    made = [parent for parent in (folder.parent, *folder.parent.parents) if not parent.exists()]
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for split in COPIES[entry.name].splits:
            items = read_split(entry.name, cls, split, source, download, classes)
            _write_split(entry, split, items, source, work)
        (work / entry.labelmap).write_text("\n".join(classes) + "\n", encoding="utf-8")
        about = {
            "order": "unofficial",
            "source": f"torchvision {torchvision.__version__}",
            "note": COPIES[entry.name].note,
        }
        (work / ORDER_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        work.chmod(0o755)
        if folder.is_dir():  # an empty one
            folder.rmdir()
        os.rename(work, folder)
    except OSError as error:
        raise NotDone(f"{entry.name} could not be written: {error}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
        for parent in made:  # those that stayed empty
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
    return folder


def check(entry: Entry, root: str | Path) -> None:
    """Raise ValueError where torchvision does not have the set, or where there are files in its folder already."""
    if entry.name not in COPIES or not entry.torchvision:
        known = ", ".join(name for name in catalogue.entries() if name in COPIES)
        raise ValueError(f"torchvision has no copy of {entry.name}; it has one of {known}")
    folder = Path(root) / entry.folder
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise ValueError(f"{folder} is there already and stays as it is; move it away to prepare {entry.name} anew")


def _write_split(entry: Entry, split: str, items: Sequence[Item], source: Path, work: Path) -> None:
    """One index file, and its images added to its zip, which splits may share."""
    zip_name = zip_of(entry, split)
    lines = []
    with zipfile.ZipFile(work / zip_name, "a", zipfile.ZIP_STORED) as archive:
        taken = set(archive.namelist())
        for number, (picture, labels) in enumerate(
            tqdm(items, desc=f"{entry.name} {split}", unit="image", dynamic_ncols=True)
        ):
            member = _member(picture, split, number, source)
            if member not in taken:
                archive.writestr(zipfile.ZipInfo(member), _content(picture))
                taken.add(member)
            lines.append(f"{zip_name}@{member} {','.join(map(str, labels))}".rstrip())
    (work / entry.indexes[split]).write_text("\n".join(lines) + "\n", encoding="utf-8")


def zip_of(entry: Entry, split: str) -> str:
    """The zip that holds the images of a split."""
    return catalogue.read_facts("elevater_sets.yaml")[entry.name][split].get("zip", f"{split}.zip")


def _member(picture: Picture, split: str, number: int, source: Path) -> str:
    """A name in the zip: the file's own path below `source`, spaces replaced as an index line without labels can't hold any."""
    if not isinstance(picture, str):
        return f"{split}/{number:06d}.png"
    path = os.path.relpath(picture, source) if Path(picture).is_relative_to(source) else os.path.basename(picture)
    return path.replace(os.sep, "/").replace(" ", "_")


def _content(picture: Picture) -> bytes:
    if isinstance(picture, str):
        return Path(picture).read_bytes()
    stream = io.BytesIO()
    picture().save(stream, "PNG")
    return stream.getvalue()
