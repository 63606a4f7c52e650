"""How fast `python -m datasets prepare --from wds` is, compared with tarfile alone
reading the same shards.

    python -m scripts.benchmarks.prepare --images 10000

Both handle the same images (of a few KB) and labels in this process, in turns; the
median counts. With --require, exit code 1 if preparing is slower than that share.
"""

from __future__ import annotations

import io
import logging
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from .common import add_require, medians_in_turns, new_parser, report_ratio

SET = "cifar-10"
PER_SHARD = 2000
PNG = b"\x89PNG\r\n\x1a\n"


def write_shards(folder: Path, images: int, size: int) -> None:
    """Write a webdataset of `SET`, four fifths of it for training; images are random
    bytes, for none is decoded.
    """
    from datasets.catalog.names import class_names

    rng = np.random.default_rng(0)
    train = images * 4 // 5
    folder.mkdir(parents=True)
    (folder / "classnames.txt").write_text("\n".join(class_names(SET)) + "\n")
    for split, count in (("train", train), ("test", images - train)):
        (folder / split).mkdir()
        starts = range(0, count, PER_SHARD)
        for shard, start in enumerate(starts):
            with tarfile.open(folder / split / f"{shard}.tar", "w") as archive:
                for number in range(start, min(start + PER_SHARD, count)):
                    _add(archive, f"s{number:07d}.png", PNG + rng.bytes(size))
                    _add(archive, f"s{number:07d}.cls", str(number % 10).encode())
        (folder / split / "nshards.txt").write_text(f"{len(starts)}\n")


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def read_with_tarfile(tars: Sequence[Path], images: int) -> float:
    """Return the images a second at which tarfile reads all members."""
    start = time.perf_counter()
    for tar in tars:
        with tarfile.open(tar) as archive:
            for member in archive:
                archive.extractfile(member).read()
    return images / (time.perf_counter() - start)


def prepare_set(shards: Path, root: Path, images: int) -> float:
    """Return the images a second at which the set is prepared."""
    from datasets.catalog.entries import entry
    from datasets.tools.prepare import prepare_copy

    start = time.perf_counter()
    prepare_copy(entry(SET), root, "wds", shards)
    rate = images / (time.perf_counter() - start)
    shutil.rmtree(root)
    return rate


def compare(images: int, size: int, rounds: int, folder: Path) -> dict:
    """Measure both rates in turns and return them with their ratio."""
    shards = folder / "shards"
    write_shards(shards, images, size)
    tars = sorted(shards.rglob("*.tar"))
    measures = {
        "tarfile": partial(read_with_tarfile, tars, images),
        "prepare": partial(prepare_set, shards, folder / "root", images),
    }
    medians = medians_in_turns(measures, rounds)
    return {
        "images": images,
        "bytes_an_image": size,
        "rounds": rounds,
        "tarfile_images_per_second": round(medians["tarfile"]),
        "prepare_images_per_second": round(medians["prepare"]),
        "ratio": round(medians["prepare"] / medians["tarfile"], 3),
    }


def main() -> int:
    """Run the command line."""
    parser = new_parser(__doc__)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--bytes", type=int, default=2500, help="of an image")
    parser.add_argument("--rounds", type=int, default=5)
    add_require(parser)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        result = compare(options.images, options.bytes, options.rounds, Path(folder))
    return report_ratio(result, options.require)


if __name__ == "__main__":
    sys.exit(main())
