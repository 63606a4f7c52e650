"""Write a set in ELEVATER's layout from torchvision's copy: index files, a labelmap and zips, with the images as they are."""

from __future__ import annotations

import io
import json
import logging
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from datasets.catalog.entries import Entry, entries
from datasets.catalog.names import class_names
from toolkit.common.cli import NotDone
from toolkit.common.files import atomic_folder

from . import ORDER_FILE
from .torchvision_copies import COPIES, ImageSource, Item, read_copy

log = logging.getLogger(__name__)


def prepare(entry: Entry, root: str | Path, source: str | Path = "", download: bool = True) -> Path:
    """Write `entry` below the data root and return its folder, which appears whole or not at all.

    The order of the test images is torchvision's, which `order.json` in the folder says: predictions on them can be
    scored at home, but not submitted.

    Args:
        source: the folder of torchvision's copy; by default `<root>/torchvision`.
        download: let torchvision download what is not there.

    Raises:
        ValueError: torchvision does not have the set, or the folder is there already.
        NotDone: torchvision's copy is not available or cannot be read.
    """
    check(entry, root)
    folder = Path(root) / entry.folder
    source = Path(source) if source else Path(root) / "torchvision"
    classes = class_names(entry.name)
    if len(classes) != entry.classes:
        raise ValueError(f"{entry.name}: {len(classes)} class names are known, but it has {entry.classes} classes")
    import torchvision

    cls = getattr(torchvision.datasets, entry.torchvision)
    made = [parent for parent in folder.parents if not parent.exists()]
    about = {
        "order": "unofficial",
        "source": f"torchvision {torchvision.__version__}",
        "note": COPIES[entry.name].note,
    }
    try:
        with atomic_folder(folder) as work:
            for split in COPIES[entry.name].splits:
                items = read_copy(entry.name, cls, split, source, download, classes)
                _write_split(entry, split, items, source, work)
            (work / entry.labelmap).write_text("\n".join(classes) + "\n", encoding="utf-8")
            (work / ORDER_FILE).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise NotDone(f"{entry.name} could not be written: {error}") from error
    finally:
        for parent in made:  # those that stayed empty
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()
    return folder


def check(entry: Entry, root: str | Path) -> None:
    """Raise ValueError if torchvision does not have the set, or there are files in its folder already."""
    if entry.name not in COPIES or not entry.torchvision:
        known = ", ".join(name for name in entries() if name in COPIES)
        raise ValueError(f"torchvision has no copy of {entry.name}; it has one of {known}")
    folder = Path(root) / entry.folder
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not is_empty:
        raise ValueError(f"{folder} is there already and stays as it is; move it away to prepare {entry.name} anew")


def _write_split(entry: Entry, split: str, items: Sequence[Item], source: Path, work: Path) -> None:
    """Write one index file, and add its images to its zip, which splits may share."""
    zip_name = entry.split_zips[split]
    lines = []
    with zipfile.ZipFile(work / zip_name, "a", zipfile.ZIP_STORED) as archive:
        written = set(archive.namelist())
        bar = tqdm(items, desc=f"{entry.name} {split}", unit="image", dynamic_ncols=True)
        for number, (image, labels) in enumerate(bar):
            member = _member(image, split, number, source)
            if member not in written:
                archive.writestr(zipfile.ZipInfo(member), _content(image))
                written.add(member)
            field = ",".join(map(str, labels))
            lines.append(f"{zip_name}@{member} {field}".rstrip())
    (work / entry.indexes[split]).write_text("\n".join(lines) + "\n", encoding="utf-8")


def _member(image: ImageSource, split: str, number: int, source: Path) -> str:
    """Return a name in the zip: the path below `source`, without spaces, which an index line without labels can't hold."""
    if not isinstance(image, str):
        return f"{split}/{number:06d}.png"
    if Path(image).is_relative_to(source):
        path = os.path.relpath(image, source)
    else:
        path = os.path.basename(image)
    return path.replace(os.sep, "/").replace(" ", "_")


def _content(image: ImageSource) -> bytes:
    if isinstance(image, str):
        return Path(image).read_bytes()
    stream = io.BytesIO()
    image().save(stream, "PNG")
    return stream.getvalue()
