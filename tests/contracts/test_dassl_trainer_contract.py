"""The contract of a trainer that was written for Dassl alone: pytest tests/contracts
--trainer NAME --import FILE.
"""

import json

import pytest

import train
from trainers.engine.config import is_native, trainer_class

TASK = "pocket-breeds"


@pytest.fixture(autouse=True)
def is_theirs(trainer_name):
    if is_native(trainer_class(trainer_name)):
        pytest.skip(f"{trainer_name} is on our base classes")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("contract")


@pytest.fixture
def run(folder, trainer_name, log_as_before):
    """Run a trainer in a folder that is called `name`; return that folder."""

    def in_folder(name, *flags):
        out = folder / trainer_name / name
        command = f"--trainer {trainer_name} --dataset {TASK} --shots 2 --seed 1 --output-dir {out}"
        with log_as_before():
            argv = [*command.split(), *flags, "OPTIM.MAX_EPOCH", "2"]
            assert train.main(argv) == 0
        return out

    return in_folder


def record(out) -> dict:
    (found,) = json.loads((out / "results.json").read_text())
    return found


def test_training_leaves_results_and_predictions(run, trainer_name):
    out = run("trained")
    found = record(out)
    assert (found["trainer"], found["task"]) == (trainer_name, TASK)
    path = out / "predictions" / f"seed1_{TASK}.json"
    predictions = json.loads(path.read_text())["predictions"][0]
    assert len(predictions) == found["test_images"]
    assert sum(predictions[0]) == pytest.approx(1, abs=1e-4)


def test_the_same_command_continues_and_its_checkpoint_is_evaluated(run):
    trained = run("trained")
    before = record(trained)
    assert record(run("trained"))["score"] == before["score"]
    out = run("evaluated", "--eval-only", "--model-dir", str(trained))
    assert record(out)["score"] == before["score"]
