"""How fast zipped images are read, compared with Pillow decoding the same bytes from memory.

    python -m scripts.benchmarks.reading --workers 2

Both are done by the same number of processes of a DataLoader, over the same JPEGs (rendered, about 500 x 375 pixels), in turns; the median
counts. Also told: how many handles of the zip a worker holds. With --require, exit code 1 where reading is slower than that share.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from toolkit.common.images import read_image

ZIP = "images.zip"


class Reading(Dataset):
    """Item k: (pixels of image k, handles of the zip that this process holds). Only their number travels, as decoding is what is timed."""

    def __init__(self, count: int, read: Callable[[int], Image.Image], zip_path: Path):
        self.count, self.read, self.zip_path = count, read, zip_path

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, k: int) -> tuple[int, int]:
        width, height = self.read(k).size
        return width * height, handles(self.zip_path) if k % 100 == 99 else 0


class FromMemory:
    """Pillow alone, on bytes that are in memory already."""

    def __init__(self, contents: list[bytes]):
        self.contents = contents

    def __call__(self, k: int) -> Image.Image:
        return Image.open(io.BytesIO(self.contents[k])).convert("RGB")


class FromZip:
    """What training does."""

    def __init__(self, paths: list[str]):
        self.paths = paths

    def __call__(self, k: int) -> Image.Image:
        return read_image(self.paths[k])


def jpegs(count: int, seed: int = 0) -> list[bytes]:
    """Encoded pictures of soft noise, as hard to decode as photographs: 40 to 80 KB each."""
    rng = np.random.default_rng(seed)
    contents = []
    for _ in range(count):
        coarse = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        pixels = np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC), np.int16)
        pixels = np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=88)
        contents.append(stream.getvalue())
    return contents


def write_zip(path: Path, contents: list[bytes]) -> list[str]:
    """Store the images in a zip and return their paths."""
    members = [f"train/{k // 100:03d}/{k:06d}.jpg" for k in range(len(contents))]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for member, content in zip(members, contents, strict=True):
            archive.writestr(member, content)
    return [f"{path}@{member}" for member in members]


def handles(path: Path) -> int:
    """How many open files of this process are `path` (0 where the system does not tell)."""
    found = 0
    for link in Path("/proc/self/fd").glob("*"):
        try:
            found += os.readlink(link) == str(path)
        except OSError:
            pass
    return found


def rate(dataset: Reading, workers: int) -> tuple[float, int]:
    """(images a second, once all workers have delivered; most handles of the zip that a worker held)."""
    loader = DataLoader(dataset, batch_size=16, num_workers=workers, prefetch_factor=4 if workers else None)
    held, first, images = 0, None, 0
    for k, (_, counts) in enumerate(loader):
        held = max(held, int(counts.max()))
        if k >= 2 * max(1, workers):
            images += len(counts)
        else:
            first = time.perf_counter()
    return images / (time.perf_counter() - first), held


def compare(images: int, workers: int, rounds: int, folder: Path) -> dict:
    """Both rates, in turns, and their ratio."""
    contents = jpegs(images)
    path = (folder / ZIP).resolve()
    paths = write_zip(path, contents)
    memory, zipped = Reading(images, FromMemory(contents), path), Reading(images, FromZip(paths), path)
    rates: dict[str, list[float]] = {"memory": [], "zip": []}
    held = 0
    for _ in range(rounds):
        rates["memory"].append(rate(memory, workers)[0])
        value, most = rate(zipped, workers)
        rates["zip"].append(value)
        held = max(held, most)
    medians = {name: statistics.median(values) for name, values in rates.items()}
    return {
        "images": images,
        "kilobytes_an_image": round(sum(map(len, contents)) / images / 1000, 1),
        "workers": workers,
        "rounds": rounds,
        "memory_images_per_second": round(medians["memory"], 1),
        "zip_images_per_second": round(medians["zip"], 1),
        "ratio": round(medians["zip"] / medians["memory"], 3),
        "handles_of_the_zip_in_a_worker": held,
    }


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--require", type=float, default=0.0, metavar="SHARE", help="exit code 1 where the ratio is below, such as 0.9"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = compare(options.images, options.workers, options.rounds, Path(folder))
    print(json.dumps(result, indent=1))
    return 1 if result["ratio"] < options.require else 0


if __name__ == "__main__":
    sys.exit(main())
