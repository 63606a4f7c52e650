"""bfloat16 on the CPU: the parts that are computed in it, the parts that stay in
float32, and values that end a run.
"""

import math

import pytest
import torch

THREE = "toy-shapes,toy-scenes,toy-pets"


@pytest.mark.parametrize("name", ["MCoOp", "MVPT", "MUPT"])
def test_bf16_is_close_and_the_prompt_stays_float32(build, tmp_path, name):
    losses, features = {}, {}
    for precision in ("fp32", "bf16"):
        trainer = build(
            name,
            THREE,
            "TRAINER.MVLPT.PREC",
            precision,
            "OPTIM.LR",
            0.02,
            out=tmp_path / precision,
        )
        trainer.train()
        losses[precision] = trainer.epoch_loss
        assert {p.dtype for p in trainer.model.prompt.parameters()} == {torch.float32}
        assert {
            p.grad.dtype
            for p in trainer.model.prompt.parameters()
            if p.grad is not None
        } == {torch.float32}
        assert all(
            values.dtype == torch.float32 for values in trainer.predict("test").values()
        )
        features[precision] = trainer._image_features("test")
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.02)
    # it did compute in bfloat16
    assert not torch.equal(features["bf16"], features["fp32"])
    assert (
        torch.nn.functional.cosine_similarity(features["bf16"], features["fp32"]).min()
        > 0.99
    )


@pytest.mark.parametrize("name", ["CoOp", "VPT"])
def test_a_loss_that_is_not_finite_ends_the_run(build, tmp_path, name):
    pairs = ["DATALOADER.TRAIN_X.BATCH_SIZE", 4, "OPTIM.LR", 0.7]
    warm_up = ["OPTIM.WARMUP_EPOCH", 1, "OPTIM.WARMUP_TYPE", "constant"]
    trainer = build(name, "toy-pets", *pairs, *warm_up, out=tmp_path)
    original, calls = trainer.loss, []

    def broken(batch):
        calls.append(1)
        return original(batch) * (math.nan if len(calls) == 2 else 1.0)

    trainer.loss = broken
    with pytest.raises(
        FloatingPointError,
        # the rate that was given, not that of the warm-up
        match=r"epoch 1, step 2: the loss is not finite; lower OPTIM.LR \(it is 0.7\)",
    ):
        trainer.train()
    assert not list(tmp_path.glob("prompt_learner/*"))  # nothing of it is kept
