"""How long a run should take, from numbers of images and classes alone: for the order of jobs and the time left.

Seconds of one core with the pocket model, measured per image through the prompted image tower (forward and backward, and
forward alone) and per class and step through the text tower. Other backbones and machines differ by a factor, which the
first finished runs tell (`scripts.jobs.plan.Clock`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from datasets.catalog.entries import Entry, entries

STEP_IMAGE = {"CoOp": 0.0, "VPT": 1.5e-3, "UPT": 1.5e-3}
TEST_IMAGE = {"CoOp": 0.1e-3, "VPT": 1.1e-3, "UPT": 1.1e-3}
STEP_CLASS = {"CoOp": 6.5e-4, "VPT": 0.0, "UPT": 3.9e-4}
START = 0.3  # of a run


@cache
def _known() -> dict[str, Entry]:
    return entries()


@cache
def images(task: str, shots: int) -> tuple[int, int, int]:
    """(train, val, test) images of a task at some shots; its layout decides whether validation comes out of the shots.

    Sets that the catalogue does not know count as 10 classes of 100 test images.
    """
    entry = _known().get(task)
    classes, published = (entry.classes, entry.images) if entry else (10, {})
    pool = published.get("train") or shots * classes
    drawn, test = min(shots * classes, pool), published.get("test") or 100 * classes
    if entry and entry.layout in ("coop", "folders"):
        val = published.get("val") or 0
        return drawn, val if task == "ImageNet" else min(4 * classes, shots * classes, val), test
    return (drawn, drawn, test) if shots == 1 else (drawn - drawn // 5, drawn // 5, test)


def training_images(tasks: Sequence[str], shots: int) -> int:
    """Training images of all tasks."""
    return sum(images(task, shots)[0] for task in tasks)


def seconds(method: str, tasks: Sequence[str], shots: int, epochs: int, batch: int, tests: int = 1) -> float:
    """Expected seconds of a run over `tasks`, which are validated each epoch and tested `tests` times."""
    single, train = method.removeprefix("M"), training_images(tasks, shots)
    classes = 0.0  # expected in a step: a task's are encoded when the batch holds one of its images
    for task in tasks:
        entry, share = _known().get(task), images(task, shots)[0] / max(1, train)
        classes += (entry.classes if entry else 10) * (1 - (1 - share) ** batch)
    steps = max(1, train // batch)
    per_epoch = train * STEP_IMAGE[single] + steps * classes * STEP_CLASS[single]
    seen = sum(epochs * val + tests * test for _, val, test in (images(task, shots) for task in tasks))
    return START + epochs * per_epoch + seen * TEST_IMAGE[single]


def transfer_seconds(method: str, tasks: Sequence[str]) -> float:
    """Expected seconds to score each task's prompt on each task."""
    seen, classes = (
        sum(images(task, 1)[2] for task in tasks),
        sum(getattr(_known().get(t), "classes", 10) for t in tasks),
    )
    return len(tasks) * (seen * TEST_IMAGE[method] + classes * STEP_CLASS[method] + START / 10)
