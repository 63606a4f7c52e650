"""LinearProbe, GDA and CLAP against formulas written with numpy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from trainers.methods.heads import (
    class_multipliers,
    gaussian_discriminant,
    logistic_regression,
)


@pytest.fixture
def images():
    torch.manual_seed(0)
    labels = torch.arange(40) % 4
    features = torch.randn(40, 6) + 0.7 * torch.nn.functional.one_hot(labels, 6)
    return torch.nn.functional.normalize(features, dim=1).double(), labels


def one_hot(labels, classes=4):
    return torch.nn.functional.one_hot(labels, classes).double()


@pytest.mark.parametrize("penalty", [1.0, 0.01])
def test_a_linear_probe_from_zero_is_scikit_learns(images, penalty):
    features, labels = images
    weights, bias = logistic_regression(
        features, one_hot(labels), torch.zeros(4, 6).double(), penalty
    )
    known = LogisticRegression(
        C=1 / (len(labels) * penalty), tol=1e-10, max_iter=10_000
    ).fit(features, labels)
    expected = known.predict_proba(features)
    np.testing.assert_allclose(
        (features @ weights.T + bias).softmax(1), expected, atol=1e-5
    )
    np.testing.assert_allclose(weights, known.coef_, atol=1e-4)


def test_a_strong_penalty_keeps_the_prior(images):
    features, labels = images
    prior = torch.randn(4, 6).double()
    weights, _ = logistic_regression(features, one_hot(labels), prior, 1e6)
    torch.testing.assert_close(weights, prior, atol=1e-5, rtol=0)


def test_gda_is_the_formula(images):
    features, labels = (value.numpy() for value in images)
    means = np.stack([features[labels == k].mean(0) for k in range(4)])
    covariance = np.cov(features - means[labels], rowvar=False)
    precision = 6 * np.linalg.pinv(39 * covariance + np.trace(covariance) * np.eye(6))
    bias = np.log(1 / 4) - np.einsum("nd,dc,nc->n", means, precision, means) / 2
    weights, found = gaussian_discriminant(images[0], one_hot(images[1]))
    np.testing.assert_allclose(weights, means @ precision, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(found, bias, rtol=1e-6)


def test_gda_of_one_image_a_class_adds_nothing():
    weights, bias = gaussian_discriminant(torch.eye(3).double(), torch.eye(3).double())
    assert not weights.any()
    assert bias.unique().numel() == 1


def test_gda_of_a_class_without_an_image_has_the_mean_of_all(images):
    features, labels = images
    weights, bias = gaussian_discriminant(features, one_hot(labels, 5))
    mean = features.mean(0)
    precision_times_mean = weights[:4].mean(0)  # classes have as many images each
    torch.testing.assert_close(weights[4], precision_times_mean)
    torch.testing.assert_close(bias[4], -np.log(5) - (precision_times_mean @ mean) / 2)


@pytest.mark.parametrize(
    "name, key, values",
    [
        ("GDA", "TRAINER.GDA.ALPHAS", "[100.0]"),
        ("LinearProbe", "TRAINER.LINEARPROBE.PENALTIES", "[0.01]"),
    ],
)
def test_the_trained_head_has_the_logits_of_its_formula(build, name, key, values):
    trainer = build(name, "toy-shapes", key, values, shots=5)
    trainer.train()
    dataset = trainer.sets["train"]
    features = trainer.constant_features("train").all().double()
    targets = one_hot(dataset.labels[:, 0], 3)
    (task,) = trainer.tasks
    classes = trainer.store.encoder.encode_classes(
        task.classnames, task.templates
    ).double()
    zero_shot = trainer.model.clip.logit_scale.exp().double() * classes
    if name == "GDA":
        weights, bias = gaussian_discriminant(features, targets)
        expected = features @ (zero_shot + 100 * weights).T + 100 * bias
    else:
        weights, bias = logistic_regression(features, targets, zero_shot.detach(), 0.01)
        expected = features @ weights.T + bias
    with torch.no_grad():
        found = trainer.model.logits(
            features.float(),
            trainer.model.encode_classes(task.classnames, task.templates),
        )
    torch.testing.assert_close(found.double(), expected.detach(), atol=1e-3, rtol=1e-4)


def test_the_strength_is_the_best_on_validation_images(build):
    trainer = build("LinearProbe", "toy-shapes", shots=5)
    trainer.train()
    scores = []
    for penalty in trainer.strengths(trainer.cfg):
        other = build(
            "LinearProbe",
            "toy-shapes",
            "TRAINER.LINEARPROBE.PENALTIES",
            f"[{penalty}]",
            shots=5,
        )
        other.train()
        scores.append(other.evaluate("val")["toy-shapes"])
    assert trainer.evaluate("val")["toy-shapes"] == max(scores)


def test_clap_weighs_its_anchor_by_zero_shot_probabilities(build):
    trainer = build("CLAP", "toy-shapes", shots=5)
    dataset = trainer.sets["train"]
    probabilities = []
    (task,) = trainer.tasks
    classes = trainer.store.encoder.encode_classes(task.classnames, task.templates)
    logits = trainer.model.logits(
        trainer.constant_features("train").all(), classes
    ).detach()
    for k in range(3):
        probabilities.append(logits.softmax(1)[dataset.labels[:, 0] == k, k].mean())
    torch.testing.assert_close(class_multipliers(trainer), torch.stack(probabilities))

    trainer._prepare_training()
    with torch.no_grad():
        trainer.model.prompt.class_offsets.normal_(std=0.1)
    batch = next(iter(trainer.train_loader_x))
    outputs = trainer.outputs(batch)
    entropy = torch.nn.functional.cross_entropy(outputs.logits, batch["labels"][:, 0])
    distances = trainer.model.prompt.class_offsets.square().sum(1)
    expected = entropy + (torch.stack(probabilities) * distances).mean()
    torch.testing.assert_close(trainer.loss(batch), expected)


@pytest.mark.parametrize("name", ["LinearProbe", "GDA", "CLAP"])
def test_several_tasks_are_an_error_that_names_no_missing_trainer(build, name):
    with pytest.raises(
        ValueError, match=f"{name} learns one task at a time, DATASET.DATASET names 2$"
    ):
        build(name, "toy-shapes,toy-pets", shots=3)


@pytest.mark.parametrize(
    "opts, message",
    [
        (["TRAINER.GDA.ALPHAS", "[]"], "TRAINER.GDA.ALPHAS is empty"),
        (["TRAINER.GDA.ALPHAS", "[1.0, -1.0]"], "a list of positive numbers"),
        (["TRAINER.ANCHOR.KL", "1.0"], "GDA has no such terms"),
    ],
)
def test_wrong_keys_are_named(build, opts, message):
    trainer = build("GDA", "toy-shapes", *opts, shots=3)
    with pytest.raises(ValueError, match=message):
        trainer.check_training(trainer.setup)
