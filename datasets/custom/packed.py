"""Webdataset shards and parquet files as tasks: their images are unpacked once into
zips, which are read like any others. The zips are kept in data/packed of the project,
or in the folder that MVLPT_PACKED names, each source's in a folder with an index.json,
which records the source. The name of that folder changes with names, times and content
of the source's files.
"""

import contextlib
import functools
import hashlib
import logging
import os
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from datasets.io.packed import Collection
from datasets.io.parquet_files import read_parquet
from datasets.io.webdatasets import read_webdataset
from toolkit.common.files import atomic_folder
from toolkit.common.structured import read_json, write_json

from .metadata_files import split_rows
from .rows import Row

log = logging.getLogger(__name__)

KINDS = ("wds", "parquet")
INDEX = "index.json"
PART, PARTS = 1 << 20, 64  # bytes and number of the parts of a file that are compared
_KEYS = {"classnames", "multilabel", "templates", "images"}


def home() -> Path:
    """Return the folder of unpacked images: MVLPT_PACKED, or data/packed."""
    default = Path(__file__).resolve().parents[2] / "data" / "packed"
    return Path(os.environ.get("MVLPT_PACKED") or default)


def read_packed(
    kind: str, path: Path
) -> tuple[list[Row], list[Row], list[str], tuple[str, ...]]:
    """Return the images of a source, unpacking them if they are not yet; those of them
    that may have several labels; the class names in label order; and templates. Without
    a test split, the validation images are the test images; of a single split, a fifth
    of each class. Errors name file and place.
    """
    if not path.exists():
        raise FileNotFoundError(f"no file or folder {path}")
    folder = entry_folder(kind, path)
    source = f"{kind}:{path.resolve()}"
    index = _read_index(folder)
    if index is None:
        collection = read_webdataset(path) if kind == "wds" else read_parquet(path)
        _require_unique(collection)
        _unpack(collection, folder, source)
        index = read_json(folder / INDEX)
    if index.get("source") != source:  # an equal copy at another place, or a moved one
        with contextlib.suppress(OSError):  # a cache that cannot be written
            write_json(folder / INDEX, index | {"source": source}, indent=None)
    names = index["classnames"]
    rows = []
    for split, images in index["images"].items():
        for name, labels in images:
            impath, key = f"{folder / split}.zip@{name}", f"{split}/{name}"
            texts = tuple(names[label] for label in labels)
            rows.append(Row(split, impath, key, texts, f"{path}: {key}"))
    rows = _with_test_split(rows)
    several = rows if index["multilabel"] else []
    return rows, several, names, tuple(index["templates"])


def _read_index(folder: Path) -> dict | None:
    """Return the index of an entry of the cache, or None; remove a damaged one."""
    if not folder.exists():
        return None
    with contextlib.suppress(KeyError, TypeError, ValueError, OSError):
        index = read_json(folder / INDEX)
        zips = [folder / f"{name}.zip" for name in index["images"]]
        if index.keys() >= _KEYS and all(map(Path.is_file, zips)):
            return index
    log.warning("%s is damaged: its images are unpacked again", folder)
    shutil.rmtree(folder)
    return None


def _require_unique(collection: Collection) -> None:
    """Raise ValueError if two classes have one name, and would become one."""
    seen: dict[str, int] = {}
    for position, name in enumerate(collection.classnames):
        first = seen.setdefault(name, position)
        if first < position:
            raise ValueError(
                f"{collection.names_from}: classes {first} and {position} are both called {name!r}; rename one of them"
            )


def entry_folder(kind: str, path: Path) -> Path:
    """Return the folder for the unpacked images of a source as it is now."""
    return home() / f"{path.stem}-{_fingerprint(kind, path)}"


def _fingerprint(kind: str, path: Path) -> str:
    """Return 12 hexadecimal digits that change with names, times and content."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
    digest = hashlib.sha256(kind.encode())
    for file in files:
        info = file.stat()
        name = file.relative_to(path.parent).as_posix()
        content = _checksum(file, info.st_size, info.st_ctime_ns)
        line = f"{name} {info.st_mtime_ns} {content}\n"
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:12]


@functools.lru_cache(maxsize=10_000)
def _checksum(file: Path, size: int, changed: int):
    """Return a checksum of a file; if it is large, of its end and of parts that are
    spread evenly. `changed`: the time of its last change.
    """
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    step = max(PART, size // PARTS)
    with open(file, "rb") as stream:
        for start in (*range(0, size, step), max(0, size - PART)):
            stream.seek(start)
            digest.update(stream.read(PART))
    return digest.hexdigest()


def _unpack(collection: Collection, folder: Path, source: str):
    """Write the images and the index of a source, whole or not at all."""
    images: dict[str, list] = {}
    try:
        with atomic_folder(folder) as work:
            for split, stream in collection.splits.items():
                images[split] = []
                name = f"{folder.name} {split}"
                bar = tqdm(stream(), name, unit="image", dynamic_ncols=True)
                with zipfile.ZipFile(work / f"{split}.zip", "w") as archive, bar:
                    for image in bar:
                        archive.writestr(zipfile.ZipInfo(image.name), image.content)
                        images[split].append((image.name, image.labels))
            index = {
                "source": source,
                "classnames": collection.classnames,
                "multilabel": collection.multilabel,
                "templates": collection.templates,
                "images": images,
            }
            write_json(work / INDEX, index, indent=None)
    except OSError:
        if not (folder / INDEX).is_file():  # else another process was faster
            raise
    log.info("unpacked the images of %s to %s", collection.names_from, folder)


def _with_test_split(rows: list[Row]) -> list[Row]:
    found = {row.split for row in rows}
    if "test" in found:
        return rows
    if found == {"train", "val"}:
        moved = {"train": "train", "val": "test"}
        return [replace(row, split=moved[row.split]) for row in rows]
    return split_rows(rows)
