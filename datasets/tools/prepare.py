"""Write a set from a copy: in ELEVATER's layout, that is index files, a labelmap and
zips, with the images as they are; or the files of a copy that is in its published
layout already.
"""

from __future__ import annotations

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
from toolkit.common.files import atomic_folder, write_text

from . import record
from .copies import check_counts, find_copy, label_map, open_copy
from .doctor import examine
from .report import SHOWN
from .torchvision_copies import COPIES, read_copy
from .unpack import unpack

Stream = Callable[[], Iterator[PackedImage]]
Labelled = list[tuple[str, tuple[int, ...]]]  # members of a zip, and their labels


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
    require_empty(entry, root)
    source = Path(source) if source else Path(root) / "torchvision"
    import torchvision

    copy = COPIES[entry.name]
    streams = {}
    for split in copy.splits:
        streams[split] = partial(read_copy, entry, split, source, download)
    about = {"verdict": copy.verdict, "note": copy.note}
    about["source"] = f"torchvision {torchvision.__version__}"
    return _write_set(entry, root, streams, source, about)


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
    streams = {}
    for split, stream in collection.splits.items():
        if split in entry.indexes:
            streams[split] = partial(_relabelled, stream, labels, split)
    verdict, note = record.OTHER_SPLIT, "how the images were split is not known"
    copy = find_copy(entry, form)
    if copy:
        verdict, note = copy.verdict, copy.note
    source = origin or f"{form} {path.resolve().name}"
    about = {"source": source, "revision": revision}
    about |= {"verdict": verdict, "note": note}
    return _write_set(entry, root, streams, path, about)


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
    with _writing(entry, root) as work:
        paths = (*entry.files, *entry.annotations, entry.image_dir)
        unpack(zip_file, work, [path for path in paths if path])
        for file in entry.files:
            if not (work / file).exists():
                raise ValueError(f"{zip_file} has no {file}, which {entry.name} needs")
        _record_whole(entry, work, zip_file, origin, revision)
    return root / entry.folder


def prepare_folder(entry: Entry, root: Path, folder: Path, origin: str = "") -> Path:
    """Copy a folder of ELEVATER's own files, or convert one of split folders."""
    origin = origin or f"folder {folder.resolve().name}"
    if not all((folder / file).exists() for file in entry.files):
        return prepare_copy(entry, root, "folder", folder, origin=origin)
    require_empty(entry, root)
    with _writing(entry, root) as work:
        shutil.copytree(folder, work, dirs_exist_ok=True)
        _record_whole(entry, work, folder, origin)
    return root / entry.folder


def require_empty(entry: Entry, root: str | Path) -> None:
    """Raise ValueError if there are files in the folder of a set."""
    folder = Path(root) / entry.folder
    is_empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not is_empty:
        raise ValueError(
            f"{folder} is there already and stays as it is; move it away to prepare {entry.name} again"
        )


@contextlib.contextmanager
def _writing(entry: Entry, root: str | Path) -> Iterator[Path]:
    """Yield a temporary folder for the set's; remove new folders that stay empty."""
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


def _write_set(
    entry: Entry,
    root: str | Path,
    streams: Mapping[str, Stream],
    path: Path,
    about: dict[str, str],
) -> Path:
    """Write the images of all splits, the labelmap and the record; return the folder.

    Args:
        path: the copy, for messages.
        about: the texts of the record.
    """
    images = {}
    with _writing(entry, root) as work:
        for split, stream in streams.items():
            counts = _write_split(entry, split, stream(), work)
            images[split] = counts[-1]
            if split == "test":
                by_label = [counts[label] for label in range(entry.classes)]
                check_counts(entry, by_label, str(path))
        if entry.labelmap:
            text = "\n".join(class_names(entry.name)) + "\n"
            write_text(work / entry.labelmap, text)
        record.write(work, entry, images, **about)
    return Path(root) / entry.folder


def _write_split(
    entry: Entry, split: str, images: Iterable[PackedImage], work: Path
) -> Counter:
    """Write one index file, and add its images to its zip, which splits may share.

    Returns:
        label -> number of images, and the number of all images under -1
    """
    zip_name = entry.split_zips[split]
    counts: Counter = Counter()
    rows: Labelled = []
    title, total = f"{entry.name} {split}", entry.images[split]
    with zipfile.ZipFile(work / zip_name, "a", zipfile.ZIP_STORED) as archive:
        written = set(archive.namelist())
        for image in tqdm(images, title, total, unit="image", dynamic_ncols=True):
            if image.name not in written:
                archive.writestr(zipfile.ZipInfo(image.name), image.content)
                written.add(image.name)
            rows.append((image.name, image.labels))
            counts.update((-1, *image.labels))
    if entry.layout == "coco":
        text = _coco_index(rows, zip_name, class_names(entry.name))
    else:
        text = _iris_index(rows, zip_name)
    write_text(work / entry.indexes[split], text)
    return counts


def _iris_index(rows: Labelled, zip_name: str) -> str:
    lines = []
    for member, labels in rows:
        field = ",".join(map(str, labels))
        lines.append(f"{zip_name}@{member} {field}".rstrip() + "\n")
    return "".join(lines)


def _coco_index(rows: Labelled, zip_name: str, classes: list[str]) -> str:
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(classes)]
    images = []
    pairs = []
    for number, (member, labels) in enumerate(rows, start=1):
        images.append({"id": number, "file_name": member, "zip_file": zip_name})
        pairs += [(number, label + 1) for label in labels]
    annotations = []
    for number, (image, category) in enumerate(pairs, start=1):
        annotations.append({"id": number, "image_id": image, "category_id": category})
    content = {"images": images, "annotations": annotations, "categories": categories}
    return json.dumps(content, ensure_ascii=False) + "\n"


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
            raise ValueError(
                f"{image.where}: another image of the split is called {name}, too"
            )
        seen.add(name)
        yield PackedImage(name, image.content, labels, image.where)


def _prepare_elevater(
    entry: Entry, root: Path, zip_file: Path, revision: str, origin: str
) -> Path:
    wanted = [*entry.files, *FOLDER_SPLITS]
    wanted += map(str.capitalize, FOLDER_SPLITS)
    with _writing(entry, root) as work:
        unpacked = work / ".unpacked"
        unpacked.mkdir()
        unpack(zip_file, unpacked, wanted)
        if all((unpacked / file).exists() for file in entry.files):
            for child in unpacked.iterdir():
                child.rename(work / child.name)
            _record_whole(entry, work, zip_file, origin, revision)
        else:
            inner = prepare_copy(entry, work, "folder", unpacked, revision, origin)
            for child in inner.iterdir():
                child.rename(work / child.name)
            shutil.rmtree(work / Path(entry.folder).parts[0])
        shutil.rmtree(unpacked)
    return root / entry.folder


def _record_whole(
    entry: Entry, work: Path, source: Path, origin: str, revision: str = ""
) -> None:
    """Write the record of a set in its published layout, unless its files bring one.

    Raises ValueError with the first errors that `doctor` finds in the files, other than
    numbers of images, which the verdict is about.

    work: the folder with the files. source: the copy that they are from.
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
        record.write(work, entry, report.images, origin, record.SAME, revision=revision)
