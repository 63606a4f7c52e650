"""Missing data are found before a backbone is loaded."""

import shlex

import train
from trainers.engine import config


def test_missing_data_come_before_the_backbone(tmp_path, monkeypatch, capsys):
    def load_backbone(*args):
        raise AssertionError("the backbone is loaded")

    monkeypatch.setattr(config.trainer_class("CoOp"), "load_backbone", load_backbone)
    command = (
        f"--trainer CoOp --dataset mnist --root {tmp_path} --output-dir {tmp_path}/run"
    )
    assert train.main(shlex.split(command)) == 2
    assert "mnist: no folder" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
