"""Which epoch is kept, and by whose score."""

import json
from pathlib import Path

import pytest
import torch

from elevater_eval import metrics

TWO = "toy-shapes,toy-scenes"
SCRIPT = [
    {"toy-shapes": 90.0, "toy-scenes": 10.0},
    {"toy-shapes": 60.0, "toy-scenes": 60.0},
    {"toy-shapes": 95.0, "toy-scenes": 0.0},
]


def best(trainer) -> dict:
    return torch.load(
        Path(trainer.output_dir) / "prompt_learner" / "model-best.pth.tar",
        weights_only=True,
    )


def play(trainer, script):
    """Let validation see the scores of a script, one entry an epoch."""
    original, left = trainer.evaluate, iter(script)

    def evaluate(split, *args):
        found = original(split, *args)
        if split != "val":
            return found
        epoch = next(left)
        return {name: epoch[name] for name in found}

    trainer.evaluate = evaluate


@pytest.mark.parametrize(
    ("key", "epoch", "value"),
    [("average", 2, 60.0), ("toy-shapes", 3, 95.0), ("toy-scenes", 2, 60.0)],
)
def test_the_best_epoch_is_chosen_by_the_mean_or_by_one_task(build, key, epoch, value):
    trainer = build(
        "MCoOp", TWO, "OPTIM.MAX_EPOCH", 3, "DATASET.MULTITASK_EVALKEY", key
    )
    play(trainer, SCRIPT)
    trainer.train()
    chosen = best(trainer)
    assert (chosen["epoch"], chosen["val_result"]) == (epoch, value)
    assert torch.equal(trainer.model.prompt.ctx, chosen["state_dict"]["ctx"])
    assert [
        record["task"]
        for record in json.loads(
            (Path(trainer.output_dir) / "results.json").read_text()
        )
    ] == (TWO.split(",") if key == "average" else [key])


def test_the_first_of_equals_is_kept(build):
    trainer = build("CoOp", "toy-shapes", "OPTIM.MAX_EPOCH", 3)
    play(trainer, [{"toy-shapes": value} for value in (50.0, 70.0, 70.0)])
    trainer.train()
    assert best(trainer)["epoch"] == 2


def test_the_validation_score_is_the_mean_of_the_official_metrics(build):
    trainer = build("MVPT", TWO, "OPTIM.MAX_EPOCH", 1)
    trainer.train()
    probabilities = trainer.predict("val")
    val = trainer.sets["val"]
    labels = [sample.labels[0] for sample in (val.samples[row] for row in val.rows(0))]
    many = torch.zeros(len(val.rows(1)), 4, dtype=torch.int64)
    for i, row in enumerate(val.rows(1)):
        many[i, list(val.samples[row].labels)] = 1
    expected = [
        metrics.compute(
            "accuracy",
            torch.tensor(labels).numpy(),
            probabilities["toy-shapes"].numpy(),
        ),
        metrics.compute(
            "11point_mAP",
            many.numpy(),
            probabilities["toy-scenes"].double().numpy().round(6),
        ),
    ]
    assert best(trainer)["val_result"] == pytest.approx(50 * sum(expected), abs=1e-6)


def test_the_last_step_is_final_if_asked_for(build):
    trainer = build(
        "CoOp",
        "toy-shapes",
        "TEST.FINAL_MODEL",
        "last_step",
        "OPTIM.MAX_EPOCH",
        3,
        "TRAIN.CHECKPOINT_FREQ",
        2,
    )
    trainer.train()
    folder = Path(trainer.output_dir) / "prompt_learner"
    assert {path.name for path in folder.iterdir()} == {
        "checkpoint",
        "model.pth.tar-2",
        "model.pth.tar-3",
    }
    last = torch.load(folder / "model.pth.tar-3", weights_only=True)["state_dict"][
        "ctx"
    ]
    assert torch.equal(trainer.model.prompt.ctx, last)
    trainer.load_model(trainer.output_dir, 2)
    assert not torch.equal(trainer.model.prompt.ctx, last)
    trainer.load_model(trainer.output_dir)  # there is no best one: the last
    assert torch.equal(trainer.model.prompt.ctx, last)


def test_with_one_shot_training_images_validate(build):
    trainer = build("CoOp", "toy-shapes", shots=1)
    keys = {
        split: [sample.key for sample in trainer.sets[split].samples]
        for split in ("train", "val")
    }
    assert keys["train"] == keys["val"] and len(keys["train"]) == 3
    trainer.train()
    assert best(trainer)["val_result"] is not None


def test_a_run_that_was_stopped_goes_on_as_if_it_had_not_been(build, tmp_path):
    opts = ["OPTIM.MAX_EPOCH", 4, "TRAIN.CHECKPOINT_FREQ", 2]
    whole = build("MUPT", TWO, *opts, out=tmp_path / "whole")
    whole.train()
    half = build("MUPT", TWO, *opts, out=tmp_path / "half")
    half.max_epoch = 2
    half.train()
    rest = build(
        "MUPT", TWO, *opts, "RESUME", tmp_path / "half", out=tmp_path / "half", seed=0
    )
    rest.train()
    assert rest.start_epoch == 2
    files = [
        torch.load(
            tmp_path / run / "prompt_learner" / "model.pth.tar-4", weights_only=True
        )["state_dict"]
        for run in ("whole", "half")
    ]
    assert all(torch.equal(value, files[1][key]) for key, value in files[0].items())
    assert (
        best(whole)["val_result"] == best(rest)["val_result"]
        and best(whole)["epoch"] == best(rest)["epoch"]
    )


def test_the_last_epoch_has_a_validation_score_if_it_is_asked_for(build):
    keys = ["OPTIM.MAX_EPOCH", 2, "TEST.FINAL_MODEL", "last_step"]
    trainer = build("CoOp", "toy-shapes", *keys, "TEST.VAL_SCORE", True)
    trainer.train()
    (record,) = json.loads((Path(trainer.output_dir) / "results.json").read_text())
    score = trainer.evaluate("val")["toy-shapes"]
    assert record["val_score"] == pytest.approx(score, abs=1e-6)
    assert not (Path(trainer.output_dir) / "prompt_learner/model-best.pth.tar").exists()
