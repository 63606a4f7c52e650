"""Write a set in ELEVATER's layout from another copy: index files, a labelmap and zips,
with the images as they are.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from datasets.catalog.entries import Entry, entries
from datasets.catalog.names import class_names
from datasets.io.packed import PackedImage
from toolkit.common.cli import NotDone
from toolkit.common.files import atomic_folder

from . import record
from .copies import Copy, check_counts, find_copy, label_map, open_copy
from .record import OTHER_ORDER, OTHER_SPLIT, Record
from .torchvision_copies import COPIES, ImageSource, Item, read_copy

log = logging.getLogger(__name__)

DRAWN = ("caltech-101", "eurosat_clip")  # torchvision has no split of them


def prepare(
    entry: Entry, root: str | Path, source: str | Path = "", download: bool = True
) -> Path:
    """Write `entry` below the data root from torchvision's copy; return its folder,
    which appears whole or not at all.

    The order of the test images is torchvision's, which `order.json` in the folder
    records: predictions on them can be scored at home, but not submitted.

    Args:
        source: the folder of torchvision's copy; by default `<root>/torchvision`.
        download: let torchvision download what is not there.

    Raises:
        ValueError: torchvision does not have the set, or the folder is there already.
        NotDone: torchvision's copy is not available or cannot be read.
    """
    check(entry, root)
    source = Path(source) if source else Path(root) / "torchvision"
    classes = _class_names(entry)
    import torchvision

    cls = getattr(torchvision.datasets, entry.torchvision)
    copy = COPIES[entry.name]
    verdict = OTHER_SPLIT if entry.name in DRAWN else OTHER_ORDER
    splits = {}
    with writing(entry, root) as work:
        for split in copy.splits:
            items = read_copy(entry.name, cls, split, source, download, classes)
            splits[split] = _write_split(
                entry, split, _from_torchvision(items, split, source), work
            )
        origin = f"torchvision {torchvision.__version__}"
        _finish(entry, splits, Copy(verdict=verdict, note=copy.note), origin, work)
    return Path(root) / entry.folder


def prepare_copy(
    entry: Entry,
    root: str | Path,
    form: str,
    path: Path,
    revision: str = "",
    origin: str = "",
) -> Path:
    """Write `entry` below the data root from a local copy; return its folder, which
    appears whole or not at all.

    Args:
        form: "wds", "parquet" or "folder".
        path: the copy: a folder, or a parquet file.
        revision: of the repository that it is from, for the record.
        origin: the repository, for the record.

    Raises:
        FileNotFoundError, ValueError: the copy is not there or not as it should be; the
            message names file and place.
    """
    require_empty(entry, root)
    collection = open_copy(entry, form, path)
    labels = label_map(entry, collection)
    splits = {}
    with writing(entry, root) as work:
        for split, stream in collection.splits.items():
            if split in entry.indexes:
                splits[split] = _write_split(
                    entry, split, _relabelled(stream(), labels, split), work
                )
        check_counts(
            entry, [splits["test"][label] for label in range(entry.classes)], str(path)
        )
        copy = find_copy(entry, form) or Copy(
            verdict=OTHER_SPLIT, note="how the images were split is not known"
        )
        origin = origin or f"{form} {path.resolve().name}"
        _finish(entry, splits, copy, origin, work, revision)
    return Path(root) / entry.folder


def check(entry: Entry, root: str | Path) -> None:
    """Raise ValueError if torchvision does not have the set, or there are files in its
    folder already.
    """
    if entry.name not in COPIES or not entry.torchvision:
        known = ", ".join(name for name in entries() if name in COPIES)
        raise ValueError(
            f"torchvision has no copy of {entry.name}; it has one of {known}"
        )
    require_empty(entry, root)


def require_empty(entry: Entry, root: str | Path) -> None:
    """Raise ValueError if there are files in the folder of a set."""
    folder = Path(root) / entry.folder
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not is_empty:
        raise ValueError(
            f"{folder} is there already and stays as it is; move it away to prepare {entry.name} again"
        )


@contextlib.contextmanager
def writing(entry: Entry, root: str | Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes the set's, and leave no empty folder behind
    if the block fails.
    """
    folder = Path(root) / entry.folder
    made = [parent for parent in folder.parents if not parent.exists()]
    try:
        with atomic_folder(folder) as work:
            yield work
    except OSError as error:
        raise NotDone(f"{entry.name} could not be written: {error}") from error
    finally:
        for parent in made:  # those that stayed empty
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def _class_names(entry: Entry) -> list[str]:
    classes = class_names(entry.name)
    if len(classes) != entry.classes:
        raise ValueError(
            f"{entry.name}: {len(classes)} class names are known, but it has {entry.classes} classes"
        )
    return classes


def _finish(
    entry: Entry,
    splits: dict[str, Counter],
    copy: Copy,
    source: str,
    work: Path,
    revision: str = "",
) -> None:
    """Write the labelmap and the record.

    `splits`: split -> label -> images, and their number under -1.
    """
    if entry.labelmap:
        (work / entry.labelmap).write_text(
            "\n".join(_class_names(entry)) + "\n", encoding="utf-8"
        )
    images = {split: counts[-1] for split, counts in splits.items()}
    verdict = record.judge(entry, images, copy.verdict)
    note = record.describe_differences(entry, images, copy.note)
    record.write(work, Record(source, verdict, revision, images, note))


def _write_split(
    entry: Entry, split: str, images: Iterable[PackedImage], work: Path
) -> Counter:
    """Write one index file, and add its images to its zip, which splits may share.

    Returns:
        label -> number of images, and the number of all images under -1
    """
    zip_name = entry.split_zips[split]
    counts: Counter = Counter()
    rows = []
    with zipfile.ZipFile(work / zip_name, "a", zipfile.ZIP_STORED) as archive:
        written = set(archive.namelist())
        for image in tqdm(
            images,
            f"{entry.name} {split}",
            entry.images[split],
            unit="image",
            dynamic_ncols=True,
        ):
            if image.name not in written:
                archive.writestr(zipfile.ZipInfo(image.name), image.content)
                written.add(image.name)
            rows.append((image.name, image.labels))
            counts[-1] += 1
            counts.update(image.labels)
    index = work / entry.indexes[split]
    if entry.layout == "coco":
        index.write_text(
            _coco_index(rows, zip_name, _class_names(entry)), encoding="utf-8"
        )
    else:
        index.write_text(_iris_index(rows, zip_name), encoding="utf-8")
    return counts


def _iris_index(rows: list[tuple[str, tuple[int, ...]]], zip_name: str) -> str:
    lines = []
    for member, labels in rows:
        field = ",".join(map(str, labels))
        lines.append(f"{zip_name}@{member} {field}".rstrip() + "\n")
    return "".join(lines)


def _coco_index(
    rows: list[tuple[str, tuple[int, ...]]], zip_name: str, classes: list[str]
) -> str:
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(classes)]
    images = []
    annotations = []
    for number, (member, labels) in enumerate(rows, start=1):
        images.append({"id": number, "file_name": member, "zip_file": zip_name})
        for label in labels:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": label + 1,
                }
            )
    content = {"images": images, "annotations": annotations, "categories": categories}
    return json.dumps(content, ensure_ascii=False) + "\n"


def _relabelled(
    images: Iterable[PackedImage], order: list[int], split: str
) -> Iterator[PackedImage]:
    """Yield the images with the labels of the set, in a folder of their split."""
    seen: set[str] = set()
    for image in images:
        labels = tuple(sorted(order[label] for label in image.labels))
        # an index line without labels can't hold a space
        name = image.name.replace(" ", "_")
        if not name.startswith(f"{split}/"):
            name = f"{split}/{name}"
        if name in seen:
            raise ValueError(
                f"{image.where}: another image of the split is called {name}, too"
            )
        seen.add(name)
        yield PackedImage(name, image.content, labels, image.where)


def _from_torchvision(
    items: Iterable[Item], split: str, source: Path
) -> Iterator[PackedImage]:
    for number, (image, labels) in enumerate(items):
        yield PackedImage(
            _member(image, split, number, source), _content(image), labels, ""
        )


def _member(image: ImageSource, split: str, number: int, source: Path) -> str:
    """Return a name in the zip: the path below `source`, without spaces, which an index
    line without labels can't hold.
    """
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
