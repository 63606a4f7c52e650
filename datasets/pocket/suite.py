"""Write pocket tasks to disk in the layouts of the real suites: CoOp's split json, ELEVATER's index files and zips.

A task's folder appears whole or not at all, and is written once: the same version gives the same files.
"""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from .concepts import meme, render, scene
from .figures import KIND_WORDS, RUDE_WORDS
from .pen import finish
from .specs import SPECS, VERSION, Spec

log = logging.getLogger(__name__)

SIZE = 64  # pixels a side of a stored image
Item = tuple[bytes, tuple[int, ...]]  # an encoded JPEG and its labels


def home() -> Path:
    """Where the pocket suite lies: data/pocket of the project, or the folder named by MVLPT_POCKET."""
    return Path(os.environ.get("MVLPT_POCKET") or Path(__file__).resolve().parents[2] / "data" / "pocket")


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(stream, "JPEG", quality=92)
    return stream.getvalue()


def _picture(spec: Spec, label: int, rng: np.random.Generator) -> tuple[Image.Image, tuple[int, ...]]:
    concepts = list(spec.classes)
    labels: tuple[int, ...] = (label,)
    if spec.family == "scene":
        image, names = scene(rng)
        labels = tuple(sorted(concepts.index(name) for name in names))
    elif spec.family == "meme":
        image = meme(concepts[label] == "rude", rng)
    else:
        concept = concepts[label]
        if spec.family == "word":
            words = KIND_WORDS if concept == "positive" else RUDE_WORDS
            concept = words[int(rng.integers(len(words)))]
        image, _ = render(spec.family, concept, rng, spec.mode, "plain")
    styles = spec.styles if spec.stacked else (spec.styles[int(rng.integers(len(spec.styles)))],)
    for style in styles:
        image = finish(image, style, rng)
    return image, labels


def _counts(spec: Spec, split: str) -> list[int]:
    """The label of every image of a split, before shuffling."""
    n = len(spec.classes)
    if split == "test":
        return [k % n for k in range(spec.test)]
    return [k % n for k in range(n * (spec.train if split == "train" else spec.val))]


def _handwritten(spec: Spec, split: str) -> Iterator[Item]:
    """scikit-learn's digits: 1,797 real scans of 8 x 8; the last 500 are the test set, as they come from other
    writers."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    cut = len(bunch.target) - spec.test
    rows = range(cut, len(bunch.target)) if split == "test" else range(cut)
    for k in rows:
        scan = Image.fromarray((bunch.images[k] * 15.9375).astype(np.uint8)).resize((48, 48), Image.Resampling.BICUBIC)
        page = Image.new("L", (SIZE, SIZE))
        page.paste(scan, (8, 8))
        yield _jpeg(page.convert("RGB")), (int(bunch.target[k]),)


def items(spec: Spec, split: str) -> Iterator[Item]:
    """The images of a split in index order. Every picture has a random stream of its own."""
    if spec.family == "handwritten":
        yield from _handwritten(spec, split)
        return
    code = zlib.crc32(f"{spec.name}/{split}".encode())
    order = np.random.default_rng([VERSION, code]).permutation(_counts(spec, split)).tolist()
    for k, label in enumerate(order):
        image, labels = _picture(spec, label, np.random.default_rng([VERSION, code, k]))
        yield _jpeg(image), labels


def _write_coop(spec: Spec, folder: Path) -> None:
    splits: dict[str, list] = {}
    names = list(spec.classes.values())
    for split in ("train", "val", "test"):
        splits[split] = []
        for k, (data, (label,)) in enumerate(items(spec, split)):
            path = f"{names[label].replace(' ', '_')}/{split}_{k:04d}.jpg"
            (folder / "images" / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / "images" / path).write_bytes(data)
            splits[split].append([path, label, names[label]])
    (folder / "split.json").write_text(json.dumps(splits, indent=4))


def _zip(path: Path, members: list[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)


def _write_iris(spec: Spec, folder: Path) -> None:
    (folder / "labels.txt").write_text("\n".join(spec.classes.values()) + "\n")
    for split in ("train", "test"):
        rows = list(items(spec, split))
        names = [f"{split}/{k:05d}.jpg" for k in range(len(rows))]
        _zip(folder / f"{split}.zip", [(name, row[0]) for name, row in zip(names, rows, strict=True)])
        lines = (f"{split}.zip@{name} {','.join(map(str, row[1]))}" for name, row in zip(names, rows, strict=True))
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")


def _write_coco(spec: Spec, folder: Path) -> None:
    categories = [{"id": k + 1, "name": name} for k, name in enumerate(spec.classes.values())]
    members: list[tuple[str, bytes]] = []
    for split in ("train", "test"):
        images, annotations = [], []
        for k, (data, (label,)) in enumerate(items(spec, split), start=1):
            name = f"{split}/{k:05d}.jpg"
            members.append((name, data))
            images.append({"id": k, "file_name": name, "zip_file": "images.zip", "width": SIZE, "height": SIZE})
            annotations.append({"id": k, "image_id": k, "category_id": label + 1})
        index = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(index))
    _zip(folder / "images.zip", members)


_WRITERS = {"coop": _write_coop, "iris": _write_iris, "coco": _write_coco}


def folder_of(spec: Spec) -> str:
    """The task's folder below `home()`: `<name>` for a source, `classification/<name>` for a target, versioned."""
    return f"{spec.name}_v{VERSION}" if spec.layout == "coop" else f"classification/{spec.name}_v{VERSION}"


def ensure(name: str) -> Path:
    """The folder of the task "pocket-<name>", written first if it is not there. Safe against concurrent writers."""
    spec = SPECS[name]
    folder = home() / folder_of(spec)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{spec.name}-", dir=folder.parent))
    try:
        _WRITERS[spec.layout](spec, work)
        work.chmod(0o755)
        os.rename(work, folder)
        log.info("rendered %s", name)
    except OSError:
        if not folder.is_dir():  # not another process that was faster
            raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def ensure_all(names: list[str], workers: int = 2) -> int:
    """Write the tasks that are missing, in parallel. Returns how many were missing."""
    missing = [name for name in names if not (home() / folder_of(SPECS[name])).is_dir()]
    if len(missing) < 2:
        for name in missing:
            ensure(name)
        return len(missing)
    with ProcessPoolExecutor(workers) as pool:
        for _ in tqdm(
            pool.map(ensure, missing),
            total=len(missing),
            desc="rendering the pocket suite",
            unit="task",
            dynamic_ncols=True,
        ):
            pass
    return len(missing)
