"""Checkpoints, the log file, meters, weights."""

import logging
import os
import random
import sys

import numpy as np
import pytest
import torch
from dassl.utils import (
    AverageMeter,
    MetricMeter,
    collect_env_info,
    count_num_param,
    init_network_weights,
    listdir_nohidden,
    load_checkpoint,
    load_pretrained_weights,
    open_all_layers,
    open_specified_layers,
    read_json,
    resume_from_checkpoint,
    save_checkpoint,
    set_random_seed,
    setup_logger,
    tolist_if_not,
    write_json,
)
from torch import nn


def state(model, **extra):
    return {
        "state_dict": model.state_dict(),
        "epoch": 3,
        "optimizer": None,
        "scheduler": None,
        **extra,
    }


@pytest.mark.parametrize("value", [0x3E, 0xFF])
def test_a_flipped_bit_of_a_checkpoint_is_noticed(tmp_path, value):
    save_checkpoint({"state_dict": {"ctx": torch.ones(1000)}, "epoch": 2}, tmp_path)
    path = tmp_path / "model.pth.tar-2"
    content = bytearray(path.read_bytes())
    content[content.index(b"\0\0\x80\x3f" * 9) + 3] = value
    path.write_bytes(content)
    with pytest.raises(ValueError, match="model.pth.tar-2 can't be read .* Bad CRC"):
        load_checkpoint(path)


def test_checkpoint_is_plain(tmp_path):
    model = nn.Linear(2, 1)
    save_checkpoint(
        state(model, val_result=np.float64(71.5), shape=np.arange(3)), tmp_path
    )
    path = tmp_path / "model.pth.tar-3"
    loaded = torch.load(path, weights_only=True)
    assert type(loaded["val_result"]) is float and loaded["val_result"] == 71.5
    assert loaded["shape"].tolist() == [0, 1, 2]
    assert load_checkpoint(path)["epoch"] == 3
    assert sorted(os.listdir(tmp_path)) == ["checkpoint", "model.pth.tar-3"]
    with pytest.raises(TypeError, match=r"\['thing'\].* object"):
        save_checkpoint(state(model, thing=object()), tmp_path)
    with pytest.raises(FileNotFoundError, match="tar-4"):
        load_checkpoint(tmp_path / "model.pth.tar-4")


def test_the_pointer_names_the_last_regular_file(tmp_path):
    model = nn.Linear(2, 1)
    save_checkpoint(state(model), tmp_path, is_best=True)
    save_checkpoint(
        state(model) | {"epoch": 5}, tmp_path, model_name="model-best.pth.tar"
    )
    assert (tmp_path / "checkpoint").read_text() == "model.pth.tar-3\n"
    assert load_checkpoint(tmp_path / "model-best.pth.tar")["epoch"] == 5
    other = nn.Linear(2, 1)
    assert resume_from_checkpoint(tmp_path, other) == 3
    assert torch.equal(other.weight, model.weight)
    with pytest.raises(KeyError, match="optimizer"):
        resume_from_checkpoint(
            tmp_path, other, optimizer=torch.optim.SGD(other.parameters())
        )
    with pytest.raises(FileNotFoundError, match="empty"):
        resume_from_checkpoint(tmp_path / "empty", other)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    model = nn.Linear(2, 1)
    save_checkpoint(state(model), tmp_path)
    before = (tmp_path / "model.pth.tar-3").read_bytes()

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        save_checkpoint(state(model), tmp_path)
    assert (tmp_path / "model.pth.tar-3").read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoint",
        "model.pth.tar-3",
    }


def test_pickled_objects_are_not_read(tmp_path, caplog):
    path = tmp_path / "old.pth"
    weights = {"ctx": torch.arange(6.0).reshape(2, 3)}
    schedule = {"last_epoch": 3, "successor": logging.Formatter()}
    torch.save(
        {
            "state_dict": weights,
            "epoch": 3,
            "val_result": np.float64(70.5),
            "scheduler": schedule,
        },
        path,
    )
    checkpoint = load_checkpoint(path)
    assert torch.equal(checkpoint["state_dict"]["ctx"], weights["ctx"])
    assert (checkpoint["epoch"], checkpoint["val_result"], checkpoint["scheduler"]) == (
        3,
        70.5,
        None,
    )
    assert "pickled objects, which are not read" in caplog.text
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ValueError, match="old.pth can't be read as a checkpoint"):
        load_checkpoint(path)


def test_nothing_in_a_checkpoint_is_executed(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made"),)

    torch.save({"state_dict": {}, "scheduler": Attack()}, tmp_path / "evil.pth")
    assert load_checkpoint(tmp_path / "evil.pth")["scheduler"] is None
    assert not (tmp_path / "made").exists()


def test_parallel_prefix_is_removed(tmp_path):
    wrapped = nn.Module()
    wrapped.module = nn.Linear(2, 1)
    save_checkpoint(state(wrapped), tmp_path)
    assert list(load_checkpoint(tmp_path / "model.pth.tar-3")["state_dict"]) == [
        "weight",
        "bias",
    ]


def test_pretrained_weights_by_name_and_shape(tmp_path, caplog):
    source = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 4))
    torch.save({"state_dict": source.state_dict()}, tmp_path / "w.pth")
    target = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 5))
    load_pretrained_weights(target, str(tmp_path / "w.pth"))
    assert torch.equal(target[0].weight, source[0].weight)
    assert "1.weight, 1.bias" in caplog.text
    load_pretrained_weights(nn.Conv2d(1, 1, 1), str(tmp_path / "w.pth"))
    assert "Nothing was loaded" in caplog.text


@pytest.fixture
def logs():
    """Restore the console after a test of ``setup_logger``."""
    root, stdout = logging.getLogger(), sys.stdout
    level = root.level
    yield root
    setup_logger()
    from dassl.utils import logger

    while logger._handlers:
        root.removeHandler(logger._handlers.pop())
    root.setLevel(level)
    sys.stdout = stdout


def test_log_file_shows_what_the_console_showed(tmp_path, logs, capsys):
    setup_logger(tmp_path / "run")
    logging.getLogger("a.b").info("first %d", 1)
    print("second")
    logging.getLogger("a.b").debug("hidden")
    logging.getLogger("c").warning("third")
    assert sys.stdout.isatty() is False and sys.stdout.encoding
    assert (tmp_path / "run" / "log.txt").read_text() == "first 1\nsecond\nthird\n"
    assert capsys.readouterr().out == "first 1\nsecond\nthird\n"


def test_a_second_log_leaves_the_first_alone(tmp_path, logs, capsys):
    setup_logger(tmp_path)
    print("one")
    setup_logger(tmp_path)
    print("two")
    logging.getLogger().info("three")
    names = sorted(os.listdir(tmp_path))
    assert (
        names[0] == "log.txt" and names[1].startswith("log.txt-2") and len(names) == 2
    )
    assert (tmp_path / "log.txt").read_text() == "one\n"
    assert (tmp_path / names[1]).read_text() == "two\nthree\n"
    setup_logger(tmp_path / "own.log")
    print("four")
    setup_logger()
    print("five")
    assert (tmp_path / "own.log").read_text() == "four\n"
    assert capsys.readouterr().out == "one\ntwo\nthree\nfour\nfive\n"


def test_meters():
    meter = AverageMeter()
    meter.update(1.0)
    meter.update(torch.tensor(4.0), n=2)
    assert (meter.val, meter.avg, meter.count) == (4.0, 3.0, 3)
    moving = AverageMeter(ema=True)
    for value in (1.0, 2.0, 3.0):
        moving.update(value)
    assert moving.avg == pytest.approx(0.561)  # Dassl's begins at 0
    meters = MetricMeter()
    meters.update({"loss": torch.tensor(2.0), "acc": 50.0})
    meters.update(None)
    meters.update({"loss": 1.0, "acc": 100.0})
    assert str(meters) == "loss 1.0000 (1.5000) acc 100.0000 (75.0000)"
    with pytest.raises(TypeError, match="dict"):
        meters.update([1.0])


def test_layers():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    assert count_num_param(model) == 15 == count_num_param(params=model.parameters())
    open_specified_layers(model, "1")
    assert [p.requires_grad for p in model.parameters()] == [False, False, True, True]
    assert (model[0].training, model[1].training) == (False, True)
    open_all_layers(model)
    assert all(p.requires_grad for p in model.parameters()) and model[0].training
    with pytest.raises(ValueError, match="'2' is not a layer"):
        open_specified_layers(model, ["2"])
    for scheme in ("normal", "xavier", "kaiming", "orthogonal"):
        init_network_weights(model, scheme)
        assert not model[0].bias.any() and bool((model[1].weight == 1).all())
    with pytest.raises(ValueError, match="choose one of normal"):
        init_network_weights(model, "uniform")


def test_small_tools(tmp_path):
    write_json({"a": [1, 2]}, tmp_path / "new" / "x.json")
    assert read_json(tmp_path / "new" / "x.json") == {"a": [1, 2]}
    (tmp_path / ".hidden").write_text("")
    (tmp_path / "b").write_text("")
    assert listdir_nohidden(tmp_path, sort=True) == ["b", "new"]
    assert tolist_if_not("a") == ["a"] and tolist_if_not(["a"]) == ["a"]
    assert f"PyTorch: {torch.__version__}" in collect_env_info().split("\n")


def test_seeds():
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    set_random_seed(0)
    first = draw()
    assert draw() != first
    set_random_seed(0)
    assert draw() == first
