"""TEST.INTERPOLATE: logits between zero-shot CLIP and a prompt, and the weight of each."""

import math

import pytest
import torch

from prompting import PromptedCLIP
from trainers.interpolation import WEIGHTS, weight_of_shots

ONE = "--dataset toy-shapes --shots 3"
LAST = ["TEST.FINAL_MODEL", "last_step"]


@pytest.mark.parametrize(
    "shots, half, weight",
    [(0, 1, 0.0), (1, 1, 0.5), (5, 1, 5 / 6), (20, 1, 20 / 21), (4, 4, 0.5)]
    + [(-1, 1, 1.0), (3, 0, 1.0), (0, 0, 1.0)],
)
def test_the_weight_grows_with_the_number_of_shots(shots, half, weight):
    assert weight_of_shots(shots, half) == pytest.approx(weight)


@torch.no_grad()
def logits(trainer, weight: float) -> torch.Tensor:
    """Return weight * prompted + (1 - weight) * zero-shot logits of the test images."""
    (task,) = trainer.tasks
    images = torch.stack([image["img"] for image in trainer.sets["test"]])
    backbone = trainer.backbone
    base = PromptedCLIP(backbone.clip, trainer.model.prompt.base, backbone.tokenizer)
    plain = PromptedCLIP(backbone.clip, None, backbone.tokenizer)
    base.eval()
    both = []
    for model, templates in ((base, None), (plain, task.templates)):
        classes = model.encode_classes(task.classnames, templates)
        both.append(model.logits(model.encode_images(images), classes))
    return weight * both[0] + (1 - weight) * both[1]


@pytest.mark.parametrize("method", ["CoOp", "KgCoOp", "VPT", "UPT", "MaPLe"])
def test_probabilities_lie_between_zero_shot_and_the_prompt(build, method):
    depth = ["TRAINER.MAPLE.PROMPT_DEPTH", 2] if method == "MaPLe" else []
    trainer = build(
        method, "toy-shapes", "TEST.INTERPOLATE", "shots", *LAST, *depth, shots=3
    )
    trainer.train()
    expected = logits(trainer, 0.75).softmax(dim=1)
    assert not torch.allclose(expected, logits(trainer, 1.0).softmax(dim=1), atol=1e-3)
    found = trainer.predict("test")["toy-shapes"]
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_validation_images_choose_the_weight(build):
    keys = ["TEST.INTERPOLATE", "val", *LAST]
    trainer = build("CoOp", "toy-shapes", *keys, shots=5)
    trainer.train()
    weight = trainer.model.prompt.weight
    chosen = float(weight)
    scores = {}
    for one in WEIGHTS:
        weight.fill_(one)
        scores[one] = trainer.evaluate("val")["toy-shapes"]
    best = [one for one, score in scores.items() if score == max(scores.values())]
    nearest = min(best, key=lambda one: abs(one - 5 / 6))
    assert chosen == pytest.approx(nearest)
    assert len(set(scores.values())) > 1


def test_the_best_epoch_is_interpolated_too(build):
    trainer = build("APT", "toy-shapes", shots=5)
    assert trainer.cfg.TEST.FINAL_MODEL == "best_val"
    trainer.train()
    assert math.isclose(float(trainer.model.prompt.weight), 5 / 6, rel_tol=1e-6)


def test_a_prompt_alone_is_evaluated_with_zero_shot_beside_it(main, tmp_path):
    command = f"--trainer CoOp {ONE}"
    keys = "TEST.FINAL_MODEL last_step TRAINER.MVLPT.COOP.N_CTX 4"
    shots = "TEST.INTERPOLATE shots"
    alone, both, again = (tmp_path / name for name in ("alone", "both", "again"))
    assert main(f"{command} --output-dir {alone} {keys}") == 0
    evaluated = f"{command} --eval-only --model-dir {alone} --output-dir {again}"
    assert main(f"{evaluated} {keys} {shots}") == 0
    assert main(f"{command} --output-dir {both} {keys} {shots}") == 0
    file = "predictions/seed0_toy-shapes.json"
    assert (again / file).read_bytes() == (both / file).read_bytes()
    assert (again / file).read_bytes() != (alone / file).read_bytes()


@pytest.mark.parametrize(
    "trainer, keys, message",
    [
        ("MMRL", "TRAINER.MMRL.REP_LAYERS [2]", "has its weights already"),
        ("GDA", "", "has its weights already"),
        ("ZeroshotCLIP", "", "ZeroshotCLIP has no prompt"),
        ("CoOp", "TEST.INTERPOLATE always", "TEST.INTERPOLATE"),
        ("CoOp", "TEST.INTERPOLATE val", "TEST.FINAL_MODEL last_step"),
        ("CoOp", "TEST.HALF_WEIGHT_SHOTS -1", "TEST.HALF_WEIGHT_SHOTS"),
        (
            "CoOp",
            "TEST.INTERPOLATE val DATASET.TRAIN_ON_VAL True TEST.FINAL_MODEL last_step",
            "DATASET.TRAIN_ON_VAL trains on these images",
        ),
    ],
)
def test_what_cannot_be_interpolated_is_refused(refuse, trainer, keys, message):
    command = f"--trainer {trainer} {ONE} TEST.INTERPOLATE shots {keys}"
    assert message in refuse(command)
