"""The program as a user starts it: another working folder, nothing but the embedded
model and suite.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[1] / "train.py"


@pytest.fixture(scope="module")
def command(tmp_path_factory):
    """Return a function that runs train.py with arguments in an empty folder; the
    pocket suite is rendered into another one.
    """
    folder = tmp_path_factory.mktemp("anywhere")
    surroundings = {
        **os.environ,
        "MVLPT_POCKET": str(tmp_path_factory.mktemp("pocket")),
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }

    def run(words):
        return folder, subprocess.run(
            shlex.split(f"{sys.executable} {PROGRAM} {words}"),
            cwd=folder,
            env=surroundings,
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


def test_one_task_of_the_pocket_suite_without_any_other_setting(command):
    folder, done = command(
        "--trainer CoOp --dataset pocket-digits --shots 1 OPTIM.MAX_EPOCH 1"
    )
    assert done.returncode == 0, done.stderr
    run = folder / "output" / "CoOp_pocket-digits_1shots_seed0"
    (record,) = json.loads((run / "results.json").read_text())
    assert (
        record["task"],
        record["metric"],
        record["backbone"],
        record["classes"],
    ) == (
        "pocket-digits",
        "accuracy",
        "pocket",
        10,
    )
    assert record["score"] > 0
    assert "dassl" in done.stdout.splitlines()[0] and "pocket-digits" in done.stdout
    assert str(folder) not in (run / "config.yaml").read_text()


def test_wrong_input_ends_with_code_2_and_one_line(command):
    folder, done = command(
        "--trainer CoOp --dataset pocket-digit --shots 1 --output-dir wrong"
    )
    assert done.returncode == 2
    assert (
        done.stderr.startswith("error: ")
        and done.stderr.count("\n") == 1
        and "pocket-digits" in done.stderr
    )
    assert not (folder / "wrong").exists()


def test_help_names_every_flag_of_the_interface(command):
    _, done = command("--help")
    assert done.returncode == 0
    flags = """--root --output-dir --resume --seed --config-file --dataset-config-file --trainer --backbone
    --eval-only --model-dir --load-epoch
    --no-train --dataset --shots --multi-task --dataset-coop --cut-contextlen --act-ckpt --source --groups"""
    assert [flag for flag in flags.split() if flag not in done.stdout] == []
