"""The four metrics of the ELEVATER benchmark, with the semantics of its toolkit; below
them ``EXTRA`` ones for insight. Each takes ``targets`` and ``probabilities`` of shape
(N, C) and returns a fraction in [0, 1] as a Python float. All input of ``np.asarray``
is accepted; a wrong shape, dtype or a NaN raises ``ValueError``.
"""

import random
from collections.abc import Mapping
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike

from toolkit.common.suggest import did_you_mean

# descending, as the toolkit computes them: 0.3 is 0.29999999999999993
RECALL_LEVELS = np.linspace(1, 0, 11)


def accuracy(targets: ArrayLike, probabilities: ArrayLike) -> float:
    """Return top-1 accuracy of integers (N,); equal scores go to the lowest class."""
    scores = _scores(probabilities)
    labels = _labels(targets, scores)
    return float(np.mean(scores.argmax(axis=1) == labels))


def mean_per_class(targets: ArrayLike, probabilities: ArrayLike) -> float:
    """Return recall averaged over the classes that occur in ``targets``: integers (N,)
    or one-hot rows (N, C). Others are removed before the argmax, so that a prediction
    of one becomes the best class that is present.
    """
    scores = _scores(probabilities)
    targets = np.asarray(targets)
    if targets.ndim == 2:
        indicators = _indicators(targets, scores)
        if (indicators.sum(axis=1) != 1).any():
            raise ValueError(
                "mean-per-class: every row of one-hot targets must hold exactly one 1"
            )
        labels = indicators.argmax(axis=1)
    else:
        labels = _labels(targets, scores)
    hits, position = class_hits(labels, scores)
    recalls = np.bincount(position, weights=hits) / np.bincount(position)
    return float(np.mean(recalls))


def eleven_point_map(targets: ArrayLike, probabilities: ArrayLike) -> float:
    """Return 11-point interpolated average precision, averaged over the classes with a
    positive. ``targets`` is a 0/1 matrix (N, C), or integers (N,): one class against
    the rest. The precision-recall curve is scikit-learn's, 1 at recall 0.
    """
    precision_recall_curve = _sklearn_metrics().precision_recall_curve

    scores = _scores(probabilities)
    targets = np.asarray(targets)
    if targets.ndim == 1:
        labels = _labels(targets, scores)
        indicators = labels[:, None] == np.arange(scores.shape[1])
    else:
        indicators = _indicators(targets, scores)
    classes = np.flatnonzero(indicators.any(axis=0))
    if classes.size == 0:
        raise ValueError("11point_mAP: no class has a positive target")
    precisions = []
    for c in classes:
        precision, recall, _ = precision_recall_curve(indicators[:, c], scores[:, c])
        best = [precision[recall >= level].max() for level in RECALL_LEVELS]
        precisions.append(np.mean(best))
    return float(np.mean(precisions))


def roc_auc(targets: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the area under the ROC curve of column 1, for ``targets`` (N,) of 0 and 1
    and two classes. A 0/1 matrix (N, C) with more than two columns is averaged over its
    columns.
    """
    roc_auc_score = _sklearn_metrics().roc_auc_score
    scores = _scores(probabilities)
    targets = np.asarray(targets)
    if targets.ndim == 2 and scores.shape[1] > 2:
        targets = _indicators(targets, scores)
        one_sided = np.flatnonzero(targets.min(axis=0) == targets.max(axis=0))
        if one_sided.size:
            message = f"roc_auc: column {one_sided[0]} of targets holds only one class; both 0 and 1 are needed"
            raise ValueError(message)
        return float(roc_auc_score(targets, scores))
    if scores.shape[1] != 2:
        message = f"roc_auc: targets of shape (N,) need two classes, probabilities have {scores.shape[1]}"
        raise ValueError(message)
    labels = _labels(targets, scores)
    if labels.min() == labels.max():
        raise ValueError(f"roc_auc: targets hold only class {labels[0]}, not both")
    return float(roc_auc_score(labels, scores[:, 1]))


METRICS = {
    "accuracy": accuracy,
    "mean-per-class": mean_per_class,
    "11point_mAP": eleven_point_map,
    "roc_auc": roc_auc,
}


def _sklearn_metrics() -> ModuleType:
    """Return sklearn.metrics, imported late: its rich draws from Python's generator,
    whose state in a checkpoint must not depend on that.
    """
    state = random.getstate()
    import sklearn.metrics

    random.setstate(state)
    return sklearn.metrics


def compute(name: str, targets: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the metric of this name, one of ELEVATER's four (``METRICS``)."""
    known(name, METRICS, "metric")
    return METRICS[name](targets, probabilities)


def known(name: str, table: Mapping[str, object], what: str) -> None:
    """Raise ValueError if `name` is not in `table`; the message lists its names."""
    if name not in table:
        hint = f"{did_you_mean(name, table, cutoff=0.5)} ".lstrip()
        raise ValueError(f"unknown {what} {name!r}; {hint}known: {', '.join(table)}")


def top5(targets: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the share of images whose class is among the five most probable; of equal
    ones the lowest count as more probable.
    """
    scores = _scores(probabilities)
    labels = _labels(targets, scores)
    of_label = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    before = (scores > of_label) | ((scores == of_label) & earlier)
    return float(np.mean(before.sum(axis=1) < 5))


def macro_f1(targets: ArrayLike, probabilities: ArrayLike) -> float:
    """Return F1 of the top-1 class, averaged over the true and predicted classes."""
    hits, actual, predicted = _confusion(targets, probabilities)
    occurs = actual + predicted > 0
    return float(np.mean(2 * hits[occurs] / (actual + predicted)[occurs]))


def per_class_recall(
    targets: ArrayLike, probabilities: ArrayLike
) -> list[float | None]:
    """Return each class's recall of the top-1 class; None without an image."""
    hits, actual, _ = _confusion(targets, probabilities)
    pairs = zip(hits, actual, strict=True)
    return [float(hit / count) if count else None for hit, count in pairs]


def ece(targets: ArrayLike, probabilities: ArrayLike, bins: int = 15) -> float:
    """Return the expected calibration error of the top-1 class (Guo et al. 2017,
    equation 3) over ``bins`` equal bins of (0, 1].
    """
    scores = _scores(probabilities)
    hits = scores.argmax(axis=1) == _labels(targets, scores)
    confidence = scores.max(axis=1)
    upper_edges = np.ceil(confidence * bins).astype(np.int64)
    bin_index = np.clip(upper_edges - 1, 0, bins - 1)
    # accuracy less confidence, times images
    gaps = np.bincount(bin_index, weights=hits - confidence)
    return float(np.abs(gaps).sum() / len(hits))


# no official ones
EXTRA = {
    "top5": top5,
    "macro_f1": macro_f1,
    "per_class_recall": per_class_recall,
    "ece": ece,
}


def class_hits(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) if an image's class has the highest score of those that occur in
    `labels` (N,), and the position (N,) of its class among them.
    """
    present, position = np.unique(labels, return_inverse=True)
    return scores[:, present].argmax(axis=1) == position, position


def _confusion(targets: ArrayLike, probabilities: ArrayLike):
    scores = _scores(probabilities)
    labels = _labels(targets, scores)
    best = scores.argmax(axis=1)
    classes = scores.shape[1]
    hits = np.bincount(labels[best == labels], minlength=classes)
    actual = np.bincount(labels, minlength=classes)
    predicted = np.bincount(best, minlength=classes)
    return hits, actual, predicted


def _scores(probabilities: ArrayLike) -> np.ndarray:
    scores = np.asarray(probabilities)
    if scores.ndim != 2 or 0 in scores.shape:
        message = f"probabilities must have shape (images, classes) and not be empty, got {scores.shape}"
        raise ValueError(message)
    if scores.dtype.kind not in "fiu":
        raise ValueError(f"probabilities must be real numbers, not {scores.dtype}")
    if not np.isfinite(scores).all():
        raise ValueError("probabilities hold NaN or infinity")
    return scores


def _labels(targets: ArrayLike, scores: np.ndarray) -> np.ndarray:
    labels = np.asarray(targets)
    if labels.shape != scores.shape[:1]:
        message = f"targets must have shape ({scores.shape[0]},) to fit the probabilities, got {labels.shape}"
        raise ValueError(message)
    if labels.dtype.kind not in "iu":
        raise ValueError(f"targets must be integers, got dtype {labels.dtype}")
    if labels.min() < 0 or labels.max() >= scores.shape[1]:
        message = f"targets must lie in 0..{scores.shape[1] - 1}, got {labels.min()}..{labels.max()}"
        raise ValueError(message)
    return labels


def _indicators(targets: np.ndarray, scores: np.ndarray) -> np.ndarray:
    if targets.shape != scores.shape:
        message = f"targets of shape {targets.shape} do not fit probabilities of shape {scores.shape}"
        raise ValueError(message)
    if not np.isin(targets, (0, 1)).all():
        raise ValueError("a matrix of targets must hold only 0 and 1")
    return targets.astype(np.int64)
