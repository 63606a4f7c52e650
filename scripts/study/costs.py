"""How long a run should take, from numbers of images and classes alone, for the order
of jobs and the time left; and measured steps of models of the real sizes.

Expected are seconds of one core with the pocket model. Other backbones and machines
differ by a factor, which the first finished runs tell (`scripts.jobs.plan.Clock`).
"""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import NamedTuple

from datasets.catalog.entries import entries
from toolkit.common.structured import read_json, write_json

from .methods import single_form

log = logging.getLogger(__name__)

RUN_START = 0.3
UNKNOWN_CLASSES = 10
UNKNOWN_TEST_IMAGES = 100  # of each class


# of measured steps: context vectors by method
VECTORS = {"CoOp": 16, "VPT": 16, "UPT": 4}
BATCH, CLASSES, STEPS = 2, 10, 3


class Rates(NamedTuple):
    """Measured seconds: a training image, a test image, a class in a step."""

    step_image: float
    test_image: float
    step_class: float


RATES = {
    "CoOp": Rates(0.0, 0.1e-3, 6.5e-4),
    "VPT": Rates(1.5e-3, 1.1e-3, 0.0),
    "UPT": Rates(1.5e-3, 1.1e-3, 3.9e-4),
}


class Size(NamedTuple):
    """Classes and images of a task at some shots."""

    classes: int
    train: int
    val: int
    test: int


@cache
def size(task: str, shots: int) -> Size:
    """Return a task's size; by its layout, validation images come out of the shots.
    Sets that the catalog does not know count as 10 classes of 100 test images.
    """
    entry = entries().get(task)
    classes = entry.classes if entry else UNKNOWN_CLASSES
    images = entry.images if entry else {}
    wanted = shots * classes
    sampled = min(wanted, images.get("train") or wanted)
    test = images.get("test") or UNKNOWN_TEST_IMAGES * classes
    if entry and entry.layout in ("coop", "folders"):
        val = images.get("val") or 0
        if task != "ImageNet":
            val = min(4 * classes, wanted, val)
    elif shots == 1:
        val = sampled
    else:
        val = sampled // 5
        sampled -= val
    return Size(classes, sampled, val, test)


def training_images(tasks: Sequence[str], shots: int) -> int:
    """Return the number of training images of all tasks."""
    return sum(size(task, shots).train for task in tasks)


def run_seconds(
    method: str,
    tasks: Sequence[str],
    shots: int,
    epochs: int,
    batch: int,
    tests: int = 1,
) -> float:
    """Return the expected seconds of a run that is tested `tests` times."""
    rates = RATES.get(single_form(method), RATES["UPT"])
    train = training_images(tasks, shots)
    # expected: a task's classes are encoded when the batch holds one of its images
    step_classes = 0.0
    evaluated = 0
    for task in tasks:
        one = size(task, shots)
        share = one.train / max(1, train)
        encoded = 1 - (1 - share) ** batch
        step_classes += one.classes * encoded
        evaluated += epochs * one.val + tests * one.test
    steps = max(1, train // batch)
    epoch = train * rates.step_image + steps * step_classes * rates.step_class
    return RUN_START + epochs * epoch + evaluated * rates.test_image


def transfer_seconds(method: str, tasks: Sequence[str]) -> float:
    """Return the expected seconds to score each task's prompt on each task."""
    rates = RATES.get(method, RATES["UPT"])
    prompt = RUN_START / 10
    for task in tasks:
        one = size(task, 1)
        prompt += one.test * rates.test_image + one.classes * rates.step_class
    return len(tasks) * prompt


def measured(backbones: Sequence[str], path: Path) -> list[dict]:
    """Return parameters (all, trained) and seconds an image of a step, by backbone and
    method, from a JSON file that keeps them.
    """
    rows = read_json(path) if path.is_file() else []
    known = {row["backbone"] for row in rows}
    for backbone in backbones:
        if backbone not in known:
            log.info("cost of %s, random weights", backbone)
            rows += _measure(backbone)
            write_json(path, rows, indent=1)
    return [row for row in rows if row["backbone"] in backbones]


def _measure(backbone: str) -> list[dict]:
    """Measure steps of a batch, forward and backward in float32, among a few classes."""
    import torch

    from prompting.backbones.names import ALIASES
    from prompting.model import count_parameters
    from scripts.benchmarks import steps

    clip = steps.random_clip(ALIASES.get(backbone, backbone))
    size = steps.image_size(clip)
    images = torch.randn(BATCH, 3, *size)
    labels = torch.zeros(BATCH, dtype=torch.long)
    names = steps.source_names(CLASSES)
    rows = []
    for method, n_ctx in VECTORS.items():
        prompt = steps.prompt_of(method, clip, n_ctx, "end")
        step = steps.our_step(clip, prompt, images, labels, names, nullcontext)
        counts = count_parameters(clip, prompt)
        rows.append(
            {
                "backbone": backbone,
                "method": method,
                "parameters": counts["num_backbone_params"],
                "trained": counts["num_trainable_params"],
                "seconds_per_image": steps.seconds(step, STEPS, "cpu") / BATCH,
                "batch": BATCH,
                "classes": CLASSES,
                "threads": torch.get_num_threads(),
            }
        )
    return rows
