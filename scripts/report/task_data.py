"""Gather the data that the page shows of one task; predictions and images are not kept."""

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
from elevater_eval.bootstrap import resample, statistic_of, task_generator
from toolkit.common.images import ImageError, read_image
from trainers.engine.tables import class_scores, confusion

from .experiment import Stage

log = logging.getLogger(__name__)

SIDE, QUALITY = 72, 80  # of a thumbnail: pixels of the longer side, of JPEG
UNREADABLE = "The data set was not read (--root names its folder): no images, mistakes and intervals here."
SHOTS_SHOWN, PAIRS_SHOWN = 20, 20
MOST_IN_MATRIX = 25  # classes up to which all pairs are shown
RESAMPLES, SEED = 1000, 0  # of the test images, for intervals


@dataclass(frozen=True)
class Thumbnail:
    """An image with its captions."""

    uri: str  # data:, "" if it cannot be read
    label: str
    lines: tuple[str, ...]
    ranks: dict[str, int] = field(default_factory=dict)  # by order


@dataclass(frozen=True)
class ClassScore:
    """The percent of a class."""

    name: str
    score: float  # recall, or the average precision of a multilabel task
    images: int
    zero_shot: float | None = None


@dataclass(frozen=True)
class Confusion:
    """How often a true class was predicted as another."""

    classes: Sequence[str]
    # (C, C): true (row) and predicted class, NaN for 0; None if > MOST_IN_MATRIX
    counts: np.ndarray | None
    pairs: list[tuple[str, str, int]]  # (true, predicted, images), most frequent first


@dataclass(frozen=True)
class Findings:
    """The data to show of one task."""

    scores: np.ndarray | None = None  # percent, bootstrapped (RESAMPLES,), if known
    shots: list[Thumbnail] = field(default_factory=list)  # of `shots_total`
    shots_total: int = 0
    # the most confident of `wrong` misclassified images among `tested` test images
    mistakes: list[Thumbnail] = field(default_factory=list)
    wrong: int = 0
    tested: int = 0
    by_class: list[ClassScore] = field(default_factory=list)  # the worst first
    confusion: Confusion | None = None
    classes: int = 0
    is_multilabel: bool = False
    problem: str = ""  # which data cannot be shown, and why


def gather(
    stage: Stage,
    record: dict,
    root: str,
    most_mistakes: int,
    with_zero_shot: bool = False,
) -> Findings:
    """Return the data to show of a record's task, with the classes' zero-shot scores if
    asked for and known. Missing data or predictions are a `problem`, not an error.
    """
    label = record["task"]
    try:
        task = stage.task(label, root)
    except (OSError, ValueError) as error:
        log.warning("%s: neither images nor intervals: %s", label, error)
        return Findings(problem=UNREADABLE)
    trained = []
    if stage.has_shots(label):
        trained = spread_over_classes(task.train_x)
    shots = []
    for sample in trained[:SHOTS_SHOWN]:
        name = _label_text(task, sample)
        shots.append(Thumbnail(thumbnail(sample.impath), name, (name,)))
    known = {
        "shots": shots,
        "shots_total": len(trained),
        "classes": task.num_classes,
        "is_multilabel": task.label_kind == "multilabel",
    }
    targets = task.targets(task.test)
    probabilities, problem = _read_predictions(stage, record, task, targets)
    if probabilities is None:
        return Findings(**known, problem=problem)
    zero_shot = {}
    if with_zero_shot:
        zero_shot = stage.zero_shot_of_classes(label)
    wrong = find_mistakes(targets, probabilities)
    scores = None
    try:
        scores = resample_scores(label, record["metric"], targets, probabilities)
    except ValueError as error:
        log.warning("%s: no interval: %s", label, error)
    return Findings(
        **known,
        scores=scores,
        mistakes=_show_mistakes(task, wrong[:most_mistakes], probabilities),
        wrong=len(wrong),
        tested=len(targets),
        by_class=score_classes(task, targets, probabilities, zero_shot),
        confusion=count_confusions(task.classnames, targets, probabilities),
        problem=problem,
    )


def find_mistakes(targets: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Return images whose top class is none of theirs, the most confident first."""
    predicted = probabilities.argmax(1)
    if targets.ndim == 1:
        is_wrong = predicted != targets
    else:
        is_wrong = targets[np.arange(len(targets)), predicted] == 0
    wrong = np.flatnonzero(is_wrong)
    confidence = probabilities[wrong, predicted[wrong]]
    return wrong[np.argsort(-confidence, kind="stable")]


def score_classes(
    task: Task,
    targets: np.ndarray,
    probabilities: np.ndarray,
    zero_shot: dict[int, float],
) -> list[ClassScore]:
    """Return the scores of the classes that have test images, the worst first."""
    judged = probabilities.argmax(1) if targets.ndim == 1 else probabilities
    found = []
    for label, row in enumerate(class_scores(task, targets, judged)):
        name, images, score = row.values()
        if images:
            found.append(ClassScore(name, score, images, zero_shot.get(label)))
    return sorted(found, key=lambda row: row.score)


def count_confusions(
    classes: Sequence[str], targets: np.ndarray, probabilities: np.ndarray
) -> Confusion | None:
    """Return mistakes by pair of classes; None if multilabel, or without any."""
    if targets.ndim == 2:
        return None
    counts = confusion(targets, probabilities.argmax(1), len(classes))
    errors = counts - np.diag(np.diag(counts))
    pairs = []
    for place in np.argsort(-errors, axis=None, kind="stable")[:PAIRS_SHOWN]:
        true, predicted = np.unravel_index(place, errors.shape)
        images = int(errors[true, predicted])
        if images:
            pairs.append((classes[true], classes[predicted], images))
    if not pairs:
        return None
    if len(classes) > MOST_IN_MATRIX:
        return Confusion(classes, None, pairs)
    return Confusion(classes, np.where(counts > 0, counts, np.nan), pairs)


def resample_scores(
    task: str,
    metric: str,
    targets: np.ndarray,
    probabilities: np.ndarray,
    samples: int = RESAMPLES,
) -> np.ndarray:
    """Return scores in percent (samples,) of samples of the test images, independent of
    those of other tasks. Raises ValueError if the metric is not defined on all images,
    or on fewer than a tenth of the samples.
    """
    metrics.compute(metric, targets, probabilities)
    statistic = statistic_of(metric, targets, probabilities)
    return 100 * resample(statistic, len(targets), samples, task_generator(task, SEED))


def spread_over_classes(samples: Sequence[Sample]) -> list[Sample]:
    """Return the first of every class, then the second of every class, and so on."""
    seen: Counter[int] = Counter()
    order = []
    for position, sample in enumerate(samples):
        order.append((seen[sample.label], sample.label, position))
        seen[sample.label] += 1
    return [samples[position] for _, _, position in sorted(order)]


def thumbnail(path: str) -> str:
    """Return a JPEG of an image as a data: URI; "" if it cannot be read."""
    try:
        image = read_image(path)
    except (OSError, ImageError) as error:
        log.warning("%s", error)
        return ""
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()


def _read_predictions(stage: Stage, record: dict, task: Task, targets: np.ndarray):
    """Return (probabilities, problem); None if they are not of this test set."""
    try:
        probabilities = stage.probabilities(record)
    except ValueError as error:
        log.warning("%s: %s", task.name, error)
        return None, "The prediction file is damaged."
    if probabilities is None:
        return None, "There is no prediction file."
    images, classes = probabilities.shape
    if (images, classes) != (len(task.test), task.num_classes):
        there = f"{len(task.test)} test images and {task.num_classes} classes"
        found = f"{images} and {classes}"
        return None, f"The data set has {there}, the predictions {found}."
    score = 100 * metrics.compute(record["metric"], targets, probabilities)
    if abs(score - record["score"]) > 1e-4:
        problem = f"On the data set that was found, the predictions score {score:.1f}, not as recorded."
        return probabilities, problem
    return probabilities, ""


def _show_mistakes(task: Task, rows: np.ndarray, probabilities: np.ndarray):
    predicted = probabilities.argmax(1)
    keys = {
        "confidence": list(range(len(rows))),
        "true": [_label_text(task, task.test[row]) for row in rows],
        "predicted": [task.classnames[predicted[row]] for row in rows],
        "file": [task.test[row].key.rpartition("@")[2] for row in rows],
    }
    ranks = {}
    for order, values in keys.items():
        ranks[order] = np.unique(values, return_inverse=True)[1].tolist()
    shown = []
    for position, row in enumerate(rows):
        sample, scores = task.test[row], probabilities[row]
        true = f"true: {keys['true'][position]}"
        if len(sample.labels) == 1:
            true += f" ({_percent(scores[sample.label])})"
        guess = f"predicted: {keys['predicted'][position]} ({_percent(scores.max())})"
        own_ranks = {order: values[position] for order, values in ranks.items()}
        lines = (true, guess, keys["file"][position])
        uri = thumbnail(sample.impath)
        shown.append(Thumbnail(uri, keys["true"][position], lines, own_ranks))
    return shown


def _percent(probability: float) -> str:
    return f"{100 * probability:.0f}\N{NO-BREAK SPACE}%"


def _label_text(task: Task, sample: Sample) -> str:
    names = [task.classnames[label] for label in sample.labels]
    return ", ".join(names) or "none of the classes"
