"""Tables of a run: predictions, confusions, scores of classes; and those of TEST.*."""

import io
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets import Task
from elevater_eval import metrics
from toolkit.common.files import write_bytes
from toolkit.common.text import csv_text, spreadsheet_text
from trainers.features.extraction import rows_at_once

log = logging.getLogger(__name__)

FOLDER, PREDICTIONS = "results", "predictions.csv"
TOP = 5  # most probable classes of an image
# a task, labels (N,) or 0 and 1 (N, C) of its images, and probabilities (N, C)
Tested = tuple[Task, Tensor, Tensor]
MOST_IN_MATRIX = 1000  # classes up to which there is a confusion matrix


def write(
    folder: Path,
    tested: Sequence[Tested],
    zero_shot: Mapping[str, Sequence[dict]],
) -> None:
    """Write predictions.csv, and of each task classes_<task>.csv and
    confusion_<task>.csv, to `folder`/results. zero_shot: task -> `class_scores` of
    plain CLIP, if known.
    """
    out = folder / FOLDER
    head = ["task", "image", "true", "predicted"]
    for rank in range(1, TOP + 1):
        head += [f"top_{rank}", f"probability_{rank}"]
    lines = [head]
    for task, targets, found in tested:
        truth = targets.numpy()
        top, values = most_probable(found)
        for sample, labels, shares in zip(
            task.test, top.tolist(), values.tolist(), strict=True
        ):
            names = [task.classnames[label] for label in labels]
            # several classes with "; " between them, "" for none
            true = "; ".join(task.classnames[label] for label in sample.labels)
            line = [task.name, sample.key, true, names[0]]
            for name, share in zip(names, shares, strict=True):
                line += [name, f"{share:.6f}"]
            lines.append(line + [""] * (len(head) - len(line)))
        predicted = top[:, 0]
        judged = predicted if truth.ndim == 1 else six_decimals(found)
        scores = class_scores(task, truth, judged)
        plain = zero_shot.get(task.name)
        write_csv(out / f"classes_{task.name}.csv", _class_lines(scores, plain))
        if truth.ndim == 1 and task.num_classes <= MOST_IN_MATRIX:
            counts = confusion(truth, predicted, task.num_classes)
            file = out / f"confusion_{task.name}.csv"
            write_csv(file, _matrix_lines(task, counts))
    write_csv(out / PREDICTIONS, lines)


def _class_lines(scores: Sequence[dict], zero_shot: Sequence[dict] | None):
    """Return classes_<task>.csv: name, test images, score, perhaps zero-shot's."""
    column = list(scores[0])[-1]
    lines = [["class", "test_images", column]]
    lines += [list(entry.values()) for entry in scores]
    if zero_shot is not None:
        lines[0].append("zero_shot")
        for line, entry in zip(lines[1:], zero_shot, strict=True):
            line.append(entry[column])
    return lines


def _matrix_lines(task: Task, counts: np.ndarray) -> list[list]:
    """Return a confusion matrix with class names: rows are true, columns predicted."""
    lines = [["true \\ predicted", *task.classnames]]
    for name, row in zip(task.classnames, counts.tolist(), strict=True):
        lines.append([name, *row])
    return lines


def write_csv(path: Path, lines: Iterable[Sequence]) -> None:
    """Write a CSV file; no name in it is a formula to a spreadsheet."""
    rows = (map(spreadsheet_text, line) for line in lines)
    # file names may not be UTF-8
    write_bytes(path, csv_text(rows).encode("utf-8", "backslashreplace"))


def six_decimals(probabilities: Tensor) -> np.ndarray:
    """Return probabilities as a prediction file has them."""
    return np.round(probabilities.numpy().astype(np.float64), 6)


def most_probable(probabilities: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return labels (N, TOP or C) of the best classes in order, and probabilities. Of
    classes with the same six decimals the first is better, as in every metric.
    """
    classes = probabilities.shape[1]
    handicap = 1e-12 * torch.arange(classes, dtype=torch.float64)
    labels, values = [], []
    for part in probabilities.split(rows_at_once(classes)):
        rounded = torch.from_numpy(six_decimals(part))
        _, best = (rounded - handicap).topk(min(TOP, classes))
        labels.append(best)
        values.append(rounded.gather(1, best))
    return torch.cat(labels).numpy(), torch.cat(values).numpy()


def watch(
    parts: Iterable[Tensor], truth: np.ndarray, judged: list[np.ndarray]
) -> Iterator[Tensor]:
    """Yield parts of probabilities (N, C); append what `class_scores` needs."""
    for part in parts:
        values = six_decimals(part)
        judged.append(values.argmax(axis=1) if truth.ndim == 1 else values)
        yield part


def class_scores(task: Task, truth: np.ndarray, judged: np.ndarray) -> list[dict]:
    """Return the name, test images and score in percent of each class, in label order:
    the accuracy on its images, or of a multilabel task its 11-point average precision;
    None without images. truth: labels (N,), or 0 and 1 (N, C). judged: predicted labels
    (N,), or probabilities (N, C).
    """
    multilabel = truth.ndim == 2
    if multilabel:
        column, images = "average_precision", (truth == 1).sum(axis=0)
    else:
        column, images = "accuracy", np.bincount(truth, minlength=len(task.classnames))
        hits = np.bincount(truth[truth == judged], minlength=len(task.classnames))
    scores = []
    for label, name in enumerate(task.classnames):
        score = None
        if images[label] and multilabel:
            score = metrics.eleven_point_map(truth[:, [label]], judged[:, [label]])
        elif images[label]:
            score = hits[label] / images[label]
        if score is not None:
            score = round(100 * float(score), 6)
        scores.append({"class": name, "images": int(images[label]), column: score})
    return scores


def confusion(truth: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Return counts (C, C): rows by true label, columns by predicted label."""
    cells = truth * classes + predicted
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def asked_for(cfg, task: Task, targets: Tensor, probabilities: Tensor) -> dict:
    """Return a record's part about classes, {} unless it is asked for; log it. With
    TEST.COMPUTE_CMAT write cmat_<task>.csv (counts, a row for each true class), and on
    one task Dassl's cmat.pt (shares of each row, of the classes that occur). targets:
    (N,), or 0 and 1 (N, C). probabilities: (N, C).
    """
    found: dict = {}
    if not (cfg.TEST.PER_CLASS_RESULT or cfg.TEST.COMPUTE_CMAT):
        return found
    truth, values = targets.numpy(), six_decimals(probabilities)
    predicted = values.argmax(axis=1)
    if cfg.TEST.PER_CLASS_RESULT:
        judged = predicted if truth.ndim == 1 else values
        found["per_class"] = class_scores(task, truth, judged)
        log.info("%s: per class", task.name)
        for name, count, score in map(dict.values, found["per_class"]):
            if score is None:
                log.info("  %s: no images", name)
            else:
                log.info("  %s: %.1f %% of %d images", name, score, count)
    if cfg.TEST.COMPUTE_CMAT and truth.ndim == 1:
        counts = confusion(truth, predicted, task.num_classes)
        folder = Path(cfg.OUTPUT_DIR)
        write_csv(folder / f"cmat_{task.name}.csv", _matrix_lines(task, counts))
        if "," not in cfg.DATASET.DATASET:
            occurs = counts.sum(axis=0) + counts.sum(axis=1) > 0
            kept = counts[occurs][:, occurs].astype(np.float64)
            shares = kept / np.maximum(kept.sum(axis=1, keepdims=True), 1)
            content = io.BytesIO()  # its bytes do not depend on the file's name
            torch.save(torch.from_numpy(shares), content)
            write_bytes(folder / "cmat.pt", content.getbuffer())
    return found
