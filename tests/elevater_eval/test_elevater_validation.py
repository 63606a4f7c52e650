import json
import subprocess
import sys
from pathlib import Path

import pytest

from elevater_eval import combine, load_tasks, validate
from elevater_eval.__main__ import main

REPOSITORY = Path(__file__).parents[2]


def errors(path, **options):
    return [str(problem) for problem in validate(path, **options) if problem.level == "error"]


def warnings(path, **options):
    return [str(problem) for problem in validate(path, **options) if problem.level == "warning"]


def test_the_table_has_the_sizes_of_the_benchmark():
    tasks = load_tasks()
    suite = [task for task in tasks.values() if task.suite == "elevater" and not task.reference]
    assert len(suite) == 20 and tasks["imagenet-1k"].reference
    assert sum(task.classes for task in suite) == 1151 and sum(task.test for task in suite) == 192677
    by_metric = {metric: sum(task.metric == metric for task in suite) for metric in {task.metric for task in suite}}
    assert by_metric == {"accuracy": 14, "mean-per-class": 4, "11point_mAP": 1, "roc_auc": 1}
    assert [task.name for task in tasks.values() if task.label_kind == "multilabel" and task.suite == "elevater"] == [
        "voc-2007-classification"
    ]
    coco = {"hateful-memes", "kitti-distance", "resisc45_clip", "imagenet-1k"}
    assert {task.name for task in tasks.values() if task.format == "coco" and task.suite == "elevater"} == coco


def test_a_partial_submission_is_valid_with_a_warning(write_zip, two_tasks, capsys):
    path = write_zip(two_tasks)
    assert errors(path) == []
    assert (
        len(warnings(path)) == 1
        and "18 of the 20 tasks of suite 'elevater' are missing: caltech-101" in warnings(path)[0]
    )
    assert main(["validate", str(path)]) == 0
    assert "valid: 2 tasks, 0 errors, 1 warnings" in capsys.readouterr().out
    assert main(["validate", str(path), "--leaderboard"]) == 2
    assert "INVALID: 2 tasks, 1 errors" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seeds", "n_shot", "message"),
    [
        ((0,), 5, "rnd_seeds [0], but the track with n_shot 5 takes [0, 1, 2]: hateful-memes"),
        ((0, 1, 3), 5, "rnd_seeds [0, 1, 3]"),
        ((1,), 0, "rnd_seeds [1], but the track with n_shot 0 takes [0]"),
        ((0, 1, 2), -1, "the track with n_shot -1 takes [0]"),
        ((0, 1, 2), 20, "n_shot 20 has no leaderboard track"),
    ],
)
def test_what_the_leaderboard_does_not_take_is_a_warning(write_zip, record, seeds, n_shot, message):
    path = write_zip([record("hateful-memes", 500, 2, seeds, n_shot)])
    assert errors(path) == []
    assert any(message in line for line in warnings(path))
    assert any(message in line for line in errors(path, leaderboard=True))


def test_a_complete_suite_has_no_warning(write_zip, record):
    table = {
        name: task for name, task in load_tasks().items() if name in ("hateful-memes", "kitti-distance", "imagenet-1k")
    }
    path = write_zip([record("hateful-memes", 500, 2), record("kitti-distance", 711, 4)])
    assert validate(path, tasks=table, leaderboard=True) == []


def test_suites_come_from_the_table_alone(tmp_path, write_zip, record):
    fields = {"metric": "accuracy", "label_kind": "multiclass", "test_index": "i", "labelmap": None, "format": "iris"}
    table = {f"toy-{c}": {"suite": "toy", "classes": 3, "test": 2, "more": 1, **fields} for c in "ab"}
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


def change_entry(**fields):
    return lambda data: data[1].update(fields)


def change_row(row, values):
    def change(data):
        data[1]["predictions"][2][row] = values

    return change


def change_fold(function):
    def change(data):
        data[1]["predictions"][1] = function(data[1]["predictions"][1])

    return change


def rename_key(old, new):
    def change(data):
        data[1][new] = data[1].pop(old)

    return change


KITTI = "submission.zip/all_predictions.json: kitti-distance"
DAMAGE = {
    "missing key": (lambda data: data[1].pop("n_shot"), f"{KITTI}: key 'n_shot' is missing"),
    "unknown key": (change_entry(note=1), f"{KITTI}: unknown key 'note'"),
    "misspelt key": (rename_key("num_params", "num_param"), "'num_param'; did you mean 'num_params'?"),
    "not an object": (lambda data: data.append(3), "all_predictions.json: data[2]: an object"),
    "name of wrong type": (change_entry(dataset_name=7), "data[1]: dataset_name must be a non-empty string"),
    "empty model name": (change_entry(model_name=" "), f"{KITTI}: model_name must be"),
    "n_shot of wrong type": (change_entry(n_shot=5.0), f"{KITTI}: n_shot must be -1, 0 or a positive integer, got 5.0"),
    "n_shot below -1": (change_entry(n_shot=-5), f"{KITTI}: n_shot must be"),
    "seeds of wrong type": (change_entry(rnd_seeds="012"), f"{KITTI}: rnd_seeds must be a non-empty list of integers"),
    "duplicate seeds": (change_entry(rnd_seeds=[0, 1, 1]), f"{KITTI}: rnd_seeds [0, 1, 1] holds seed 1 more than once"),
    "fewer seeds than folds": (change_entry(rnd_seeds=[0, 1]), f"{KITTI}: predictions hold 3 folds, rnd_seeds name 2"),
    "predictions no list": (change_entry(predictions={}), f"{KITTI}: predictions must be a list, got an empty object"),
    "no folds": (change_entry(predictions=[]), f"{KITTI}: predictions hold 0 folds"),
    "empty fold": (change_fold(lambda fold: []), f"{KITTI}, seed 1: a fold must be a non-empty list"),
    "too few rows": (change_fold(lambda fold: fold[:-1]), f"{KITTI}, seed 1: 710 rows, but 711 expected"),
    "too many columns": (
        change_fold(lambda fold: [[*row, 0.0] for row in fold]),
        f"{KITTI}, seed 1: 5 columns, but 4 expected",
    ),
    "ragged rows": (change_row(17, [0.5, 0.5]), f"{KITTI}, seed 2: row 17 has 2 columns, row 0 has 4"),
    "row no list": (change_row(17, 0.5), f"{KITTI}, seed 2: row 17 must be a non-empty list"),
    "text in a row": (change_row(17, [1.0, 0.0, "0", 0.0]), f"{KITTI}, seed 2: row 17, column 2: '0' is not a number"),
    "boolean in a row": (change_row(17, [True, 0, 0, 0]), f"{KITTI}, seed 2: row 17, column 0: True is not a number"),
    "value above 1": (change_row(17, [1.2, 0, 0, 0]), f"{KITTI}, seed 2: row 17, column 0: 1.2 is outside [0, 1]"),
    "value below 0": (change_row(17, [1, -0.1, 0, 0.1]), f"{KITTI}, seed 2: row 17, column 1: -0.1 is outside [0, 1]"),
    "huge integer": (change_row(17, [10**400, 0, 0, 0]), f"{KITTI}, seed 2: an integer is too large"),
    "NaN": (change_row(17, [float("nan"), 0, 0, 0]), f"{KITTI}, seed 2: row 17, column 0: nan is not finite"),
    "infinity": (change_row(17, [0, 0, float("inf"), 0]), f"{KITTI}, seed 2: row 17, column 2: inf is not finite"),
    "NaN token": (change_row(17, [float("nan"), 0, 0, 0]), "all_predictions.json: the token NaN is not JSON"),
    "row sum": (change_row(17, [0.5, 0.4985, 0, 0]), f"{KITTI}, seed 2: row 17 sums to 0.998500"),
    "logits": (change_row(17, [4.2, -3.0, 0.1, 0.2]), "(and 1 more)"),
    "unknown task": (change_entry(dataset_name="kitti_distance"), "'kitti_distance'; did you mean 'kitti-distance'?"),
    "duplicate task": (lambda data: data.append(data[1]), f"{KITTI}: task 'kitti-distance' occurs more than once"),
    "other n_shot": (
        lambda data: (data.append({**data[0], "dataset_name": "toy"}), data[1].update(n_shot=20)),
        "n_shot is 20, but 5",
    ),
    "other model": (
        lambda data: (data.append({**data[0], "dataset_name": "toy"}), data[1].update(model_name="x")),
        f"{KITTI}: model_name is 'x', but 'm' in",
    ),
    "name of two lines": (change_entry(dataset_name="a\nb"), "data[1]: dataset_name must be a non-empty string"),
    "huge count": (change_entry(num_params=10**400), f"{KITTI}: num_params is too large"),
    "negative count": (change_entry(num_visual_params=-1), f"{KITTI}: num_visual_params must not be negative"),
    "fractional count": (change_entry(num_backbone_params=1.5), f"{KITTI}: num_backbone_params must be an integer"),
    "boolean count": (change_entry(num_params=True), f"{KITTI}: num_params must be an integer, got True"),
    "infinite count": (change_entry(num_trainable_params=1e999), f"{KITTI}: num_trainable_params must be an integer"),
    "fewer params than visual": (change_entry(num_params=59), "num_params (59) is less than num_visual_params (60)"),
    "backbone below visual": (change_entry(num_backbone_params=59), "num_backbone_params (59) is less than"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_to_the_content_is_named(write_zip, two_tasks, capsys, name):
    change, message = DAMAGE[name]
    change(two_tasks)
    path = write_zip(two_tasks)
    assert any(message in line for line in errors(path)), errors(path)
    assert main(["validate", str(path)]) == 2
    out, err = capsys.readouterr()
    assert (
        message in out and err == "" and all(len(line) < 400 for line in out.splitlines() if line.startswith("error"))
    )


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def corrupt(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


ARCHIVES = {
    "not a zip": (lambda path: path.write_text("hello"), "not a zip archive"),
    "truncated": (truncate, "not a zip archive, or a truncated one"),
    "corrupt": (corrupt, "the zip cannot be read"),
    "empty file": (lambda path: path.write_bytes(b""), "not a zip archive"),
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_damage_to_the_archive_is_named(write_zip, two_tasks, capsys, name):
    damage, message = ARCHIVES[name]
    path = write_zip(two_tasks)
    damage(path)
    lines = errors(path)
    assert len(lines) == 1 and lines[0].startswith(f"error: {path}") and message in lines[0]
    assert main(["validate", str(path)]) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100000, "not JSON"),
        ("null", "an object is expected"),
        ("[]", "the top level must be an object with the key 'data'"),
        ('{"dat": []}', "the key 'data'"),
        ('{"data": []}', "'data' must be a non-empty list"),
        ('{"data": {}}', "'data' must be a non-empty list"),
        ('{"data": [{}], "data": [{}]}', "key 'data' occurs more than once"),
        ('{"data": [{}], "version": 1}', "unknown key 'version' beside 'data'"),
    ],
)
def test_damage_to_the_top_level_is_named(write_zip, text, message):
    path = write_zip(text)
    lines = errors(path)
    assert any(line.startswith(f"error: {path}/all_predictions.json: ") and message in line for line in lines), lines


def test_wrong_and_extra_members_are_named(write_zip, two_tasks):
    assert "it holds 'predictions.json'" in errors(write_zip(two_tasks, member="predictions.json"))[0]
    import zipfile

    path = write_zip(two_tasks)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/x", "")
    assert "it holds 'all_predictions.json', '__MACOSX/x'" in errors(path)[0]


def test_an_unknown_task_is_a_warning_and_its_seeds_must_agree_in_size(write_zip, record):
    entry = record("birds-of-my-garden", 4, 3, (0, 1))
    assert any("sizes not checked" in line for line in warnings(write_zip([entry])))
    entry["predictions"][1].pop()
    assert "seed 1: 3 rows, but 4 for seed 0" in errors(write_zip([entry]))[0]


def test_row_sums_of_a_multilabel_task_are_free(write_zip, record, data_root):
    entry = record("voc-2007-classification", 4, 3)
    entry["predictions"][0][0] = [1.0, 1.0, 0.0]
    assert errors(write_zip([entry]), root=data_root) == []


def test_sizes_come_from_the_data_root(write_zip, record, data_root):
    path = write_zip([record("mnist", 30, 10), record("hateful-memes", 3, 2), record("kitti-distance", 711, 4)])
    assert errors(path, root=data_root) == []
    assert any(
        "kitti-distance" in line and "test_meta.json does not exist" in line for line in warnings(path, root=data_root)
    )
    assert len(errors(path)) == 2
    lines = errors(write_zip([record("dtd", 4, 4)]), root=data_root)
    assert "4 rows, but 3 in the index file" in lines[0] and "4 columns, but 3 in the index file" in lines[1]


def test_prediction_files_and_folders_are_checked_too(tmp_path, run_folder, capsys):
    run = run_folder("run", {"hateful-memes": (500, 2), "kitti-distance": (711, 4)}, (0, 1, 2))
    assert main(["validate", str(run)]) == 0
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
    run = run_folder("run", {"hateful-memes": (500, 2), "kitti-distance": (711, 4)}, (0, 1, 2))
    problems = validate(combine(run, tmp_path / "s.zip"))
    assert [problem.level for problem in problems] == ["warning"] and "18 of the 20" in problems[0].message


def test_the_module_runs_as_a_command(tmp_path):
    command = [sys.executable, "-m", "elevater_eval", "validate", str(tmp_path / "absent.zip")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == f"error: {tmp_path / 'absent.zip'} does not exist\n"
