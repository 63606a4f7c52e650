import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from elevater_eval import combine, load_tasks, validate
from elevater_eval.__main__ import main

REPOSITORY = Path(__file__).parents[2]


def errors(path, **options):
    return [
        str(problem)
        for problem in validate(path, **options)
        if problem.level == "error"
    ]


def warnings(path, **options):
    return [
        str(problem)
        for problem in validate(path, **options)
        if problem.level == "warning"
    ]


def test_the_table_has_the_sizes_of_the_benchmark():
    tasks = load_tasks()
    suite = [
        task
        for task in tasks.values()
        if task.suite == "elevater" and not task.reference
    ]
    assert len(suite) == 20 and tasks["imagenet-1k"].reference
    assert (
        sum(task.classes for task in suite) == 1151
        and sum(task.test for task in suite) == 192677
    )
    by_metric = {
        metric: sum(task.metric == metric for task in suite)
        for metric in {task.metric for task in suite}
    }
    assert by_metric == {
        "accuracy": 14,
        "mean-per-class": 4,
        "11point_mAP": 1,
        "roc_auc": 1,
    }
    assert [
        task.name
        for task in tasks.values()
        if task.label_kind == "multilabel" and task.suite == "elevater"
    ] == ["voc-2007-classification"]
    coco = {"hateful-memes", "kitti-distance", "resisc45_clip", "imagenet-1k"}
    assert {
        task.name
        for task in tasks.values()
        if task.format == "coco" and task.suite == "elevater"
    } == coco


def test_a_partial_submission_is_valid_with_a_warning(write_zip, two_tasks, capsys):
    path = write_zip(two_tasks)
    assert errors(path) == []
    assert (
        len(warnings(path)) == 1
        and "18 of the 20 tasks of suite 'elevater' are missing: caltech-101"
        in warnings(path)[0]
    )
    assert main(shlex.split(f"validate {path}")) == 0
    assert "valid: 2 tasks, 0 errors, 1 warnings" in capsys.readouterr().out
    assert main(shlex.split(f"validate {path} --leaderboard")) == 2
    assert "INVALID: 2 tasks, 1 errors" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seeds", "n_shot", "message"),
    [
        (
            (0,),
            5,
            "rnd_seeds [0], but the track with n_shot 5 takes [0, 1, 2]: hateful-memes",
        ),
        ((0, 1, 3), 5, "rnd_seeds [0, 1, 3]"),
        ((1,), 0, "rnd_seeds [1], but the track with n_shot 0 takes [0]"),
        ((0, 1, 2), -1, "the track with n_shot -1 takes [0]"),
        ((0, 1, 2), 20, "n_shot 20 has no leaderboard track"),
    ],
)
def test_what_the_leaderboard_does_not_take_is_a_warning(
    write_zip, record, seeds, n_shot, message
):
    path = write_zip([record("hateful-memes", 500, 2, seeds, n_shot)])
    assert errors(path) == []
    assert any(message in line for line in warnings(path))
    assert any(message in line for line in errors(path, leaderboard=True))


def test_a_complete_suite_has_no_warning(write_zip, record):
    table = {
        name: task
        for name, task in load_tasks().items()
        if name in ("hateful-memes", "kitti-distance", "imagenet-1k")
    }
    path = write_zip(
        [record("hateful-memes", 500, 2), record("kitti-distance", 711, 4)]
    )
    assert validate(path, tasks=table, leaderboard=True) == []


def test_suites_come_from_the_table_alone(tmp_path, write_zip, record):
    fields = {
        "metric": "accuracy",
        "label_kind": "multiclass",
        "test_index": "i",
        "labelmap": None,
        "format": "iris",
    }
    table = {
        f"toy-{c}": {"suite": "toy", "classes": 3, "test": 2, "more": 1, **fields}
        for c in "ab"
    }
    (tmp_path / "tasks.json").write_text(json.dumps(table))
    tasks = load_tasks(tmp_path / "tasks.json")
    path = write_zip([record("toy-a", 2, 3)])
    assert [str(p) for p in validate(path, tasks=tasks)] == [
        f"warning: {path}/all_predictions.json: 1 of the 2 tasks of suite 'toy' are missing: toy-b"
    ]


def test_rounded_rows_of_many_classes_are_within_tolerance(write_zip, record):
    entry = record("kitti-distance", 711, 4)
    entry["predictions"][0][0] = [0.2504, 0.2502, 0.25, 0.25]
    assert errors(write_zip([entry])) == []


def test_an_unknown_task_is_a_warning_and_its_seeds_must_agree_in_size(
    write_zip, record
):
    entry = record("birds-of-my-garden", 4, 3, (0, 1))
    assert any("sizes not checked" in line for line in warnings(write_zip([entry])))
    entry["predictions"][1].pop()
    assert "seed 1: 3 rows, but 4 for seed 0" in errors(write_zip([entry]))[0]


def test_row_sums_of_a_multilabel_task_are_free(write_zip, record, data_root):
    entry = record("voc-2007-classification", 4, 3)
    entry["predictions"][0][0] = [1.0, 1.0, 0.0]
    assert errors(write_zip([entry]), root=data_root) == []


def test_sizes_come_from_the_data_root(write_zip, record, data_root):
    path = write_zip(
        [
            record("mnist", 30, 10),
            record("hateful-memes", 3, 2),
            record("kitti-distance", 711, 4),
        ]
    )
    assert errors(path, root=data_root) == []
    assert any(
        "kitti-distance" in line and "test_meta.json does not exist" in line
        for line in warnings(path, root=data_root)
    )
    assert len(errors(path)) == 2
    lines = errors(write_zip([record("dtd", 4, 4)]), root=data_root)
    assert (
        "4 rows, but 3 in the index file" in lines[0]
        and "4 columns, but 3 in the index file" in lines[1]
    )


def test_prediction_files_and_folders_are_checked_too(tmp_path, run_folder, capsys):
    run = run_folder(
        "run", {"hateful-memes": (500, 2), "kitti-distance": (711, 4)}, (0, 1, 2)
    )
    assert main(shlex.split(f"validate {run}")) == 0
    assert "not a zip archive" in capsys.readouterr().out
    file = run / "predictions" / "seed1_hateful-memes.json"
    assert errors(file) == []
    entry = json.loads(file.read_text())
    entry["predictions"][0].pop()
    file.write_text(json.dumps(entry))
    assert f"{file}: hateful-memes, seed 1: 499 rows" in errors(file)[0]
    unpacked = tmp_path / "all_predictions.json"
    unpacked.write_text(json.dumps({"data": [entry]}))
    assert "499 rows" in errors(unpacked)[0]


def test_what_combine_writes_is_valid(tmp_path, run_folder):
    run = run_folder(
        "run", {"hateful-memes": (500, 2), "kitti-distance": (711, 4)}, (0, 1, 2)
    )
    issues = validate(combine(run, tmp_path / "s.zip"))
    assert [issue.level for issue in issues] == [
        "warning"
    ] and "18 of the 20" in issues[0].message


def test_the_module_runs_as_a_command(tmp_path):
    command = [
        sys.executable,
        "-m",
        "elevater_eval",
        "validate",
        str(tmp_path / "absent.zip"),
    ]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert (
        done.returncode == 2
        and done.stderr == f"error: {tmp_path / 'absent.zip'} does not exist\n"
    )
