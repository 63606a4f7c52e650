"""Write pocket tasks to disk in the layouts of the real suites: CoOp's split json,
ELEVATER's index files and zips.

A task's folder appears whole or not at all, and is written once: the same version gives
the same files.
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

from .specs import SPECS, VERSION, Spec

log = logging.getLogger(__name__)

SIZE = 64  # pixels a side of a stored image
Labels = tuple[int, ...]
Item = tuple[bytes, Labels]  # an encoded JPEG and its labels


def home() -> Path:
    """Return the folder of the pocket suite: data/pocket of the project, or the one
    named by MVLPT_POCKET.
    """
    named = os.environ.get("MVLPT_POCKET")
    return (
        Path(named)
        if named
        else Path(__file__).resolve().parents[2] / "data" / "pocket"
    )


def items(spec: Spec, split: str) -> Iterator[Item]:
    """Yield the images of a split in index order.

    Every image has its own random stream.
    """
    if spec.family == "handwritten":
        yield from _handwritten(spec, split)
        return
    code = zlib.crc32(f"{spec.name}/{split}".encode())
    order = (
        np.random.default_rng([VERSION, code])
        .permutation(_counts(spec, split))
        .tolist()
    )
    for k, label in enumerate(order):
        image, labels = _render(spec, label, np.random.default_rng([VERSION, code, k]))
        yield _jpeg(image), labels


def _counts(spec: Spec, split: str) -> list[int]:
    """Return the label of every image of a split, before shuffling."""
    classes = len(spec.classes)
    sizes = {
        "train": classes * spec.train,
        "val": classes * spec.val,
        "test": spec.test,
    }
    return [k % classes for k in range(sizes[split])]


def _render(
    spec: Spec, label: int, rng: np.random.Generator
) -> tuple[Image.Image, Labels]:
    from .styles import finish

    image, labels = _unfinished(spec, label, rng)
    styles = spec.styles
    if not spec.stacked:
        styles = (styles[int(rng.integers(len(styles)))],)
    for style in styles:
        image = finish(image, style, rng)
    return image, labels


def _unfinished(
    spec: Spec, label: int, rng: np.random.Generator
) -> tuple[Image.Image, Labels]:
    from . import concepts, objects, people

    names = list(spec.classes)
    if spec.family == "scene":
        image, shown = objects.scene(rng)
        return image, tuple(sorted(names.index(name) for name in shown))
    concept = names[label]
    if spec.family == "word":
        words = people.WORDS[concept]
        concept = words[int(rng.integers(len(words)))]
    image, _ = concepts.render(spec.family, concept, rng, spec.mode, "plain")
    return image, (label,)


def _handwritten(spec: Spec, split: str) -> Iterator[Item]:
    """Yield scikit-learn's digits, 1,797 real scans of 8 x 8.

    The last 500, from other writers, are the test set.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    first_test = len(bunch.target) - spec.test
    rows = range(first_test)
    if split == "test":
        rows = range(first_test, len(bunch.target))
    for k in rows:
        pixels = (bunch.images[k] * 15.9375).astype(np.uint8)
        scan = Image.fromarray(pixels).resize((48, 48), Image.Resampling.BICUBIC)
        page = Image.new("L", (SIZE, SIZE))
        page.paste(scan, (8, 8))
        yield _jpeg(page.convert("RGB")), (int(bunch.target[k]),)


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(
        stream, "JPEG", quality=92
    )
    return stream.getvalue()


def _write_coop(spec: Spec, folder: Path) -> None:
    splits: dict[str, list] = {}
    names = list(spec.classes.values())
    for split in ("train", "val", "test"):
        splits[split] = []
        for k, (data, (label,)) in enumerate(items(spec, split)):
            inner = names[label].replace(" ", "_")
            path = f"{inner}/{split}_{k:04d}.jpg"
            file = folder / "images" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            splits[split].append([path, label, names[label]])
    (folder / "split.json").write_text(json.dumps(splits, indent=4))


def _write_iris(spec: Spec, folder: Path) -> None:
    (folder / "labels.txt").write_text("\n".join(spec.classes.values()) + "\n")
    for split in ("train", "test"):
        members = []
        lines = []
        for k, (data, labels) in enumerate(items(spec, split)):
            name = f"{split}/{k:05d}.jpg"
            members.append((name, data))
            lines.append(f"{split}.zip@{name} {','.join(map(str, labels))}\n")
        _zip(folder / f"{split}.zip", members)
        (folder / f"{split}.txt").write_text("".join(lines))


def _write_coco(spec: Spec, folder: Path) -> None:
    categories = [
        {"id": k, "name": name} for k, name in enumerate(spec.classes.values(), start=1)
    ]
    members: list[tuple[str, bytes]] = []
    for split in ("train", "test"):
        images, annotations = [], []
        for k, (data, (label,)) in enumerate(items(spec, split), start=1):
            name = f"{split}/{k:05d}.jpg"
            members.append((name, data))
            images.append(
                {
                    "id": k,
                    "file_name": name,
                    "zip_file": "images.zip",
                    "width": SIZE,
                    "height": SIZE,
                }
            )
            annotations.append({"id": k, "image_id": k, "category_id": label + 1})
        index = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(index))
    _zip(folder / "images.zip", members)


def _zip(path: Path, members: list[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)


_WRITERS = {"coop": _write_coop, "iris": _write_iris, "coco": _write_coco}


def folder_of(spec: Spec) -> str:
    """Return the task's folder below `home()`: `<name>_v<VERSION>`, of a target in
    `classification`.
    """
    folder = f"{spec.name}_v{VERSION}"
    return folder if spec.layout == "coop" else f"classification/{folder}"


def ensure(name: str) -> Path:
    """Return the folder of the task "pocket-<name>", written first if it is not there.

    Safe against concurrent writers.
    """
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
    """Write the tasks that are missing, in parallel, and return how many were missing."""
    missing = [name for name in names if not (home() / folder_of(SPECS[name])).is_dir()]
    if len(missing) == 1:
        ensure(missing[0])
    if len(missing) < 2:
        return len(missing)
    with ProcessPoolExecutor(workers) as pool:
        done = pool.map(ensure, missing)
        for _ in tqdm(
            done,
            "rendering the pocket suite",
            len(missing),
            unit="task",
            dynamic_ncols=True,
        ):
            pass
    return len(missing)
