"""A run of an earlier version, before runs had manifests and records: it is used as it
was, or a message names the next step.

earlier_run: `train.py --trainer CoOp --dataset pocket-cells --shots 2 --seed 1
OPTIM.MAX_EPOCH 1 TRAINER.MVLPT.COOP.N_CTX 2 TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION
end`, without its log, its curves and the checkpoint of its last epoch.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import prompting

HERE = Path(__file__).resolve().parent
EARLIER = HERE / "earlier_run"
PREDICTIONS = "predictions/seed1_pocket-cells.json"
COMMAND = "--trainer CoOp --dataset pocket-cells --shots 2 --seed 1"
KEYS = (
    "OPTIM.MAX_EPOCH 1 TRAINER.MVLPT.COOP.N_CTX 2 "
    "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION end"
)


def train(words: str) -> subprocess.CompletedProcess:
    command = shlex.split(f"{sys.executable} {HERE.parents[1]}/train.py {words}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def probabilities(folder: Path) -> np.ndarray:
    (values,) = json.loads((folder / PREDICTIONS).read_text())["predictions"]
    return np.array(values)


def test_its_prompt_is_evaluated_as_it_was_trained(tmp_path):
    done = train(
        f"{COMMAND} --eval-only --model-dir {EARLIER} --output-dir {tmp_path}/out",
    )
    assert done.returncode == 0, done.stderr
    assert "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION end: taken from" in done.stdout
    np.testing.assert_allclose(
        probabilities(tmp_path / "out"), probabilities(EARLIER), atol=2e-4
    )


def test_its_prompt_is_read_alone():
    predictor = prompting.load(EARLIER / "prompts.safetensors")
    config = predictor.model.prompt.config()
    assert (config["position"], config["n_ctx"]) == ("end", 2)
    assert predictor.preprocessing.background == "none"  # as it was prepared then


def test_the_run_is_reused_with_the_key_that_a_message_names(main, capsys, tmp_path):
    shutil.copytree(EARLIER, tmp_path / "run")
    words = f"{COMMAND} --output-dir {tmp_path}/run {KEYS}"
    assert main(words, data=None, config=None) == 2
    message = "it differs in DATALOADER.TRAIN_X.DROP_LAST: use another --output-dir, or --overwrite it"
    assert message in capsys.readouterr().err
    words += " DATALOADER.TRAIN_X.DROP_LAST True"
    assert main(words, data=None, config=None) == 0
    assert "reused" in capsys.readouterr().out
    assert (tmp_path / "run" / PREDICTIONS).read_bytes() == (
        EARLIER / PREDICTIONS
    ).read_bytes()


@pytest.mark.parametrize(
    "key", ["TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION", "TRAINER.MVLPT.COOP.N_CTX"]
)
def test_a_key_that_contradicts_it_is_named(tmp_path, key):
    value = {
        "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION": "front",
        "TRAINER.MVLPT.COOP.N_CTX": "4",
    }[key]
    done = train(
        f"{COMMAND} --eval-only --model-dir {EARLIER} "
        f"--output-dir {tmp_path}/out {key} {value}",
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "model-best.pth.tar" in done.stderr and value in done.stderr
