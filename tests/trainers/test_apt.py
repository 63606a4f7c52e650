"""APT: steps, images, anchors and weights of its training."""

import math

import pytest
import torch

from trainers.anchors import zero_shot_odds
from trainers.engine.start import _check_settings
from trainers.losses import gaussian_weights


@pytest.mark.parametrize("updates, epochs", [(0, 2), (3, 2), (40, 14)])
def test_there_are_epochs_for_the_least_number_of_updates(build, updates, epochs):
    trainer = build(
        "VPT",
        "toy-shapes",
        "OPTIM.MIN_UPDATES",
        updates,
        "DATALOADER.TRAIN_X.BATCH_SIZE",
        4,
        shots=5,
    )
    batches = math.ceil(len(trainer.sets["train"]) / 4)
    assert batches == 3
    assert trainer.max_epoch == epochs


@pytest.mark.parametrize("updates, epochs", [(0, 2), (40, 14)])
def test_the_mean_over_epochs_spans_added_epochs(build, updates, epochs):
    trainer = build(
        "PromptSRC",
        "toy-shapes",
        "OPTIM.MIN_UPDATES",
        updates,
        "DATALOADER.TRAIN_X.BATCH_SIZE",
        4,
        "TRAINER.PROMPTSRC.GPA_MEAN",
        1.5,
        "TRAINER.PROMPTSRC.GPA_STD",
        0.5,
    )
    expected = gaussian_weights(epochs, 1.5 * epochs / 2, 0.5 * epochs / 2)
    assert trainer.average.weights.tolist() == expected.tolist()


def test_validation_images_are_trained_on_if_the_key_says_so(build):
    plain = build("VPT", "toy-shapes", shots=5)
    both = build(
        "VPT",
        "toy-shapes",
        "DATASET.TRAIN_ON_VAL",
        "True",
        "TEST.FINAL_MODEL",
        "last_step",
        shots=5,
    )
    expected = {sample.key for sample in plain.sets["train"].samples} | {
        sample.key for sample in plain.sets["val"].samples
    }
    assert len(plain.sets["val"]) > 0
    assert {sample.key for sample in both.sets["train"].samples} == expected
    assert len(both.sets["train"]) == len(expected)
    assert len(both.sets["val"]) == len(plain.sets["val"])


def test_anchors_are_weighted_by_the_odds_of_zero_shot(build):
    trainer = build("APT", "toy-shapes", shots=5)
    dataset = trainer.sets["train"]
    features = trainer.constant_features("train").all()
    (task,) = trainer.tasks
    classes = trainer.store.encoder.encode_classes(task.classnames, task.templates)
    hits = ((features @ classes.T).argmax(1) == dataset.labels[:, 0]).sum().item()
    assert zero_shot_odds(trainer) == pytest.approx(
        (hits + 1) / (len(dataset) - hits + 1)
    )


def test_the_prompt_of_the_last_epoch_is_interpolated(build):
    trainer = build("APT", "toy-shapes", "TEST.FINAL_MODEL", "last_step", shots=5)
    trainer.train()
    assert float(trainer.model.prompt.weight) == pytest.approx(5 / 6)
    assert trainer.model.prompt.class_offsets.abs().sum() > 0
    assert trainer.model.feature_dim() == 2 * trainer.shape.embed_dim


def test_offsets_are_for_one_task(build):
    assert (
        build("MAPT", "toy-shapes,toy-pets", shots=3).model.prompt.class_offsets is None
    )
    assert build("MAPT", "toy-shapes", shots=3).model.prompt.class_offsets.shape == (
        3,
        16,
    )
    without = build("APT", "toy-shapes", "TRAINER.APT.CLASS_OFFSETS", "False", shots=3)
    assert without.model.prompt.class_offsets is None
    assert torch.isfinite(without.loss(next(iter(_loader(without))))).all()


def test_a_source_prompt_without_offsets_starts_one_with_offsets(build):
    source = build("MAPT", "toy-shapes,toy-pets", shots=3).model.prompt
    target = build("MAPT", "toy-shapes", shots=3).model.prompt
    _check_settings(target.config(), source.config())
    target.load_state_dict(target.complete_state(source.state_dict()))
    for name, value in source.base.state_dict().items():
        assert torch.equal(target.base.state_dict()[name], value)
    assert not target.class_offsets.any()


def _loader(trainer):
    trainer._prepare_training()
    return trainer.train_loader_x
