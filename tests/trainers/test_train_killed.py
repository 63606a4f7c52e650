"""A two-stage run that is killed and resumed leaves the very bytes of one that never
was.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
RUN = (
    "--trainer MUPT --source pocket-memes,pocket-distance "
    "--dataset pocket-cells,pocket-reviews --shots 2 --seed 3 --no-cache "
    "OPTIM.MAX_EPOCH 3 TRAINER.MVLPT.VPT.DROPOUT 0.2 "
    "DATALOADER.TRAIN_X.BATCH_SIZE 4 TRAIN.CHECKPOINT_FREQ 2"
)
NOT_COMPARED = ("log.txt", "events.out.tfevents")  # they tell of times


def killed_runs(*words: str) -> list:
    surroundings = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(HERE.parents[1]),
        "CUDA_VISIBLE_DEVICES": "",
    }
    command = [sys.executable, str(HERE / "killed_runs.py"), *words]
    done = subprocess.run(
        command, env=surroundings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def files(folder: Path) -> dict[str, bytes]:
    """Return every file that a run leaves, with its bytes."""
    found = (
        path
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(NOT_COMPARED)
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return (folder of a run that was never interrupted, the number of events in it,
    its seconds).
    """
    home = tmp_path_factory.mktemp("killed")
    (told,) = killed_runs("count", str(home), RUN)
    assert told["code"] == 0, (home / "whole.console").read_text()
    return home / "whole", told["happened"], told["seconds"]


def check(whole, home: Path, moments: list[list[float]]) -> None:
    expected = files(whole[0])
    assert {
        "submission.zip",
        "results.json",
        "source/prompts.safetensors",
    } <= expected.keys()
    for number, told in enumerate(
        killed_runs("try", str(home), json.dumps(moments), RUN)
    ):
        *killed, last = told
        console = (home / f"case{number}.console").read_text()
        assert last["code"] == 0, console
        # 0: a time that came too late
        assert all(end["code"] in (-9, 0) for end in killed), console
        assert all(
            end["code"] == -9
            for end, moment in zip(killed, moments[number], strict=True)
            if isinstance(moment, int)
        )
        found = files(home / f"case{number}")
        assert found.keys() == expected.keys(), moments[number]
        different = [name for name in expected if found[name] != expected[name]]
        assert not different, (moments[number], different)


def spread(number: int, until: float, chance: random.Random) -> list[float]:
    """Return `number` moments from 0 to `until`, one in each of as many equal parts."""
    return [(k + chance.random()) * until / number for k in range(number)]


@pytest.mark.long
def test_a_killed_run_goes_on_to_the_same_bytes(whole, tmp_path):
    chance = random.Random(0)
    moments = [[int(moment) + 1] for moment in spread(4, whole[1] - 1, chance)]
    check(whole, tmp_path, [*moments, [moments[1][0], 10]])


@pytest.mark.long
def test_thirty_kills_spread_over_all_phases(whole, tmp_path):
    chance = random.Random(1)
    events = [[int(moment) + 1] for moment in spread(15, whole[1] - 1, chance)]
    times = [[moment] for moment in spread(15, whole[2], chance)]
    check(whole, tmp_path, [*events, *times])


@pytest.mark.long
def test_kills_within_an_epoch_and_again_and_again(whole, tmp_path):
    chance = random.Random(2)
    check(
        whole,
        tmp_path,
        [[chance.randrange(1, whole[1] // 3) for _ in range(4)] for _ in range(5)],
    )
