"""Everything that the page shows of one task, gathered once; predictions and images are not kept."""

from __future__ import annotations

import base64
import io
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from datasets import Sample, Task
from elevater_eval import metrics
from toolkit.common.images import ImageError, read_image

from . import bootstrap, evidence
from .experiment import Stage

log = logging.getLogger(__name__)

SIDE, QUALITY = 72, 80  # of a thumbnail: pixels of the longer side, of JPEG
UNREADABLE = "The data set was not read (--root names its folder): no images, mistakes and intervals here."
SHOTS_SHOWN, MISTAKES_SHOWN, CLASSES_SHOWN = 20, 8, 5


@dataclass(frozen=True)
class Picture:
    """A thumbnail as a data: URI ("" where the image can't be read), its class, and the lines below it."""

    uri: str
    label: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """Of one task. `problem` says what can't be shown and why.

    Attributes:
        draws: bootstrapped scores in percent, (draws,); None without predictions or labels.
        shots: thumbnails of training images, of `shots_total`.
        mistakes: thumbnails of the most confident ones of `wrong` misclassified test images among `tested`.
        weakest: (class name, percent, test images), of `classes`; all classes reach 100 % where it is empty.
        multilabel: `weakest` holds average precisions, not recalls.
    """

    draws: np.ndarray | None = None
    shots: list[Picture] = field(default_factory=list)
    shots_total: int = 0
    mistakes: list[Picture] = field(default_factory=list)
    wrong: int = 0
    tested: int = 0
    weakest: list[tuple[str, float, int]] = field(default_factory=list)
    classes: int = 0
    multilabel: bool = False
    problem: str = ""


def gather(stage: Stage, record: dict, root: str) -> Findings:
    """What there is to show of a record's task. Data or predictions that are missing are a `problem`, not an error."""
    label = record["task"]
    try:
        task = stage.task(label, root)
    except (OSError, ValueError) as error:
        log.warning("%s: neither images nor intervals: %s", label, error)
        return Findings(problem=UNREADABLE)
    trained = _spread_over_classes(task.train_x) if (stage.folder / "fewshot" / f"{label}.json").is_file() else []
    named = [(sample, _names(task, sample)) for sample in trained[:SHOTS_SHOWN]]
    shown = {
        "shots": [Picture(thumbnail(sample.impath), name, (name,)) for sample, name in named],
        "shots_total": len(trained),
        "classes": task.num_classes,
        "multilabel": task.label_kind == "multilabel",
    }
    probabilities, problem = _predictions(stage, record, task)
    if probabilities is None:
        return Findings(**shown, problem=problem)
    targets = evidence.targets_of(task.test, task.num_classes, task.label_kind)
    wrong = evidence.mistakes(targets, probabilities)
    return Findings(
        **shown,
        draws=_draws(record, targets, probabilities),
        mistakes=[_mistake(task, int(row), probabilities[row]) for row in wrong[:MISTAKES_SHOWN]],
        wrong=len(wrong),
        tested=len(targets),
        weakest=[
            (task.classnames[label], value, count)
            for label, value, count in evidence.by_class(targets, probabilities)[:CLASSES_SHOWN]
            if value < 100
        ],
        problem=problem,
    )


def _predictions(stage: Stage, record: dict, task: Task) -> tuple[np.ndarray | None, str]:
    """(probabilities, problem): None where there are none, or where they are not of this test set."""
    try:
        probabilities = stage.probabilities(record)
    except ValueError as error:
        log.warning("%s: %s", task.name, error)
        return None, "The prediction file is damaged."
    if probabilities is None:
        return None, "There is no prediction file."
    expected = (len(task.test), task.num_classes)
    if probabilities.shape != expected:
        there = f"{expected[0]} test images and {expected[1]} classes"
        return None, f"The data set has {there}, the predictions {probabilities.shape[0]} and {probabilities.shape[1]}."
    targets = evidence.targets_of(task.test, task.num_classes, task.label_kind)
    score = 100 * metrics.compute(record["metric"], targets, probabilities)
    if abs(score - record["score"]) > 1e-4:
        return probabilities, f"On the data set that was found, the predictions score {score:.1f}, not as recorded."
    return probabilities, ""


def _draws(record: dict, targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray | None:
    try:
        return bootstrap.bootstrap(record["task"], record["metric"], targets, probabilities)
    except ValueError as error:
        log.warning("%s: no interval: %s", record["task"], error)
        return None


def _mistake(task: Task, row: int, probabilities: np.ndarray) -> Picture:
    sample, best = task.test[row], int(probabilities.argmax())
    true = _names(task, sample)
    own = f" ({_percent(probabilities[sample.label])})" if len(sample.labels) == 1 else ""
    lines = (f"true: {true}{own}", f"predicted: {task.classnames[best]} ({_percent(probabilities[best])})")
    return Picture(thumbnail(sample.impath), true, lines)


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f}\N{NO-BREAK SPACE}%"


def _names(task: Task, sample: Sample) -> str:
    return ", ".join(task.classnames[label] for label in sample.labels) or "none of the classes"


def _spread_over_classes(samples: Sequence[Sample]) -> list[Sample]:
    """The first of every class, then the second of every class, and so on."""
    seen: Counter[int] = Counter()
    order = []
    for sample in samples:
        order.append((seen[sample.label], sample.label))
        seen[sample.label] += 1
    return [samples[k] for k in sorted(range(len(order)), key=order.__getitem__)]


def thumbnail(path: str, side: int = SIDE) -> str:
    """An image as a JPEG of at most `side` pixels a side in a data: URI; "" where it can't be read."""
    try:
        image = read_image(path)
    except (OSError, ImageError) as error:
        log.warning("%s", error)
        return ""
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
