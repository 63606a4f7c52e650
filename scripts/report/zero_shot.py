"""Zero-shot predictions of a run's test images, which a run does not keep: computed again, from cached features if there are any."""

from __future__ import annotations

import logging

import numpy as np

from datasets import Task
from elevater_eval import metrics

from .experiment import Stage

log = logging.getLogger(__name__)
TOLERANCE = 0.05  # percent points between a score and the recorded one


def zero_shot_probabilities(stage: Stage, record: dict, task: Task, targets: np.ndarray) -> np.ndarray | None:
    """Return probabilities (N, C) of plain CLIP with the task's templates.

    None if the run has no zero-shot score, its backbone is not available, or the score is not the recorded one.
    """
    if "zero_shot" not in record:
        return None
    from scripts.transfer.scores import configuration_of
    from trainers.features.builders import build_images, build_store
    from trainers.features.extraction import class_features, probabilities

    try:
        cfg = configuration_of(stage.folder)
        store = build_store(cfg)
        images = build_images(cfg, [task], "test", store.backbone.preprocessing)
        classes = class_features(store.encoder, task)
        found = probabilities(store.encoder, store.features(images), classes).cpu().numpy()
        score = 100 * metrics.compute(record["metric"], targets, found.astype(np.float64).round(6))
    except (OSError, ValueError, RuntimeError) as error:
        log.warning("%s: no zero-shot scores of classes: %s", task.name, error)
        return None
    if abs(score - record["zero_shot"]) > TOLERANCE:
        log.warning("%s: no zero-shot scores of classes: they would give %.1f, not as recorded", task.name, score)
        return None
    return found
