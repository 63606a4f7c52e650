"""Runs in a folder that holds something already: reused, continued, refused or, if
asked for, overwritten.
"""

from pathlib import Path

import pytest
from run_files import prompt_in, same, state_of

SOURCES, TARGETS = "toy-shapes,toy-pets", ["toy-marks", "toy-scenes"]
BASE = f"--dataset {','.join(TARGETS)} --shots 3 --seed 0"


@pytest.fixture(scope="module")
def finished(main, tmp_path_factory) -> Path:
    """Return a two-stage run of MCoOp, not to be changed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert main(f"--trainer MCoOp --source {SOURCES} {BASE} --output-dir {out}") == 0
    return out


def test_a_finished_run_is_reused(main, tmp_path, capsys):
    out = tmp_path / "run"
    arguments = f"--trainer MCoOp --source {SOURCES} {BASE} --output-dir {out}"
    assert main(arguments) == 0
    before = {part: state_of(out / part) for part in ("source", "adapt", "predictions")}
    results = (out / "results.json").read_bytes(), (out / "submission.zip").read_bytes()
    capsys.readouterr()
    assert main(arguments) == 0
    assert capsys.readouterr().out.count(": reused") == 3
    assert {part: state_of(out / part) for part in ("source", "adapt")} == {
        part: before[part] for part in ("source", "adapt")
    }
    assert (
        (out / "results.json").read_bytes(),
        (out / "submission.zip").read_bytes(),
    ) == results


def test_what_a_killed_process_left_in_the_results_is_removed(main, tmp_path):
    out = tmp_path / "run"
    command = f"--trainer MCoOp --source {SOURCES} {BASE} --output-dir {out}"
    assert main(command) == 0
    (out / "results.json").unlink()
    left = [out / name / ".some.csv.1.tmp" for name in ("results", "predictions", ".")]
    for path in left:
        path.write_text("half")
    assert main(command, "--resume auto") == 0
    assert not [path for path in left if path.exists()]


def test_every_line_is_shown_once(main, tmp_path, capsys):
    assert (
        main(f"--trainer MCoOp --source {SOURCES} {BASE} --output-dir {tmp_path}/run")
        == 0
    )
    captured = capsys.readouterr()
    for line in ("stage 2: ", "toy-marks: zero-shot", "toy-scenes: zero-shot"):
        assert captured.out.count(line) + captured.err.count(line) == 1, line
        assert (tmp_path / "run" / "log.txt").read_text().count(line) == 1


def test_an_unfinished_run_goes_on_where_it_stopped_if_asked_to(
    finished, main, tmp_path, capsys
):
    out = tmp_path / "run"
    arguments = f"--trainer MCoOp --source {SOURCES} {BASE} --output-dir {out}"
    assert main(arguments) == 0
    kept = {part: state_of(out / part) for part in ("source", "adapt/toy-marks")}
    for file in (
        "adapt/toy-scenes/results.json",
        "adapt/toy-scenes/prompts.safetensors",
        "results.json",
        "submission.zip",
    ):
        (out / file).unlink()
    before = state_of(out)
    assert main(arguments) == 2
    assert "--resume auto" in capsys.readouterr().err and state_of(out) == before
    assert main(f"{arguments} --resume auto") == 0
    assert {part: state_of(out / part) for part in kept} == kept
    assert (out / "results.json").read_bytes() == (
        finished / "results.json"
    ).read_bytes()
    assert same(
        prompt_in(out / "adapt" / "toy-scenes"),
        prompt_in(finished / "adapt" / "toy-scenes"),
    )


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ("OPTIM.LR 0.25", "OPTIM.LR"),
        ("--seed 7", "SEED"),
        ("--shots 2", "DATASET.NUM_SHOTS"),
        ("--source toy-shapes", "MULTITASK.SOURCE"),
        ("--dataset toy-marks", "DATASET.DATASET"),
        ("--trainer MVPT", "TRAINER.NAME"),
    ],
)
def test_a_folder_of_another_configuration_is_refused(
    finished, main, capsys, change, key
):
    before = state_of(finished)
    assert (
        main(
            f"--trainer MCoOp --source {SOURCES} {BASE} --output-dir {finished} {change}"
        )
        == 2
    )
    message = capsys.readouterr().err
    assert key in message and str(finished) in message and "--overwrite" in message
    assert state_of(finished) == before


def test_a_folder_can_be_overwritten(main, tmp_path):
    out = tmp_path / "run"
    arguments = f"--trainer CoOp --dataset toy-marks --shots 3 --output-dir {out}"
    assert main(arguments) == 0
    assert main(f"{arguments} --seed 5 --overwrite") == 0
    assert {path.name for path in (out / "predictions").iterdir()} == {
        "seed5_toy-marks.json"
    }


@pytest.mark.long
def test_another_start_is_another_run(finished, main, tmp_path):
    """Expect that the same command with another --model-dir does not take the first
    one's results.
    """
    other, out = tmp_path / "other", tmp_path / "out"
    assert (
        main(f"--trainer MCoOp --dataset toy-shapes --shots 2 --output-dir {other}")
        == 0
    )
    command = (
        f"--trainer CoOp --dataset toy-scenes --shots 3 --output-dir {out} --model-dir"
    )
    assert main(f"{command} {finished}/source") == 0
    first = prompt_in(out)
    code = main(f"{command} {other}")
    assert code == 2 or (code == 0 and not same(prompt_in(out), first))


@pytest.mark.parametrize(
    "mistake",
    [
        "--dataset toy-mark",
        "OPTIM.LRR 1",
        "--backbone pockett",
        "TRAINER.MVLPT.COOP.N_CTX 0",
    ],
)
def test_overwriting_waits_until_the_command_is_known_to_be_right(
    main, tmp_path, mistake
):
    out = tmp_path / "run"
    command = f"--trainer CoOp --dataset toy-marks --shots 3 --output-dir {out}"
    assert main(command) == 0
    before = state_of(out)
    assert main(f"{command} --overwrite {mistake}") == 2
    assert state_of(out) == before


def test_only_a_run_is_overwritten(main, tmp_path, capsys):
    letters = tmp_path / "letters"
    letters.mkdir()
    (letters / "dear.txt").write_text("diary")
    code = main(
        f"--trainer CoOp --dataset toy-marks --shots 3 --output-dir {letters} "
        "--overwrite"
    )
    assert (letters / "dear.txt").is_file()
    assert code == 2 and str(letters) in capsys.readouterr().err


@pytest.mark.parametrize("before", ["--no-train", "--eval-only --model-dir {source}"])
def test_an_evaluation_is_not_taken_for_a_finished_training(
    finished, main, tmp_path, before
):
    out = tmp_path / "out"
    command = f"--trainer CoOp --dataset toy-scenes --shots 3 --output-dir {out}"
    before = before.format(source=finished / "source")
    assert main(f"{command} {before}") == 0
    assert not (out / "prompt_learner").exists()
    code = main(command)
    assert code == 2 or (out / "prompt_learner" / "model.pth.tar-2").is_file()


def test_resuming_goes_on_in_the_run_s_folder(finished, main, tmp_path, capsys):
    for argv, words in [
        (f"--resume {tmp_path}", [str(tmp_path), "config.yaml"]),
        (
            f"--resume {finished} --output-dir {tmp_path}/other",
            [str(finished), "--output-dir"],
        ),
        (
            f"--resume auto --overwrite --output-dir {finished}",
            ["--resume", "--overwrite"],
        ),
        (f"--resume {finished} OPTIM.LR 0.25", ["OPTIM.LR"]),
    ]:
        flags = f"--trainer MCoOp --source {SOURCES} {BASE}"
        assert main(f"{flags} {argv}") == 2
        message = capsys.readouterr().err
        assert [word for word in words if word not in message] == []
    assert main(f"{flags} --resume {finished}") == 0  # it is finished: reused
    assert capsys.readouterr().out.count(": reused") == 3


def test_a_trainer_for_dassl_alone_continues_by_itself_as_on_dassl(
    main, tmp_path, capsys
):
    out = tmp_path / "run"
    flags = f"--trainer CoCoOp --dataset toy-shapes --shots 3 --output-dir {out}"
    keys = "TRAINER.COCOOP.PREC fp32 TRAINER.COCOOP.N_CTX 4 TRAIN.CHECKPOINT_FREQ 1"
    assert main(f"{flags} {keys}") == 0
    assert main(f"{flags} {keys}") == 0
    assert main(f"{flags} {keys} OPTIM.LR 0.25") == 2
    assert "OPTIM.LR" in capsys.readouterr().err
    assert main(f"{flags} --resume auto {keys}") == 0
    assert main(f"{flags} --overwrite {keys}") == 0
