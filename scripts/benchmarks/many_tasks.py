"""A synthetic suite of any number of tasks with 100 classes each, in ELEVATER's layout: what a user with very many tasks has on disk.

Every task has index files, labels.txt and a zip for each split, one training and one test image a class (48 px, noise in coarse blocks).
Class names are of three words, and no two classes of the suite have the same.
"""

from __future__ import annotations

import io
import itertools
import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from datasets import Task, register_task
from datasets.elevater import ElevaterTask

CLASSES = 100
FOLDER = "classification"
WORDS = (
    "amber ancient bitter blue brave bright calm clever cold crimson curved dark dusty early faint fancy fierce "
    "flat gentle giant golden grand green heavy hidden hollow icy jolly keen little loud lucky misty modest narrow "
    "noisy old pale plain proud quiet rapid red rough royal rusty sharp shiny silent silver slim smooth soft",
    "brass brick bronze cedar clay cloth coal copper coral cotton glass iron ivory jade lace lead leather linen "
    "marble metal oak paper pearl pine plastic rubber sand satin silk steel stone straw tin velvet wax willow wood wool",
    "anchor arrow barn basket bell bench boat bottle bowl bridge bucket button cabin candle canoe chair clock "
    "coin compass crown cup desk door drum fence flute fork gate glove hammer harp hat helmet jar kettle key kite "
    "knife ladder lamp lantern lock mask mirror nail necklace needle oven paddle pillow pipe pot ring rope saddle shield",
)


def name_of(task: int) -> str:
    """What the task at this position is registered under."""
    return f"many-{task:04d}"


def class_names(task: int, count: int = CLASSES) -> list[str]:
    """The class names of the task at this position; up to 112,000 classes of a suite are all different."""
    adjectives, materials, things = (words.split() for words in WORDS)
    chosen = itertools.islice(itertools.product(adjectives, materials, things), task * count, (task + 1) * count)
    return [" ".join(words) for words in chosen]


def picture(generator: np.random.Generator) -> bytes:
    """A PNG of 48 x 48 pixels."""
    blocks = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(blocks.repeat(8, 0).repeat(8, 1)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def write_task(folder: Path, task: int, classes: int = CLASSES) -> None:
    """Write the task at this position into `folder`."""
    folder.mkdir(parents=True)
    for number, split in enumerate(("train", "test")):
        generator = np.random.default_rng([task, number])
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            for label in range(classes):
                archive.writestr(f"{split}/{label}.png", picture(generator))
        lines = [f"{split}.zip@{split}/{label}.png {label}\n" for label in range(classes)]
        (folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    (folder / "labels.txt").write_text("\n".join(class_names(task, classes)) + "\n", encoding="utf-8")


def write_suite(root: Path, tasks: int, classes: int = CLASSES) -> None:
    """Write the first `tasks` tasks below the data root `root`; those that are there already are kept."""
    for task in range(tasks):
        folder = root / FOLDER / name_of(task)
        if not folder.is_dir():
            unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
            shutil.rmtree(unfinished, ignore_errors=True)
            write_task(unfinished, task, classes)
            unfinished.rename(folder)


def register_suite(tasks: int) -> list[type[Task]]:
    """Register the first `tasks` tasks, as a module dropped into `datasets/` would; their classes."""
    facts = [{"name": name_of(task), "root_folder": f"{FOLDER}/{name_of(task)}"} for task in range(tasks)]
    return [register_task(type(own["name"], (ElevaterTask,), own)) for own in facts]
