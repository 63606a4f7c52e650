"""Two-stage runs by the command line: a source prompt, its adaptation to each target,
and the collected results.
"""

import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from run_files import prompt_in, read, same, state_of

import elevater_eval
from elevater_eval import TaskInfo

SOURCES, TARGETS = "toy-shapes,toy-pets", ["toy-marks", "toy-scenes"]
BASE = f"--dataset {','.join(TARGETS)} --shots 3 --seed 0"


def info(name: str, classes: int, test: int, metric: str, kind: str) -> TaskInfo:
    folder = f"classification/{name.removeprefix('toy-')}"
    return TaskInfo(
        name,
        "toy",
        classes,
        test,
        metric,
        kind,
        f"{folder}/test.txt",
        f"{folder}/labels.txt",
        "iris",
    )


TABLE = {
    "toy-marks": info("toy-marks", 2, 6, "mean-per-class", "multiclass"),
    "toy-scenes": info("toy-scenes", 4, 8, "11point_mAP", "multilabel"),
}


@pytest.fixture(scope="module", params=["MCoOp", "MVPT", "MUPT"])
def two_stages(request, main, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp(request.param) / "run"
    assert (
        main(f"--trainer {request.param} --source {SOURCES} {BASE} --output-dir {out}")
        == 0
    )
    return out


@pytest.fixture(scope="module")
def finished(main, tmp_path_factory) -> Path:
    """Return a two-stage run of MCoOp, not to be changed."""
    out = tmp_path_factory.mktemp("finished") / "run"
    assert main(f"--trainer MCoOp --source {SOURCES} {BASE} --output-dir {out}") == 0
    return out


def test_the_folder_holds_a_source_run_a_run_per_target_and_what_they_give(two_stages):
    out = two_stages
    assert {path.name for path in out.iterdir()} == {
        "config.yaml",
        "log.txt",
        "source",
        "adapt",
        "predictions",
        "results",
        "results.json",
        "results.md",
        "manifest.json",
        "submission.zip",
    }
    assert {path.name for path in (out / "adapt").iterdir()} == set(TARGETS)
    for folder, tasks in (
        (out / "source", SOURCES.split(",")),
        *((out / "adapt" / name, [name]) for name in TARGETS),
    ):
        assert {"config.yaml", "results.json", "prompts.safetensors"} <= {
            path.name for path in folder.iterdir()
        }
        assert {path.name for path in (folder / "fewshot").iterdir()} == {
            f"{task}.json" for task in tasks
        }
        assert {path.name for path in (folder / "predictions").iterdir()} == {
            f"seed0_{task}.json" for task in tasks
        }
        torch.load(folder / "prompt_learner" / "model-best.pth.tar", weights_only=True)
        torch.load(folder / "prompt_learner" / "model.pth.tar-2", weights_only=True)
    for name in TARGETS:
        file = f"predictions/seed0_{name}.json"
        assert (out / file).read_bytes() == (out / "adapt" / name / file).read_bytes()


def means_row(table: str) -> str:
    return next(line for line in table.splitlines() if line.startswith("| mean"))


def test_the_results_compare_adapted_source_and_plain_prompts(
    two_stages, main, tmp_path
):
    records = read(two_stages / "results.json")
    assert [record["task"] for record in records] == TARGETS
    columns = ("zero_shot", "zero_shot_one_template", "source", "score")
    assert all(
        0.0 <= record[column] <= 100.0 for record in records for column in columns
    )
    table = (two_stages / "results.md").read_text()
    for record in records:
        row = next(line for line in table.splitlines() if record["task"] in line)
        assert [
            f"{record[column]:.1f}" for column in ("zero_shot", "source", "score")
        ] == [cell.strip() for cell in row.split("|")[3:6]]
    means = [
        f"{sum(record[column] for record in records) / 2:.1f}"
        for column in ("zero_shot", "source", "score")
    ]
    assert [cell.strip() for cell in means_row(table).split("|")[3:6]] == means

    zero = tmp_path / "zero"
    assert main(f"--trainer ZeroshotCLIP {BASE} --output-dir {zero}") == 0
    assert [record["score"] for record in read(zero / "results.json")] == pytest.approx(
        [record["zero_shot"] for record in records], abs=1e-6
    )
    source = tmp_path / "source"
    trainer = yaml.safe_load((two_stages / "config.yaml").read_text())["TRAINER"][
        "NAME"
    ]
    assert (
        main(
            f"--trainer {trainer} {BASE} --eval-only "
            f"--model-dir {two_stages}/source --output-dir {source}"
        )
        == 0
    )
    assert [
        record["score"] for record in read(source / "results.json")
    ] == pytest.approx([record["source"] for record in records], abs=1e-6)


def test_the_submission_is_valid_and_scores_as_the_results_say(two_stages, root):
    archive = two_stages / "submission.zip"
    issues = elevater_eval.validate(archive, root, tasks=TABLE)
    assert [issue for issue in issues if issue.level == "error"] == []
    scored = {
        record["task"]: 100 * record["score"]
        for record in elevater_eval.score(archive, root, tasks=TABLE)["tasks"]
    }
    assert scored == pytest.approx(
        {
            record["task"]: record["score"]
            for record in read(two_stages / "results.json")
        },
        abs=1e-5,
    )
    with zipfile.ZipFile(archive) as file:
        assert file.namelist() == ["all_predictions.json"]


def test_each_target_starts_from_the_source_prompt(finished, main, tmp_path):
    out = tmp_path / "still"
    assert (
        main(f"--trainer MCoOp --source {SOURCES} {BASE} --output-dir {out} OPTIM.LR 0")
        == 0
    )
    for name in TARGETS:
        assert same(prompt_in(out / "adapt" / name), prompt_in(out / "source"))
    assert all(
        record["score"] == pytest.approx(record["source"], abs=1e-6)
        for record in read(out / "results.json")
    )
    assert not any(
        same(prompt_in(finished / "adapt" / name), prompt_in(finished / "source"))
        for name in TARGETS
    )
    assert not same(prompt_in(finished / "source"), prompt_in(out / "source"))


def test_an_existing_run_can_be_the_source(finished, main, tmp_path):
    out = tmp_path / "adapted"
    assert (
        main(f"--trainer CoOp {BASE} --model-dir {finished}/source --output-dir {out}")
        == 0
    )
    assert not (out / "source").exists()
    mine, theirs = read(out / "results.json"), read(finished / "results.json")
    for column in ("zero_shot", "source", "score"):
        assert [record[column] for record in mine] == [
            record[column] for record in theirs
        ]
    for name in TARGETS:
        assert same(
            prompt_in(out / "adapt" / name), prompt_in(finished / "adapt" / name)
        )


def test_one_target_can_start_from_an_existing_source(finished, main, tmp_path):
    out = tmp_path / "one"
    assert (
        main(
            "--trainer CoOp --dataset toy-marks --shots 3 --seed 0 "
            f"--model-dir {finished}/source --output-dir {out}"
        )
        == 0
    )
    assert same(prompt_in(out), prompt_in(finished / "adapt" / "toy-marks"))


def test_a_chosen_epoch_of_an_existing_source(finished, main, tmp_path):
    out = tmp_path / "last"
    assert (
        main(
            f"--trainer CoOp {BASE} --model-dir {finished}/source --load-epoch 2 "
            f"--output-dir {out} OPTIM.LR 0"
        )
        == 0
    )
    stored = torch.load(
        finished / "source" / "prompt_learner" / "model.pth.tar-2", weights_only=True
    )["state_dict"]
    assert all(same(prompt_in(out / "adapt" / name), stored) for name in TARGETS)


def test_groups_need_a_joint_trainer(main, tmp_path, capsys):
    groups = tmp_path / "groups.yaml"
    groups.write_text("toy-marks: [toy-shapes]\n")
    assert (
        main(f"--trainer CoOp {BASE} --groups {groups} --output-dir {tmp_path}/run")
        == 2
    )
    assert "MCoOp" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_groups_adapt_a_target_with_its_relatives(finished, main, tmp_path):
    groups = tmp_path / "groups.yaml"
    groups.write_text("toy-marks: [toy-marks, toy-shapes]\n")
    out = tmp_path / "run"
    assert (
        main(
            f"--trainer MCoOp {BASE} --groups {groups} "
            f"--model-dir {finished}/source --output-dir {out}"
        )
        == 0
    )
    assert {
        path.name for path in (out / "adapt" / "toy-marks" / "fewshot").iterdir()
    } == {
        "toy-marks.json",
        "toy-shapes.json",
    }
    assert {
        path.name for path in (out / "adapt" / "toy-scenes" / "fewshot").iterdir()
    } == {"toy-scenes.json"}
    assert {path.name for path in (out / "predictions").iterdir()} == {
        "seed0_toy-marks.json",
        "seed0_toy-scenes.json",
    }
    assert [record["task"] for record in read(out / "results.json")] == TARGETS
    assert not same(
        prompt_in(out / "adapt" / "toy-marks"),
        prompt_in(finished / "adapt" / "toy-marks"),
    )
    assert same(
        prompt_in(out / "adapt" / "toy-scenes"),
        prompt_in(finished / "adapt" / "toy-scenes"),
    )


def test_without_shots_the_source_prompt_is_evaluated(main, tmp_path):
    out = tmp_path / "run"
    arguments = (
        f"--trainer MCoOp --source {SOURCES} --dataset {','.join(TARGETS)} "
        f"--shots 0 --output-dir {out}"
    )
    assert main(arguments) == 0
    records = read(out / "results.json")
    assert all(
        record["score"] == pytest.approx(record["source"], abs=1e-6)
        and record["shots"] == 0
        for record in records
    )
    assert (
        elevater_eval.read_predictions(
            out / "predictions" / "seed0_toy-marks.json"
        ).n_shot
        == 0
    )
    assert not any(
        (out / "adapt" / name / "prompt_learner").exists() for name in TARGETS
    )
    # the source stage has other images
    assert read(out / "source" / "fewshot" / "toy-shapes.json")["train"]
    before = state_of(out / "adapt")
    assert main(arguments) == 0
    assert state_of(out / "adapt") == before


def test_source_shots_and_epochs_can_be_set_apart(main, tmp_path):
    out = tmp_path / "run"
    assert (
        main(
            f"--trainer MCoOp --source {SOURCES} {BASE} --output-dir {out} "
            "MULTITASK.SOURCE_SHOTS 2 MULTITASK.SOURCE_EPOCH 1"
        )
        == 0
    )
    assert read(out / "source" / "fewshot" / "toy-pets.json")["shots"] == 2
    assert len(read(out / "source" / "fewshot" / "toy-pets.json")["train"]) == 6
    assert (
        read(out / "adapt" / "toy-marks" / "fewshot" / "toy-marks.json")["shots"] == 3
    )
    assert (out / "source" / "prompt_learner" / "model.pth.tar-1").is_file()
    assert (
        out / "adapt" / "toy-marks" / "prompt_learner" / "model.pth.tar-2"
    ).is_file()


@pytest.mark.parametrize("trainer", ["VPT", "UPT"])
def test_a_single_task_trainer_runs_each_of_several_datasets_alone(
    main, tmp_path, trainer
):
    out, alone = tmp_path / "run", tmp_path / "alone"
    assert main(f"--trainer {trainer} {BASE} --output-dir {out}") == 0
    assert not (out / "source").exists()
    assert [record["task"] for record in read(out / "results.json")] == TARGETS
    assert all(
        "source" not in record and "zero_shot" in record
        for record in read(out / "results.json")
    )
    assert (
        main(
            f"--trainer {trainer} --dataset toy-scenes --shots 3 --seed 0 "
            f"--output-dir {alone}"
        )
        == 0
    )
    assert (
        read(alone / "results.json")[0]["score"]
        == read(out / "results.json")[1]["score"]
    )
    assert same(prompt_in(alone), prompt_in(out / "adapt" / "toy-scenes"))


def test_tasks_in_a_configuration_file_are_run_one_by_one_too(main, quick, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        quick.read_text()
        + f"DATASET: {{DATASET: '{','.join(TARGETS)}', NUM_SHOTS: 3}}\n"
    )
    assert main(f"--trainer CoOp --output-dir {tmp_path}/run", config=file) == 0
    assert {path.name for path in (tmp_path / "run" / "adapt").iterdir()} == set(
        TARGETS
    )


def test_multi_task_chooses_the_joint_trainer(main, tmp_path):
    out = tmp_path / "run"
    assert main(f"--trainer CoOp --multi-task {BASE} --output-dir {out}") == 0
    assert [record["trainer"] for record in read(out / "results.json")] == [
        "MCoOp",
        "MCoOp",
    ]
    assert (out / "prompt_learner").is_dir() and not (out / "adapt").exists()


def test_the_adapted_prompts_can_be_evaluated_again(finished, main, tmp_path):
    out = tmp_path / "again"
    assert (
        main(
            f"--trainer CoOp {BASE} --eval-only --model-dir {finished} --output-dir {out}"
        )
        == 0
    )
    assert [record["score"] for record in read(out / "results.json")] == [
        record["score"] for record in read(finished / "results.json")
    ]


def test_a_two_stage_run_is_evaluated_again_by_its_own_command(
    finished, main, tmp_path
):
    out = tmp_path / "again"
    assert (
        main(
            f"--trainer MCoOp --source {SOURCES} {BASE} --eval-only "
            f"--model-dir {finished} --output-dir {out}"
        )
        == 0
    )
    assert not (out / "source").exists()  # nothing is trained
    for name in TARGETS:
        file = f"predictions/seed0_{name}.json"
        assert (out / file).read_bytes() == (finished / file).read_bytes()


def test_the_log_says_that_one_shot_validates_on_the_training_images(main, tmp_path):
    arguments = "--trainer CoOp --dataset toy-shapes --shots"
    assert main(f"{arguments} 1 --output-dir {tmp_path}/one") == 0
    assert main(f"{arguments} 3 --output-dir {tmp_path}/three") == 0
    said = "toy-shapes: with one shot, the validation images are the training images"
    assert said in (tmp_path / "one" / "log.txt").read_text()
    assert said not in (tmp_path / "three" / "log.txt").read_text()
