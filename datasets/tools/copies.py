"""The public copies of the sets (catalog/copies.yaml): fetch one from the Hugging Face
Hub, and open a local one as a collection.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import datasets.catalog
from datasets.catalog import names
from datasets.catalog.entries import SPLITS, Entry
from datasets.custom.reading import read_folder
from datasets.custom.rows import Row
from datasets.io.packed import Collection, PackedImage
from datasets.io.parquet_files import read_parquet
from datasets.io.webdatasets import read_webdataset
from toolkit.common.structured import read_yaml
from toolkit.common.text import one_line

from .record import OTHER_ORDER

PATTERNS = {
    "wds": ["*.txt", "train/*", "val*/*", "test/*"],
    "parquet": ["*.parquet"],
}


@dataclass(frozen=True)
class Copy:
    """A public copy of a set."""

    repo: str = ""  # on the Hub
    type: str = "dataset"  # of the repository, or "model"
    revision: str = "main"
    verdict: str = OTHER_ORDER  # of the test images, if the files are complete
    label: str = ""  # as `read_parquet` takes it, as well as `splits`
    # of torchvision, split -> the arguments of its class
    splits: Mapping[str, Any] = field(default_factory=dict)
    # torchvision's labels are matched by class names, else they are ELEVATER's
    by_name: bool = False
    note: str = ""  # differences besides
    wrong: str = ""  # name of a repository that looks like it and holds other images


@cache
def _known_copies() -> dict[str, Any]:
    return read_yaml(Path(datasets.catalog.__file__).parent / "copies.yaml")


def _of_set(entry: Entry) -> dict[str, Any]:
    return _known_copies()["sets"].get(entry.name, {})


def find_copy(entry: Entry, form: str) -> Copy | None:
    """Return the copy of a set in the form wds, parquet, zip or torchvision, if any."""
    if form == "zip":
        if entry.suite not in ("coop", "imagenet-variant") or entry.name == "ImageNet":
            return None
        return Copy(**_known_copies()["zip"])
    fields = _of_set(entry).get(form)
    return None if fields is None else Copy(**fields)


def test_counts(entry: Entry) -> list[int]:
    """Return the published number of test images of each class, [] if it is not stated."""
    return _of_set(entry).get("test_counts", [])


def hub_form(entry: Entry) -> str:
    """Return the form of the public copy of a set that is read, "" if none is known."""
    for form in ("wds", "parquet", "zip"):
        copy = find_copy(entry, form)
        if copy and copy.repo:
            return form
    return ""


def fetch_copy(
    entry: Entry, folder: Path, revision: str = ""
) -> tuple[str, Path, str, str]:
    """Fetch the missing files of the public copy of a set to a folder in `folder`.

    Returns:
        (form, path of the copy, repository, the commit that was read)

    Raises ValueError if the Hub does not answer or has no such repository or revision.
    """
    form = hub_form(entry)
    copy = find_copy(entry, form)
    revision = revision or copy.revision
    target = folder / copy.repo.rpartition("/")[2]
    try:
        from huggingface_hub import HfApi
    except ImportError:
        raise ValueError(
            "--from hub needs huggingface_hub: pip install huggingface_hub"
        ) from None
    try:
        hub = HfApi(os.environ.get("HF_ENDPOINT") or None)
        info = hub.repo_info(copy.repo, repo_type=copy.type, revision=revision)
        path, patterns = target, PATTERNS.get(form)
        if form == "zip":
            files = [file.rfilename for file in info.siblings or []]
            patterns = [find_zip(entry, files, copy.repo)]
            path = target / patterns[0]
        hub.snapshot_download(
            copy.repo,
            repo_type=copy.type,
            revision=info.sha,
            local_dir=target,
            allow_patterns=patterns,
        )
    except ValueError:
        raise
    except Exception as error:  # noqa: BLE001 - those of the HTTP client depend on huggingface_hub's version
        message = f"{copy.repo} ({revision}) could not be fetched from the Hub: {one_line(error)}"
        advice = f"With a local copy, use --from {form} --at PATH"
        raise ValueError(f"{message}. {advice}") from None
    return form, path, copy.repo, info.sha


def find_zip(entry: Entry, files: list[str], where: str) -> str:
    """Return the zip that is called as the set's folder, whatever the marks."""
    wanted = _plain(entry.folder)
    for file in files:
        if file.endswith(".zip") and _plain(Path(file).stem) == wanted:
            return file
    raise ValueError(f"{where} has no zip {entry.folder}.zip for {entry.name}")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def open_copy(entry: Entry, form: str, path: Path) -> Collection:
    """Return the images of a local copy in the form wds, parquet or folder. Raises
    FileNotFoundError or ValueError if it is not there, not of this form, or another
    set's.
    """
    copy = find_copy(entry, form) or Copy()
    if copy.wrong and path.resolve().name == copy.wrong:
        raise ValueError(
            f"{path}: {copy.wrong} holds cropped objects with one label; take {copy.repo}"
        )
    if form == "wds":
        collection = read_webdataset(path)
    elif form == "parquet":
        collection = read_parquet(path, copy.label, copy.splits)
    else:
        collection = _read_folder(path)
    _check_label_kind(entry, path, collection.multilabel, copy)
    for split in ("train", "test"):
        if split not in collection.splits and entry.images.get(split):
            raise ValueError(f"{path} has no split {split}")
    return collection


def _check_label_kind(entry: Entry, path: Path, multilabel: bool, copy: Copy) -> None:
    is_multilabel = entry.label_kind == "multilabel"
    if is_multilabel and not multilabel:
        message = f"{entry.name} is multilabel, but each image here has one label"
        if copy.wrong:
            message += (
                f"; it may hold cropped objects, as {copy.wrong} does: take {copy.repo}"
            )
        raise ValueError(f"{path}: {message}")
    if multilabel and not is_multilabel:
        raise ValueError(
            f"{path}: {entry.name} has one label an image, but each image here has a list of labels"
        )


def label_map(entry: Entry, collection: Collection) -> list[int]:
    """Return position in the copy's class list -> label of the set, matched by name.
    Raises ValueError if that fails, or classes are numbered as texts (0, 1, 10, ...).
    """
    found = collection.classnames
    if all(name.isdecimal() for name in found):
        numbers = [int(name) for name in found]
        if numbers != sorted(numbers) and found == sorted(found):
            raise ValueError(
                f"{collection.names_from} numbers the classes as texts ({', '.join(found[:4])}, ...): its labels are in "
                f"another order than those of {entry.name}"
            )
        found = [str(number) for number in numbers]
    return names.match_labels(entry.name, found, collection.names_from)


def check_counts(entry: Entry, counts: Sequence[int], source: str) -> None:
    """Raise ValueError if the labels of test images are numbered as texts."""
    expected = test_counts(entry)
    labels = sorted(range(len(expected)), key=str)
    as_text = [expected[label] for label in labels]
    if list(counts) == as_text != expected:
        raise ValueError(
            f"{source}: its labels are in the order of texts (0, 1, 10, ...), not of {entry.name}"
        )


def _read_folder(path: Path) -> Collection:
    rows = read_folder(path, splits_needed=True)
    classnames = sorted({row.labels[0] for row in rows})
    if all(name.isdecimal() for name in classnames):
        classnames.sort(key=int)
    position_of = {name: position for position, name in enumerate(classnames)}
    streams = {}
    for split in SPLITS:
        chosen = [row for row in rows if row.split == split]
        if chosen:
            streams[split] = partial(_read_files, chosen, position_of)
    return Collection(classnames, str(path), streams)


def _read_files(rows: Sequence[Row], position_of: Mapping[str, int]):
    for row in rows:
        labels = tuple(position_of[label] for label in row.labels)
        content = Path(row.impath).read_bytes()
        yield PackedImage(row.key, content, labels, row.impath)
