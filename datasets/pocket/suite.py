"""Write pocket tasks to disk in the layouts of the real suites: CoOp's split json,
ELEVATER's index files and zips. A task's folder appears whole or not at all, and is
written once: the same version gives the same files.
"""

import io
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from toolkit.common.files import atomic_folder

from .specs import SPECS, VERSION, Spec, folder_of

log = logging.getLogger(__name__)

SIZE = 64  # pixels a side of a stored image
Labels = tuple[int, ...]
Item = tuple[bytes, Labels]  # an encoded JPEG and its labels


def home() -> Path:
    """Return the suite's folder: MVLPT_POCKET, or data/pocket of the project."""
    project = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("MVLPT_POCKET") or project / "data" / "pocket")


def items(spec: Spec, split: str) -> Iterator[Item]:
    """Yield the images of a split in order, each from its own random stream."""
    if spec.family == "handwritten":
        yield from _handwritten(spec, split)
        return
    classes = len(spec.classes)
    sizes = {"train": classes * spec.train, "val": classes * spec.val}
    labels = [k % classes for k in range(sizes.get(split, spec.test))]
    code = zlib.crc32(f"{spec.name}/{split}".encode())
    shuffler = np.random.default_rng([VERSION, code])
    order = shuffler.permutation(labels).tolist()
    for k, label in enumerate(order):
        rng = np.random.default_rng([VERSION, code, k])
        image, shown = _render(spec, label, rng)
        yield _jpeg(image), shown


def _render(spec: Spec, label: int, rng: np.random.Generator):
    from . import concepts, objects, people, styles
    from .colors import pick

    names = list(spec.classes)
    labels: Labels = (label,)
    if spec.family == "scene":
        image, shown = objects.scene(rng)
        positions = [names.index(name) for name in shown]
        labels = tuple(sorted(positions))
    else:
        concept = names[label]
        if spec.family == "word":
            concept = pick(rng, people.WORDS[concept])
        image, _ = concepts.render(spec.family, concept, rng, spec.mode, "plain")
    finishes = spec.styles if spec.stacked else (pick(rng, spec.styles),)
    for style in finishes:
        image = styles.finish(image, style, rng)
    return image, labels


def _handwritten(spec: Spec, split: str):
    """Yield scikit-learn's digits; the last 500, of other writers, are for testing."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    part = slice(-spec.test, None) if split == "test" else slice(-spec.test)
    for scan, label in zip(bunch.images[part], bunch.target[part], strict=True):
        gray = (scan * 15.9375).astype(np.uint8)
        pixels = Image.fromarray(gray)
        page = Image.new("L", (SIZE, SIZE))
        scaled = pixels.resize((48, 48), Image.Resampling.BICUBIC)
        page.paste(scaled, (8, 8))
        yield _jpeg(page.convert("RGB")), (int(label),)


def _jpeg(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    small = image.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    small.save(stream, "JPEG", quality=92)
    return stream.getvalue()


def _write_coop(spec: Spec, folder: Path) -> None:
    splits: dict[str, list] = {"train": [], "val": [], "test": []}
    names = list(spec.classes.values())
    for split in splits:
        for k, (data, (label,)) in enumerate(items(spec, split)):
            inner = names[label].replace(" ", "_")
            path = f"{inner}/{split}_{k:04d}.jpg"
            file = folder / "images" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
            splits[split].append([path, label, names[label]])
    content = json.dumps(splits, indent=4)
    (folder / "split.json").write_text(content)


def _write_iris(spec: Spec, folder: Path) -> None:
    class_names = "\n".join(spec.classes.values())
    (folder / "labels.txt").write_text(class_names + "\n")
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
    names = enumerate(spec.classes.values(), start=1)
    categories = [{"id": k, "name": name} for k, name in names]
    members: list[tuple[str, bytes]] = []
    for split in ("train", "test"):
        images, annotations = [], []
        for k, (data, (label,)) in enumerate(items(spec, split), start=1):
            name = f"{split}/{k:05d}.jpg"
            members.append((name, data))
            image = {"id": k, "file_name": name, "zip_file": "images.zip"}
            images.append(image | {"width": SIZE, "height": SIZE})
            annotations.append({"id": k, "image_id": k, "category_id": label + 1})
        index = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(index))
    _zip(folder / "images.zip", members)


def _zip(path: Path, members: list[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)


_WRITERS = {"coop": _write_coop, "iris": _write_iris, "coco": _write_coco}


def ensure(name: str) -> Path:
    """Write a task if it is not there (others may write, too); return its folder."""
    spec = SPECS[name]
    folder = home() / folder_of(spec)
    if folder.is_dir():
        return folder
    try:
        with atomic_folder(folder) as work:
            _WRITERS[spec.layout](spec, work)
        log.info("rendered %s", name)
    except OSError:
        if not folder.is_dir():  # not another process that was faster
            raise
    return folder


def ensure_all(names: list[str], workers: int = 2) -> int:
    """Write the tasks that are missing, in parallel, and return how many were missing."""
    missing = [name for name in names if not (home() / folder_of(SPECS[name])).is_dir()]
    if len(missing) == 1:
        ensure(missing[0])
    elif missing:
        title = "rendering the pocket suite"
        with ProcessPoolExecutor(workers) as pool:
            done = pool.map(ensure, missing)
            list(tqdm(done, title, len(missing), unit="task", dynamic_ncols=True))
    return len(missing)
