"""Scores of probabilities in parts equal the metric of all at once; many classes take
bounded memory.
"""

import resource
import time
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


def test_twenty_thousand_classes_take_seconds_and_little_memory():
    images, classes = torch.randn(2000, 8), torch.randn(20_000, 8)
    model = SimpleNamespace(logits=lambda x, y: x @ y.T)
    task = SimpleNamespace(name="many", metric="accuracy", num_classes=20_000)
    targets = torch.arange(2000)
    before, begun = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        time.process_time(),
    )
    parts = extraction.probabilities_in_parts(model, images, classes)
    score = results.score(task, targets, parts)
    assert score == pytest.approx(
        100 * float((images @ classes.T).argmax(1).eq(targets).float().mean()), abs=0.2
    )
    assert time.process_time() - begun < 20
    assert (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    )  # KiB; all at once: 160 MB, 320 MB twice
