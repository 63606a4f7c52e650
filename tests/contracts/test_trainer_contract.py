"""The contract of every trainer on our base classes, also of a user's: pytest
tests/contracts --trainer NAME [--import FILE].
"""

import json
import shlex

import pytest
import torch

import train
from trainers.engine.config import is_native, trainer_class

TASK = "pocket-breeds"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(autouse=True)
def is_ours(trainer_name):
    if not is_native(trainer_class(trainer_name)):
        pytest.skip(f"{trainer_name} was written for Dassl alone")


@pytest.fixture
def run(folder, trainer_name, log_as_before):
    """Run a trainer once for each name of a folder, and return that folder."""

    def in_folder(name, flags="", keys=""):
        out = folder / trainer_name / name
        if not (out / "results.json").is_file():
            command = (
                f"--trainer {trainer_name} --dataset {TASK} --shots 2 --seed 1 "
                f"--output-dir {out} {flags} OPTIM.MAX_EPOCH 2 {keys}"
            )
            with log_as_before():
                assert train.main(shlex.split(command)) == 0
        return out

    return in_folder


def test_a_run_leaves_the_files_of_the_interface(run, trainer_name):
    out = run("run")
    (record,) = json.loads((out / "results.json").read_text())
    assert (record["task"], record["trainer"], record["shots"], record["seed"]) == (
        TASK,
        trainer_name,
        2,
        1,
    )
    assert 0 <= record["score"] <= 100
    assert (out / "predictions" / f"seed1_{TASK}.json").is_file()
    assert (out / "config.yaml").is_file() and (out / "log.txt").is_file()
    if trainer_class(trainer_name).learns:
        assert (out / "prompts.safetensors").is_file() and (
            out / "fewshot" / f"{TASK}.json"
        ).is_file()


def test_another_run_with_the_same_seed_is_the_same(run, trainer_name):
    if not trainer_class(trainer_name).learns:
        pytest.skip("it learns nothing")
    states = []
    for name in ("run", "again"):
        file = run(name) / "prompt_learner" / "model.pth.tar-2"
        states.append(torch.load(file, weights_only=True)["state_dict"])
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_evaluation_alone_gives_the_same_predictions(run, trainer_name):
    if not trainer_class(trainer_name).learns:
        pytest.skip("it learns nothing")
    trained = run("run")
    evaluated = run("eval", f"--eval-only --model-dir {trained}")
    name = f"predictions/seed1_{TASK}.json"
    assert (evaluated / name).read_bytes() == (trained / name).read_bytes()


def test_part_of_the_classes(run):
    (record,) = json.loads(
        (
            run("base", keys="DATASET.SUBSAMPLE_CLASSES base") / "results.json"
        ).read_text()
    )
    assert record["classes"] == 5
