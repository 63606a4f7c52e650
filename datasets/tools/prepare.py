"""Write a set from a copy: in ELEVATER's layout, that is index files, a labelmap and
zips, with the images as they are; or the files of a copy that is in its published
layout already.
"""

import contextlib
import json
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from datasets.catalog.entries import Entry
from datasets.catalog.names import class_names
from datasets.io.packed import PackedImage
from datasets.io.split_names import FOLDER_SPLITS
from toolkit.common.cli import NotDone
from toolkit.common.files import atomic_folder, new_parents, write_text

from . import record
from .copies import Copy, check_counts, find_copy, label_map, open_copy
from .doctor import examine
from .report import SHOWN
from .torchvision_copies import read_copy
from .unpack import unpack

Stream = Callable[[], Iterator[PackedImage]]
Streams = Mapping[str, Stream]  # of each split
Labelled = list[tuple[str, tuple[int, ...]]]  # members of a zip, and their labels
UNKNOWN = Copy(
    verdict=record.OTHER_SPLIT, note="how the images were split is not known"
)


def prepare(
    entry: Entry,
    root: Path,
    form: str,
    path: Path,
    origin: str = "",
    revision: str = "",
    download: bool = True,
) -> None:
    """Write `entry` below the data root from a local copy; its folder appears whole or
    not at all, with a record of the differences. On test images in torchvision's order
    predictions can be scored at home, but not submitted.

    form: "wds", "parquet", "torchvision", "zip" (with the split file of a set of
    CoOp's) or "folder"; of ELEVATER's own files, or with split folders of class
    folders. path: the copy, or the root for torchvision's class. origin, revision: of
    its repository, for the record. download: let torchvision download.

    Raises FileNotFoundError or ValueError, naming file and place, for a copy that is
    not as it should be or a set that is there; NotDone if it cannot be read or written.
    """
    require_empty(entry, root)
    name = path.name if form == "zip" else path.resolve().name
    about = {"source": origin or f"{form} {name}", "revision": revision}
    streams: Streams = {}
    if form == "torchvision":
        import torchvision

        about = {"source": f"torchvision {torchvision.__version__}"}
        streams = {
            split: partial(read_copy, entry, split, path, download)
            for split in find_copy(entry, form).splits
        }
    elif form == "zip":
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}")
    elif form != "folder" or not _has_files(entry, path):
        streams = _relabelled_streams(entry, form, path)
    with _writing(entry, root) as work:
        if streams:
            _write_set(entry, work, streams, form, path, about)
        elif form == "zip":
            _unpack_zip(entry, work, path, about)
        else:
            shutil.copytree(path, work, dirs_exist_ok=True)
            _record_published(entry, work, path, about)


def require_empty(entry: Entry, root: Path) -> None:
    """Raise ValueError if there are files in the folder of a set."""
    folder = root / entry.folder
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not is_empty:
        raise ValueError(
            f"{folder} is there already and stays as it is; move it away to prepare {entry.name} again"
        )


def _has_files(entry: Entry, folder: Path) -> bool:
    return all((folder / file).exists() for file in entry.files)


@contextlib.contextmanager
def _writing(entry: Entry, root: Path):
    folder = root / entry.folder
    try:
        with new_parents(folder), atomic_folder(folder) as work:
            yield work
    except OSError as error:
        raise NotDone(f"{entry.name} could not be written: {error}") from error


def _relabelled_streams(entry: Entry, form: str, path: Path):
    collection = open_copy(entry, form, path)
    labels = label_map(entry, collection)
    streams = {}
    for split, stream in collection.splits.items():
        if split in entry.indexes:
            streams[split] = partial(_relabelled, stream, labels, split)
    return streams


def _relabelled(stream: Stream, order: list[int], split: str) -> Iterator[PackedImage]:
    """Yield the images with the labels of the set, in a folder of their split."""
    seen: set[str] = set()
    for image in stream():
        labels = tuple(sorted(order[label] for label in image.labels))
        # an index line without labels can't hold a space
        name = image.name.replace(" ", "_")
        if not name.startswith(f"{split}/"):
            name = f"{split}/{name}"
        if name in seen:
            raise ValueError(f"{image.where}: the split has two images {name}")
        seen.add(name)
        yield PackedImage(name, image.content, labels, image.where)


def _write_set(
    entry: Entry,
    work: Path,
    streams: Streams,
    form: str,
    path: Path,
    about: dict[str, str],
) -> None:
    images = {}
    for split, stream in streams.items():
        counts = _write_split(entry, split, stream(), work)
        images[split] = counts[-1]
        if split == "test":
            by_label = [counts[label] for label in range(entry.classes)]
            check_counts(entry, by_label, str(path))
    if entry.labelmap:
        text = "\n".join(class_names(entry.name)) + "\n"
        write_text(work / entry.labelmap, text)
    copy = find_copy(entry, form) or UNKNOWN
    record.write(work, entry, images, copy.verdict, note=copy.note, **about)


def _write_split(entry: Entry, split: str, images: Iterable[PackedImage], work: Path):
    """Write one index file, and add its images to its zip, which splits may share.
    Return label -> number of images, and the number of all under -1.
    """
    zip_name = entry.split_zips[split]
    counts: Counter = Counter()
    rows: Labelled = []
    lines = ""  # of an IRIS index
    title, total = f"{entry.name} {split}", entry.images[split]
    with zipfile.ZipFile(work / zip_name, "a", zipfile.ZIP_STORED) as archive:
        written = set(archive.namelist())
        for image in tqdm(images, title, total, unit="image", dynamic_ncols=True):
            if image.name not in written:
                archive.writestr(zipfile.ZipInfo(image.name), image.content)
                written.add(image.name)
            rows.append((image.name, image.labels))
            field = ",".join(map(str, image.labels))
            lines += f"{zip_name}@{image.name} {field}".rstrip() + "\n"
            counts.update((-1, *image.labels))
    if entry.layout == "coco":
        lines = _coco_index(rows, zip_name, class_names(entry.name))
    write_text(work / entry.indexes[split], lines)
    return counts


def _coco_index(rows: Labelled, zip_name: str, classes: list[str]) -> str:
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(classes)]
    images = []
    annotations = []
    for number, (member, labels) in enumerate(rows, start=1):
        images.append({"id": number, "file_name": member, "zip_file": zip_name})
        for label in labels:
            place = {"id": len(annotations) + 1, "image_id": number}
            annotations.append(place | {"category_id": label + 1})
    content = {"images": images, "annotations": annotations, "categories": categories}
    return json.dumps(content, ensure_ascii=False) + "\n"


def _unpack_zip(entry: Entry, work: Path, path: Path, about: dict[str, str]) -> None:
    if entry.suite != "elevater":
        paths = (*entry.files, *entry.annotations, entry.image_dir)
        unpack(path, work, [path for path in paths if path])
        for file in entry.files:
            if not (work / file).exists():
                raise ValueError(f"{path} has no {file}, which {entry.name} needs")
        _record_published(entry, work, path, about)
        return
    unpacked = work / ".unpacked"
    unpacked.mkdir()
    folders = [*FOLDER_SPLITS, *map(str.capitalize, FOLDER_SPLITS)]
    unpack(path, unpacked, [*entry.files, *folders])
    if _has_files(entry, unpacked):
        for child in unpacked.iterdir():
            child.rename(work / child.name)
        _record_published(entry, work, path, about)
    else:
        streams = _relabelled_streams(entry, "folder", unpacked)
        _write_set(entry, work, streams, "folder", unpacked, about)
    shutil.rmtree(unpacked)


def _record_published(entry: Entry, work: Path, source: Path, about: dict[str, str]):
    """Write the record of a set in its published layout, unless its files bring one.
    Raises ValueError for errors that `doctor` finds in them.
    """
    placed = replace(entry, folder=work.name)
    report = examine(placed, work.parent, quick=True)
    errors = [error for error in report.errors if error.kind != "image-count"]
    lines = []
    for error in errors[:SHOWN]:
        lines.append(f"{error.where.removeprefix(f'{work.name}/')}: {error.message}")
    if len(errors) > SHOWN:
        lines.append(f"and {len(errors) - SHOWN} more")
    if lines:
        raise ValueError(f"{source} cannot be used: " + "\n".join(lines))
    if record.read(work) is None:  # else a prepared set was copied
        record.write(work, entry, report.images, record.SAME, **about)
