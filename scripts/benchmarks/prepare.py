"""How fast `python -m datasets prepare --from wds` is, compared with tarfile alone
reading the same shards.

    python -m scripts.benchmarks.prepare --images 10000

Both handle the same images (of a few KB) and labels in this process, in turns; the
median counts. With --require, exit code 1 if preparing is slower than that share.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from .common import medians_in_turns, new_parser, ratio_command, timed

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


def read_with_tarfile(tars: Sequence[Path]) -> None:
    """Read all members."""
    for tar in tars:
        with tarfile.open(tar) as archive:
            for member in archive:
                archive.extractfile(member).read()


def prepare_set(shards: Path, folder: Path) -> float:
    """Return the seconds in which the set is prepared."""
    from datasets.catalog.entries import entry
    from datasets.tools.prepare import prepare_copy

    with tempfile.TemporaryDirectory(dir=folder) as root:
        return timed(prepare_copy, entry(SET), Path(root), "wds", shards)


def compare(options: argparse.Namespace, folder: Path) -> Iterator[dict]:
    """Measure both rates in turns and yield them with their ratio."""
    logging.basicConfig(level=logging.WARNING)
    shards = folder / "shards"
    write_shards(shards, options.images, options.bytes)
    measures = {
        "tarfile": partial(timed, read_with_tarfile, sorted(shards.rglob("*.tar"))),
        "prepare": partial(prepare_set, shards, folder),
    }
    seconds = medians_in_turns(measures, options.rounds)
    yield {
        "images": options.images,
        "bytes_an_image": options.bytes,
        "rounds": options.rounds,
        "tarfile_images_per_second": round(options.images / seconds["tarfile"]),
        "prepare_images_per_second": round(options.images / seconds["prepare"]),
        "ratio": round(seconds["tarfile"] / seconds["prepare"], 3),
    }


def main() -> int:
    """Run the command line."""
    parser = new_parser(__doc__, images=10_000, rounds=5)
    parser.add_argument("--bytes", type=int, default=2500, help="of an image")
    return ratio_command(parser, compare)


if __name__ == "__main__":
    sys.exit(main())
