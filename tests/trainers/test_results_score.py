"""Scores of probabilities in parts equal the metric of all at once; many classes take
bounded memory.
"""

import resource
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from elevater_eval import metrics
from trainers.engine import results
from trainers.features import extraction


def tied(images: int, classes: int) -> torch.Tensor:
    """Return probabilities of few different values, so that many are equal."""
    generator = torch.Generator().manual_seed(images)
    values = torch.randint(0, 4, (images, classes), generator=generator) / 7
    # equal to six decimals
    return values + 1e-8 * torch.rand(images, classes, generator=generator)


@pytest.mark.parametrize("metric", ["accuracy", "mean-per-class", "11point_mAP"])
@pytest.mark.parametrize(
    ("images", "classes", "part"), [(50, 5, 7), (33, 40, 1), (12, 3, 100)]
)
def test_parts_are_scored_as_the_whole(metric, images, classes, part):
    values = tied(images, classes)
    targets = torch.arange(images) % max(2, classes - 1)  # the last class has no image
    task = SimpleNamespace(name="any", metric=metric, num_classes=classes)
    rounded = np.round(values.numpy().astype(np.float64), 6)
    expected = 100 * metrics.compute(metric, targets.numpy(), rounded)
    assert results.score(task, targets, values) == expected
    assert results.score(task, targets, iter(values.split(part))) == expected


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(bad):
    values = tied(9, 3)
    values[7, 1] = bad
    task = SimpleNamespace(name="any", metric="accuracy", num_classes=3)
    with pytest.raises(ValueError, match="NaN or infinity"):
        results.score(task, torch.arange(9) % 3, values.split(2))


def test_images_without_label_are_no_class():
    task = SimpleNamespace(name="any", metric="accuracy", num_classes=3)
    with pytest.raises(ValueError, match="any: 1 image without a label"):
        results.score(task, torch.tensor([0, -1, 2]), tied(3, 3))


@pytest.mark.parametrize(
    "count, classes, metric",
    [
        (2000, 20_000, "accuracy"),
        (300, 100_000, "accuracy"),
        (40_000, 1000, "mean-per-class"),
    ],
)
def test_scores_of_many_classes_or_images_take_little_memory(count, classes, metric):
    images, weights = torch.randn(count, 8), torch.randn(classes, 8)
    model = SimpleNamespace(logits=lambda x, y: x @ y.T)
    task = SimpleNamespace(name="many", metric=metric, num_classes=classes)
    targets = torch.arange(count) % classes
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    parts = extraction.probabilities_in_parts(model, images, weights)
    score = results.score(task, targets, parts)
    # KiB; all at once: 120 to 160 MB, twice that for the probabilities
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    hits = (images @ weights.T).argmax(1).eq(targets).float()
    if metric == "mean-per-class":  # as many images of each class
        hits = hits.view(-1, classes).mean(0)
    assert score == pytest.approx(100 * float(hits.mean()), abs=0.2)
