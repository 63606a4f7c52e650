"""The record of a run: a configuration that repeats it, a log, and nothing of the
machine it ran on.
"""

import json
import re
import shlex
from pathlib import Path

import pytest

import train
import trainers
from trainers.engine import command_line
from trainers.engine.config import differences, load

ONE = "--dataset toy-shapes --shots 3"


def configured(command):
    """Return the configuration of a command line."""
    args = train.arguments().parse_args(shlex.split(command))
    return command_line.configuration(args)


@pytest.fixture(scope="module")
def run(main, tmp_path_factory):
    out = tmp_path_factory.mktemp("written") / "run"
    assert (
        main(
            "--trainer MUPT --dataset toy-shapes,toy-scenes --source toy-pets "
            f"--shots 3 --seed 0 --output-dir {out} TRAINER.MVLPT.PROJECT_LAYERS 2 "
            "MULTITASK.MIXING uniform"
        )
        == 0
    )
    return out


def test_a_run_s_configuration_is_taken_back(run, main, root, tmp_path):
    cfg = load(run / "config.yaml")
    again = configured(f"--config-file {run}/config.yaml")
    assert differences(cfg, again) == []
    assert (
        again.TRAINER.NAME == "MUPT"
        and again.TRAINER.MVLPT.PROJECT_LAYERS == 2
        and again.SEED == 0
    )
    assert main(f"--output-dir {tmp_path}/again", config=run / "config.yaml") == 0
    for file in (
        "results.json",
        "results.md",
        "submission.zip",
        "predictions/seed0_toy-scenes.json",
        "source/predictions/seed0_toy-pets.json",
    ):
        assert (tmp_path / "again" / file).read_bytes() == (run / file).read_bytes()
    assert (tmp_path / "again" / "config.yaml").read_bytes() == (
        run / "config.yaml"
    ).read_bytes()


def test_a_stage_s_configuration_repeats_it_alone(run, main, tmp_path):
    assert (
        main(f"--output-dir {tmp_path}/again", config=run / "source" / "config.yaml")
        == 0
    )
    assert (tmp_path / "again/predictions/seed0_toy-pets.json").read_bytes() == (
        run / "source/predictions/seed0_toy-pets.json"
    ).read_bytes()


def test_a_configuration_taken_back_can_be_changed(run):
    again = configured(f"--config-file {run}/config.yaml --seed 2 OPTIM.LR 0.25")
    assert set(differences(load(run / "config.yaml"), again)) == {
        "SEED",
        "DATASET.RANDOM_SEED_SAMPLING",
        "OPTIM.LR",
    }


def shared_files(run):
    return [
        path
        for path in run.rglob("*")
        if path.suffix
        in (".yaml", ".json", ".md", ".safetensors", ".zip", ".tar-2", ".tar")
    ]


def test_no_file_to_share_names_a_place_on_this_machine(run, root):
    paths = [
        str(root),
        str(run),
        str(Path.home()),
        str(Path(trainers.__file__).parents[1]),
    ]
    files = shared_files(run)
    assert len(files) > 20
    for path in files:
        content = path.read_bytes().decode("utf-8", errors="ignore")
        assert [part for part in paths if len(part) > 5 and part in content] == [], path
    for path in run.rglob("*.json"):
        strings = re.findall(r'"([^"]*)"', path.read_text())
        assert [string for string in strings if string.startswith(("/", "~"))] == [], (
            path
        )


def test_a_checkpoint_s_path_as_the_backbone_is_not_written_down(
    main, stubs, tmp_path, monkeypatch
):
    """Expect only the name of `--backbone FILE`, whose path belongs to this machine."""
    monkeypatch.setitem(stubs, str(tmp_path / "tiny.pt"), stubs["pocket"])
    out = tmp_path / "run"
    assert (
        main(f"--trainer CoOp {ONE} --backbone {tmp_path}/tiny.pt --output-dir {out}")
        == 0
    )
    assert json.loads((out / "results.json").read_text())[0]["backbone"] == "tiny.pt"
    assert [
        path.name
        for path in shared_files(out)
        if str(tmp_path).encode() in path.read_bytes()
    ] == []


@pytest.mark.parametrize("given", ["--backbone", "MODEL.BACKBONE.NAME"])
def test_a_backbone_s_folder_is_not_written_down(
    main, stubs, tmp_path, monkeypatch, given
):
    monkeypatch.setitem(stubs, str(tmp_path / "models/RN50"), stubs["pocket"])
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "run"
    words = f"--trainer CoOp {ONE} --output-dir {out}"
    assert main(f"{words} {given} local-dir:models/RN50") == 0
    assert json.loads((out / "results.json").read_text())[0]["backbone"] == "RN50"
    assert not [
        path.name
        for path in shared_files(out)
        if str(tmp_path).encode() in path.read_bytes()
        or b"local-dir" in path.read_bytes()
    ]


def test_the_log_says_what_the_console_showed(main, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(f"--trainer CoOp {ONE} --seed 0 --output-dir {out}") == 0
    shown = capsys.readouterr().out
    log = (out / "log.txt").read_text()
    assert [
        line for line in log.splitlines() if ": epoch " not in line
    ] == shown.splitlines()
    assert "dassl" in log.splitlines()[0]
    assert "3 shots" in log and "seed 0" in log and "toy-shapes" in log


def test_the_default_folder_is_named_after_the_run(main, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(f"--trainer CoOp {ONE}") == 0
    assert (
        tmp_path / "output" / "CoOp_toy-shapes_3shots_seed0" / "results.json"
    ).is_file()


def test_zero_shot_is_multitask_already(main, tmp_path):
    assert (
        main(
            "--trainer ZeroshotCLIP --multi-task --dataset toy-shapes,toy-pets "
            f"--shots 3 --output-dir {tmp_path}/run"
        )
        == 0
    )
    assert len(json.loads((tmp_path / "run" / "results.json").read_text())) == 2


def test_without_training_the_first_prompt_is_evaluated(main, tmp_path):
    out = tmp_path / "run"
    assert main(f"--trainer CoOp {ONE} --no-train --output-dir {out}") == 0
    assert (
        not (out / "prompt_learner").exists()
        and (out / "predictions" / "seed0_toy-shapes.json").is_file()
    )
