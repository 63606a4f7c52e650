"""A synthetic suite of any number of tasks with 100 classes each, in ELEVATER's layout.

A class has one training and one test image (48 px, noise in coarse blocks), and a name
of three words, different in the whole suite.
"""

import io
import itertools
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from datasets import Task, register_task
from datasets.elevater import ElevaterTask
from toolkit.common.files import atomic_folder

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
    """Return the registered name of the task at this position."""
    return f"many-{task:04d}"


def class_names(task: int, count: int = CLASSES) -> list[str]:
    """Return the class names of the task at this position, different in all tasks."""
    names = itertools.product(*map(str.split, WORDS))
    chosen = itertools.islice(names, task * count, (task + 1) * count)
    return [" ".join(words) for words in chosen]


def random_image(generator: np.random.Generator) -> bytes:
    blocks = generator.integers(0, 256, (6, 6, 3), dtype=np.uint8)
    stream = io.BytesIO()
    image = Image.fromarray(blocks.repeat(8, 0).repeat(8, 1))
    image.save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def write_task(folder: Path, task: int, classes: int = CLASSES) -> None:
    """Write the task at this position into `folder`."""
    for number, split in enumerate(("train", "test")):
        generator = np.random.default_rng([task, number])
        with zipfile.ZipFile(folder / f"{split}.zip", "w") as archive:
            for label in range(classes):
                archive.writestr(f"{split}/{label}.png", random_image(generator))
        lines = [
            f"{split}.zip@{split}/{label}.png {label}\n" for label in range(classes)
        ]
        (folder / f"{split}.txt").write_text("".join(lines), encoding="utf-8")
    names = "\n".join(class_names(task, classes)) + "\n"
    (folder / "labels.txt").write_text(names, encoding="utf-8")


def write_suite(root: Path, tasks: int, classes: int = CLASSES) -> None:
    """Write the first tasks below a data root; those that are there are kept."""
    for task in range(tasks):
        folder = root / FOLDER / name_of(task)
        if not folder.is_dir():
            with atomic_folder(folder) as unfinished:
                write_task(unfinished, task, classes)


def register_suite(tasks: int) -> list[type[Task]]:
    """Register the first tasks, as a plugin would, and return their classes."""
    classes = []
    for name in map(name_of, range(tasks)):
        attributes = {"name": name, "root_folder": f"{FOLDER}/{name}"}
        classes.append(register_task(type(name, (ElevaterTask,), attributes)))
    return classes
