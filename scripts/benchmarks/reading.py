"""How fast zipped images are read, compared with Pillow decoding the same bytes from
memory.

    python -m scripts.benchmarks.reading --workers 2

Both are done by the same number of processes of a DataLoader, over the same rendered
JPEGs of about 500 x 375 pixels, in turns; the median counts. Also reported: how many
handles of the zip a worker holds.
"""

import io
import os
import sys
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from .common import medians_in_turns, new_parser, ratio_command


class Reading:
    """Item k: (pixels of image k, handles of the zip that this process holds). Only
    counts travel: decoding is timed. Bytes are decoded by Pillow, paths by our reader.
    """

    def __init__(self, sources: Sequence[bytes | str], zip_path: Path):
        self.sources = sources
        self.zip_path = zip_path

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, k: int) -> tuple[int, int]:
        from toolkit.common.images import read_image

        source = self.sources[k]
        if isinstance(source, bytes):
            image = Image.open(io.BytesIO(source)).convert("RGB")
        else:
            image = read_image(source)
        held = handles(self.zip_path) if k % 100 == 99 else 0
        return image.width * image.height, held


def jpegs(count: int) -> list[bytes]:
    """Return JPEGs of soft noise of 40 to 80 KB, as hard to decode as photographs."""
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (60, 80, 3), dtype=np.uint8))
        smooth = coarse.resize((500, 375), Image.Resampling.BICUBIC)
        noise = rng.normal(0, 6, (375, 500, 3))
        pixels = (np.asarray(smooth) + noise).clip(0, 255).astype(np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=88)
        contents.append(stream.getvalue())
    return contents


def write_zip(path: Path, contents: list[bytes]) -> list[str]:
    """Store the images in a zip and return their paths."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for k, content in enumerate(contents):
            archive.writestr(f"train/{k // 100:03d}/{k:06d}.jpg", content)
        return [f"{path}@{member}" for member in archive.namelist()]


def handles(path: Path) -> int:
    """Return how many open files of this process are `path`; 0 if unknown."""
    found = 0
    for link in Path("/proc/self/fd").glob("*"):
        with suppress(OSError):
            found += os.readlink(link) == str(path)
    return found


def rate(dataset: Reading, workers: int, held: list[int]) -> float:
    """Return images a second of warm workers; add the handles that they held."""
    from torch.utils.data import DataLoader

    prefetched = 4 if workers else None
    loader = DataLoader(
        dataset, batch_size=16, num_workers=workers, prefetch_factor=prefetched
    )
    warm = 2 * max(1, workers)
    images, start = 0, 0.0
    for k, (_, counts) in enumerate(loader):
        held.append(int(counts.max()))
        if k >= warm:
            images += len(counts)
        else:
            start = time.perf_counter()
    return images / (time.perf_counter() - start)


def compare(images: int, workers: int, rounds: int, folder: Path) -> dict:
    """Measure both rates in turns and return them with their ratio."""
    contents = jpegs(images)
    path = (folder / "images.zip").resolve()
    paths = write_zip(path, contents)
    held: list[int] = []
    measures = {
        "memory": partial(rate, Reading(contents, path), workers, []),
        "zip": partial(rate, Reading(paths, path), workers, held),
    }
    medians = medians_in_turns(measures, rounds)
    return {
        "images": images,
        "kilobytes_an_image": round(sum(map(len, contents)) / images / 1000, 1),
        "workers": workers,
        "rounds": rounds,
        "memory_images_per_second": round(medians["memory"], 1),
        "zip_images_per_second": round(medians["zip"], 1),
        "ratio": round(medians["zip"] / medians["memory"], 3),
        "handles_of_the_zip_in_a_worker": max(held),
    }


def main() -> int:
    def measure(options, folder):
        import torch

        torch.set_num_threads(1)
        given = options.images, options.workers, options.rounds
        yield compare(*given, folder)

    return ratio_command(new_parser(__doc__, images=1500, workers=2, rounds=5), measure)


if __name__ == "__main__":
    sys.exit(main())
