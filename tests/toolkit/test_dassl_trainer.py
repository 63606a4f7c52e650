"""The training loop: hooks, log lines, the choice of the model, and continuing a run."""

import logging
import os
import re
from pathlib import Path

import pytest
import torch
from dassl.engine import TrainerXU, build_trainer
from dassl.utils import load_checkpoint, set_random_seed
from dassl_toy import ToyTrainer, toy_config


def train(cfg, stop_after=None):
    """Return the trainer of a run that is interrupted after ``stop_after`` epochs."""
    set_random_seed(cfg.SEED)
    trainer = build_trainer(cfg)
    trainer.stop_after = stop_after
    if stop_after is None:
        trainer.train()
    else:
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
    return trainer


def weights(trainer):
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def test_construction_and_hooks(cfg, monkeypatch):
    seen = []
    for hook in (
        "before_train",
        "before_epoch",
        "run_epoch",
        "after_epoch",
        "after_train",
    ):
        original = getattr(ToyTrainer, hook)

        def spy(self, hook=hook, original=original):
            seen.append(hook)
            return original(self)

        monkeypatch.setattr(ToyTrainer, hook, spy)
    cfg.OPTIM.MAX_EPOCH = 2
    trainer = train(cfg)
    assert trainer.calls == ["check_cfg", "build_data_loader", "build_model"]
    epoch = ["before_epoch", "run_epoch", "after_epoch"]
    assert seen == ["before_train", *epoch, *epoch, "after_train"]
    assert (
        trainer.epoch,
        trainer.max_epoch,
        trainer.batch_idx,
        trainer.num_batches,
    ) == (1, 2, 2, 3)
    assert (trainer.num_classes, trainer.lab2cname) == (
        3,
        {0: "red", 1: "green", 2: "blue"},
    )
    assert trainer.get_model_names() == ["prompt_learner"]


def test_log_lines(cfg, caplog):
    caplog.set_level(logging.INFO)
    cfg.OPTIM.MAX_EPOCH = 2
    train(cfg)
    number, pair = r"\d+\.\d{4}", r"\d+\.\d{3} \(\d+\.\d{3}\)"
    steps = [m for m in caplog.messages if m.startswith("epoch [")]
    assert len(steps) == 2  # three batches, a line every two
    assert re.fullmatch(
        rf"epoch \[1/2\] batch \[2/3\] time {pair} data {pair} loss {number} \({number}\) acc {number} \({number}\) "
        r"lr 1\.0000e-05 eta 0:00:\d\d",
        steps[0],
    )
    ends = [
        "Finish training",
        "Deploy the last-epoch model",
        "Evaluate on the *test* set",
        "=> result",
    ]
    assert [m for m in caplog.messages if m in ends] == ends
    assert re.fullmatch(r"Elapsed: \d:\d\d:\d\d", caplog.messages[-1])


def test_every_batch_is_logged_when_there_are_few(cfg, caplog):
    caplog.set_level(logging.INFO)
    cfg.OPTIM.MAX_EPOCH = 1
    cfg.TRAIN.PRINT_FREQ = 10
    train(cfg)
    assert sum(m.startswith("epoch [1/1] batch [") for m in caplog.messages) == 3


def test_files_of_a_run(cfg):
    cfg.TRAIN.CHECKPOINT_FREQ = 4
    train(cfg)
    folder = os.path.join(cfg.OUTPUT_DIR, "prompt_learner")
    assert sorted(os.listdir(folder)) == [
        "checkpoint",
        "model.pth.tar-4",
        "model.pth.tar-6",
    ]
    assert Path(folder, "checkpoint").read_text() == "model.pth.tar-6\n"
    assert os.listdir(os.path.join(cfg.OUTPUT_DIR, "tensorboard"))


@pytest.mark.parametrize("final", ["last_step", "best_val"])
@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_resumed_run_equals_an_uninterrupted_one(
    image_root, tmp_path, final, elsewhere
):
    def config(name):
        cfg = toy_config(image_root, tmp_path / name)
        cfg.TEST.FINAL_MODEL = final
        return cfg

    whole = train(config("whole"))
    # the last regular checkpoint is that of epoch 4
    first = train(config("halves"), stop_after=5)
    cfg = config("second" if elsewhere else "halves")
    cfg.RESUME = str(tmp_path / "halves")
    set_random_seed(cfg.SEED)
    second = build_trainer(cfg)
    set_random_seed(99)  # the course of the run must come from the checkpoint
    second.train()

    assert second.start_epoch == 4
    assert first.lrs[:4] + second.lrs == whole.lrs
    assert len(set(whole.lrs)) == 6
    assert torch.equal(weights(second), weights(whole))
    assert second.best_result == whole.best_result
    assert second.test() == whole.test()


def test_nothing_resumes_unasked(cfg):
    train(cfg, stop_after=4)
    trainer = train(cfg)
    assert trainer.start_epoch == 0 and len(trainer.lrs) == 6


def test_resume_needs_a_regular_checkpoint(cfg, tmp_path):
    cfg.RESUME = str(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError, match="nothing/prompt_learner"):
        build_trainer(cfg).train()


class Scripted(ToyTrainer):
    """Validation results by script."""

    script = [50.0, 70.0, 70.0, 60.0, 80.0, 75.0]

    def test(self, split=None):
        return self.script[self.epoch] if split == "val" else super().test(split)


def test_best_val_keeps_the_first_of_the_best(cfg, caplog):
    caplog.set_level(logging.INFO)
    cfg.TEST.FINAL_MODEL = "best_val"
    cfg.TRAIN.CHECKPOINT_FREQ = 0
    folder = os.path.join(cfg.OUTPUT_DIR, "prompt_learner")

    trainer = Scripted(cfg)
    trainer.stop_after = 4
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    best = load_checkpoint(os.path.join(folder, "model-best.pth.tar"))
    assert (best["epoch"], best["val_result"], trainer.best_result) == (2, 70.0, 70.0)
    # a best file is no point to continue from
    assert not os.path.exists(os.path.join(folder, "checkpoint"))

    trainer = Scripted(cfg)
    trainer.train()
    best = load_checkpoint(os.path.join(folder, "model-best.pth.tar"))
    assert (best["epoch"], best["val_result"]) == (5, 80.0)
    assert Path(folder, "checkpoint").read_text() == "model.pth.tar-6\n"
    assert "Deploy the model with the best val performance" in caplog.messages
    assert torch.equal(
        trainer.model.prompt_learner.weight, best["state_dict"]["weight"]
    )


def test_best_result_is_restored(cfg):
    cfg.TEST.FINAL_MODEL = "best_val"
    cfg.TRAIN.CHECKPOINT_FREQ = 1
    trainer = Scripted(cfg)
    trainer.stop_after = 5
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    cfg.RESUME = cfg.OUTPUT_DIR
    trainer = Scripted(cfg)
    trainer.train()
    assert trainer.best_result == 80.0
    best = load_checkpoint(
        os.path.join(cfg.OUTPUT_DIR, "prompt_learner", "model-best.pth.tar")
    )
    assert best["epoch"] == 5


def test_load_model(cfg, caplog):
    caplog.set_level(logging.INFO)
    trained = train(cfg)
    trainer = build_trainer(cfg)
    trainer.load_model(cfg.OUTPUT_DIR, epoch=6)
    assert torch.equal(
        trainer.model.prompt_learner.weight, trained.model.prompt_learner.weight
    )
    assert any("val_result=none" in m for m in caplog.messages)
    with pytest.raises(FileNotFoundError, match="model-best"):
        trainer.load_model(cfg.OUTPUT_DIR)
    with pytest.raises(FileNotFoundError, match="tar-5"):
        trainer.load_model(cfg.OUTPUT_DIR, epoch=5)
    before = weights(trainer).clone()
    trainer.load_model("")
    assert torch.equal(weights(trainer), before)


def test_the_scaler_is_saved(cfg):
    trainer = build_trainer(cfg)
    trainer.scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    trainer.save_model(2, cfg.OUTPUT_DIR)
    other = build_trainer(cfg)
    other.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    assert other.resume_model_if_exist(cfg.OUTPUT_DIR) == 3
    assert other.scaler.get_scale() == 8.0


def test_small_parts(cfg):
    trainer = build_trainer(cfg)
    trainer.set_model_mode("eval")
    assert not trainer.model.prompt_learner.training
    trainer.set_model_mode("train")
    assert trainer.model.prompt_learner.training
    with pytest.raises(KeyError, match="sleep"):
        trainer.set_model_mode("sleep")
    with pytest.raises(ValueError, match="already registered"):
        trainer.register_model("prompt_learner", trainer.model)
    with pytest.raises(ValueError, match="registered: prompt_learner"):
        trainer.get_model_names("head")
    with pytest.raises(FloatingPointError):
        trainer.detect_anomaly(torch.tensor(float("nan")))
    with pytest.raises(AttributeError, match="super"):
        ToyTrainer.__new__(ToyTrainer).register_model("m", None)


def test_unlabelled_pairs(cfg):
    class Pairs(TrainerXU):
        build_model = ToyTrainer.build_model
        calls = []

        def check_cfg(self, cfg):
            self.seen = []

        def build_data_loader(self):
            super().build_data_loader()
            self.train_loader_u = self.test_loader  # one batch of 18 images

        def forward_backward(self, batch_x, batch_u):
            x, label, u = self.parse_batch_train(batch_x, batch_u)
            self.seen.append((len(x), len(label), len(u)))

    for count, expected in (("train_x", 3), ("train_u", 1), ("smaller_one", 1)):
        cfg.TRAIN.COUNT_ITER = count
        trainer = Pairs(cfg)
        trainer.run_epoch()
        assert trainer.seen == [(8, 8, 18)] * expected
        assert trainer.num_batches == expected
    cfg.TRAIN.COUNT_ITER = "both"
    with pytest.raises(ValueError, match="COUNT_ITER"):
        Pairs(cfg).run_epoch()


def test_the_writer_is_found_where_dassl_has_it():
    import dassl.engine.trainer as trainer
    from torch.utils.tensorboard import SummaryWriter

    assert trainer.SummaryWriter is SummaryWriter
    with pytest.raises(AttributeError, match="nothing"):
        trainer.nothing  # noqa: B018
