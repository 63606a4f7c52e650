"""Runs by several processes, as torchrun starts them: the same prompts, predictions and
files as by one.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import processes
import pytest
import torch
from run_files import prompt_in, read

from prompting import load_prompts, memory
from trainers.engine import distributed

PROGRAM = Path(__file__).with_name("processes.py")
SEVERAL = "toy-shapes,toy-scenes,toy-pets"
BATCH, TEST_BATCH = "DATALOADER.TRAIN_X.BATCH_SIZE", "DATALOADER.TEST.BATCH_SIZE"
# Batches of 7 have unequal shares, one image leaves the second process without; 9 test
# images in batches of 2 are not divided by the processes either, and in one batch they
# are the last process's alone.
SLOW = "OPTIM.LR 0.05"  # steps on a batch of one image would magnify the last bits
RUNS = {
    "UPT": (
        f"--dataset toy-shapes --shots 5 {BATCH} 7 {TEST_BATCH} 2 "
        f"TRAINER.MVLPT.VPT.DROPOUT 0.3 {SLOW}"
    ),
    "MCoOp": f"--dataset {SEVERAL} --shots 5 MULTITASK.LABEL_SPACE union",
    "MUPT": (
        f"--dataset {SEVERAL} --shots 5 {BATCH} 7 {TEST_BATCH} 4 "
        f"MULTITASK.HOMOGENEOUS True {SLOW}"
    ),
    "MVLPT": f"--dataset {SEVERAL} --shots 5 {BATCH} 11 MULTITASK.MIXING uniform",
    "CoOp": f"--dataset toy-pets --shots 5 {BATCH} 5 TRAINER.MVLPT.COOP.CSC True",
    "VPT": f"--dataset toy-marks --shots 1 {BATCH} 1 {SLOW}",
    "ZeroshotCLIP": f"--dataset {SEVERAL} {TEST_BATCH} 2",
    "MVPT": "--source toy-shapes,toy-scenes --dataset toy-marks,toy-pets --shots 4",
}
ON_ONE = "KgCoOp ProGrad IVLP MaPLe PromptSRC TCP SoftCPT MMRL MMRLPP APT LinearProbe GDA CLAP"
ON_SEVERAL = "MKgCoOp MProGrad MIVLP MMaPLe MPromptSRC MTCP MSoftCPT MMMRL MMMRLPP MAPT"
for tasks, names in (("toy-shapes", ON_ONE), (SEVERAL, ON_SEVERAL)):
    for trainer in names.split():
        RUNS[trainer] = f"--dataset {tasks} --shots 5 {BATCH} 7"
LEARNED = [name for name in RUNS if name != "ZeroshotCLIP"]
every_check = pytest.mark.parametrize(
    "check", [name for name in vars(processes) if name.startswith("check_")]
)


@pytest.fixture(scope="module")
def one(main, tmp_path_factory):
    """Return a function that returns the folders of runs by one process, by trainer,
    each run once.
    """
    out = tmp_path_factory.mktemp("one")

    def folder(name: str) -> Path:
        if not (out / name).exists():
            # as there, but nothing is computed again
            with pytest.MonkeyPatch.context() as patch:
                patch.setitem(memory.MAX_TOKENS, "cpu", processes.CHUNK)
                assert (
                    main(f"--trainer {name} --output-dir {out}/{name} {RUNS[name]}")
                    == 0
                )
        return out / name

    return folder


@pytest.fixture(scope="module")
def launch(root, quick, tmp_path_factory):
    """Return a function that runs command lines by several processes and returns the
    finished process and the folder of the checks' findings.
    """

    def run(count: int, *lines: str):
        folder = tmp_path_factory.mktemp("launch")
        common = f"--root {root} --config-file {quick}"
        (folder / "lines.json").write_text(
            json.dumps([shlex.split(f"{common} {line}") for line in lines])
        )
        torchrun = (
            f"{sys.executable} -m torch.distributed.run --standalone "
            f"--nproc-per-node {count}"
        )
        surroundings = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        }
        return finish(f"{torchrun} {PROGRAM} {folder}/lines.json", surroundings), folder

    return run


def finish(
    command: str, surroundings: dict, seconds: int = 900
) -> subprocess.CompletedProcess:
    """Run a program; its own processes end with it, also if it takes too long."""
    words = shlex.split(command)
    with subprocess.Popen(
        words,
        env=surroundings,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        try:
            out, err = running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(words, running.returncode, out, err)


@pytest.fixture(scope="module")
def broken(tmp_path_factory) -> Path:
    """Return images whose last one cannot be decoded."""
    import tiny_world

    folder, rng = tmp_path_factory.mktemp("images") / "broken", np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 5)):
        for label, name in enumerate(("cat", "dog")):
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                (folder / split / name / f"{i}.png").write_bytes(
                    tiny_world.noise_image(rng, (label,))
                )
    last = folder / "test" / "dog" / "4.png"
    last.write_bytes(last.read_bytes()[:200])
    return folder


@pytest.fixture(scope="module")
def two(launch, one, broken, tmp_path_factory):
    """Return all runs by two processes, then an evaluation of one process's prompt, and
    a run that the second one ends.
    """
    out = tmp_path_factory.mktemp("two")
    lines = [
        f"--trainer {name} --output-dir {out}/{name} {RUNS[name]}" for name in RUNS
    ]
    evaluation = (
        f"--eval-only --model-dir {one('UPT')} --output-dir {out}/evaluation "
        f"{RUNS['UPT']}"
    )
    fails = (
        f"--dataset folder:{broken} --shots 2 --output-dir {out}/fails {TEST_BATCH} 2"
    )
    done, found = launch(
        2, *lines, f"--trainer UPT {evaluation}", f"--trainer VPT {fails}"
    )
    return out, done, found


def files(folder: Path) -> set[str]:
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "tensorboard" not in path.parts
    }


def predictions(folder: Path) -> dict[str, np.ndarray]:
    return {
        path.name: np.array(read(path)["predictions"])
        for path in sorted((folder / "predictions").iterdir())
    }


def vectors_in(folder: Path) -> dict[str, torch.Tensor]:
    """Return the vectors that the prompt puts into CLIP."""
    contexts = load_prompts(folder / "prompts.safetensors")[0].eval().contexts()
    return {
        name: value.detach()
        for name, value in contexts._asdict().items()
        if isinstance(value, torch.Tensor)
    }


def assert_same_run(
    here: Path, there: Path, learns: bool = True, learned=prompt_in
) -> None:
    assert files(here) == files(there)
    for file in sorted(
        file for file in files(here) if file.endswith("prompts.safetensors")
    ):
        ours, theirs = learned((here / file).parent), learned((there / file).parent)
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            torch.testing.assert_close(
                value,
                theirs[name],
                rtol=0,
                atol=1e-5,
                msg=lambda text, at=name: f"{at}: {text}",
            )
    ours, theirs = predictions(here), predictions(there)
    assert ours.keys() == theirs.keys() and ours
    for name, values in ours.items():
        assert values.shape == theirs[name].shape
        assert np.abs(values - theirs[name]).max() <= (1e-4 if learns else 0), name
    for ours, theirs in zip(
        read(here / "results.json"), read(there / "results.json"), strict=True
    ):
        assert ours.keys() == theirs.keys()
        counts = [record["machine"].pop("processes") for record in (ours, theirs)]
        assert counts[0] != counts[1]
        # the source prompt is the same but for the last bits
        for key in ours.keys() - {"start"}:
            assert ours[key] == (
                pytest.approx(theirs[key])
                if isinstance(ours[key], float)
                else theirs[key]
            ), key


# -- a launch of two processes -----------------------------------------------------------------------------------


@pytest.mark.long
@every_check
def test_checks_of_two_processes(two, check):
    _, _, found = two
    assert [
        read(found / f"checks{rank}.json").get(check, "not reached")
        for rank in range(2)
    ] == ["", ""]


@pytest.mark.long
@pytest.mark.parametrize("name", RUNS)
def test_two_processes_learn_and_write_what_one_does(two, one, name):
    out, done, _ = two
    assert (out / name).is_dir(), done.stderr
    assert_same_run(out / name, one(name), learns=name in LEARNED)


@pytest.mark.long
def test_an_evaluation_by_two_processes_gives_the_very_numbers_of_one(two, one):
    out, _, _ = two
    ours, theirs = predictions(out / "evaluation"), predictions(one("UPT"))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(values, theirs[name]) for name, values in ours.items())


@pytest.mark.long
def test_only_the_main_process_speaks(two):
    out, done, _ = two
    for name in RUNS:
        lines = (out / name / "log.txt").read_text().splitlines()
        assert sum(line.startswith(f"{name} on toy-") for line in lines) == 1
        assert "2 processes" in (out / name / "log.txt").read_text()
        first = [
            line
            for line in done.stdout.splitlines()
            if " -> " in line and line.endswith(f"/{name}")
        ]
        assert len(first) == 1
        assert len(list((out / name).glob("log*"))) == 1
        assert len(list((out / name).glob("tensorboard/*"))) <= 1


@pytest.mark.long
def test_what_goes_wrong_in_one_process_is_said_once_and_ends_all(two):
    out, done, _ = two
    assert done.returncode != 0
    messages = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(messages) == 1 and "4.png" in messages[0]
    assert "Connection closed" not in done.stderr
    assert not (out / "fails" / "results.json").exists()


# -- without a launch --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("step", [1, 4])
def test_shares_of_rows_are_whole_batches_and_all_rows_in_order(
    monkeypatch, count, step
):
    monkeypatch.setattr(distributed, "_world", count)
    for total in range(20):
        parts = [distributed.rows(total, step, process) for process in range(count)]
        assert [row for part in parts for row in part] == list(range(total))
        assert all(part.start % step == 0 for part in parts if part)
        assert max(map(len, parts)) - min(map(len, parts)) <= 2 * step - 1


@pytest.mark.parametrize("count", [2, 3])
def test_shares_of_batches_are_weighted_as_the_batch_is(monkeypatch, count):
    batches = [[5, 1, 4, 2, 0], [7], [3, 6]]
    loss = {image: float(image**2) for image in range(8)}
    monkeypatch.setattr(distributed, "_world", count)
    means = np.zeros(len(batches))
    images: list[list[int]] = [[] for _ in batches]
    for rank in range(count):
        monkeypatch.setattr(distributed, "_rank", rank)
        shares = distributed.Shares(batches)
        assert len(shares) == 3
        for step, share in enumerate(shares):
            weight = shares.weights.popleft()
            assert share and (weight > 0 or share == [min(batches[step])])
            means[step] += weight * np.mean([loss[image] for image in share]) / count
            images[step] += share if weight else []
    assert images == [sorted(batch) for batch in batches]
    assert np.allclose(
        means, [np.mean([loss[image] for image in batch]) for batch in batches]
    )


def test_without_torchrun_nothing_is_wrapped(started):
    trainer = started("CoOp", "toy-shapes")
    assert trainer.share_loss == trainer.loss
    assert trainer.train_loader_x.batch_sampler is trainer.sampler
    assert (
        distributed.main()
        and distributed.world() == 1
        and distributed.everywhere(False) is False
    )
    values = torch.ones(2)
    assert (
        distributed.mean(values) is values
        and distributed.gather_rows(values, 2) is values
    )


@pytest.mark.parametrize(
    "environment",
    [{}, {"WORLD_SIZE": "1", "LOCAL_RANK": "0"}, {"WORLD_SIZE": "4", "RANK": "1"}],
)
def test_variables_that_are_not_torchruns_start_nothing(monkeypatch, environment):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    distributed.start()
    assert distributed.world() == 1


def test_a_trainer_of_others_is_refused_by_several_processes(refuse, monkeypatch):
    monkeypatch.setattr(distributed, "world", lambda: 2)
    message = refuse("--trainer CoCoOp --dataset toy-shapes --shots 2")
    assert "CoCoOp" in message and "torchrun" in message


# -- longer ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_three_processes_do_what_one_does(launch, one, tmp_path):
    lines = [
        f"--trainer {name} --output-dir {tmp_path}/{name} {RUNS[name]}" for name in RUNS
    ]
    done, found = launch(3, *lines)
    assert done.returncode == 0, done.stderr
    for name in RUNS:
        assert_same_run(tmp_path / name, one(name), learns=name in LEARNED)
    assert all(
        set(read(found / f"checks{rank}.json").values()) == {""} for rank in range(3)
    )


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
def test_random_transforms_are_the_same_for_any_number_of_processes(
    launch, tmp_path, workers
):
    augmented = "('random_resized_crop', 'random_flip', 'normalize')"
    settings = (
        f"{BATCH} 7 {TEST_BATCH} 2 DATALOADER.NUM_WORKERS {workers} "
        f'INPUT.TRANSFORMS "{augmented}"'
    )
    for count in (2, 3):
        line = (
            "--trainer VPT --dataset toy-shapes --shots 5 "
            f"--output-dir {tmp_path}/{count}"
        )
        done, _ = launch(count, f"{line} {settings}")
        assert done.returncode == 0, done.stderr
    assert_same_run(tmp_path / "2", tmp_path / "3")


@pytest.mark.long
def test_the_program_itself_runs_two_stages_on_the_pocket_suite(tmp_path):
    program = Path(__file__).resolve().parents[2] / "train.py"
    tasks = "--source pocket-objects,pocket-tiles --dataset pocket-landuse,pocket-faces"
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    torchrun = "-m torch.distributed.run --standalone --nproc-per-node 2"
    for name, start in (("one", ""), ("two", torchrun)):
        words = (
            f"{program} --trainer MUPT {tasks} --shots 2 --output-dir {tmp_path}/{name}"
        )
        command = f"{sys.executable} {start} {words} OPTIM.MAX_EPOCH 2"
        done = finish(command, surroundings)
        assert done.returncode == 0, done.stderr
    # Adam moves θ's biases of keys, which change nothing, by the signs of rounding
    # errors: compare the output of θ.
    assert_same_run(tmp_path / "one", tmp_path / "two", learned=vectors_in)
