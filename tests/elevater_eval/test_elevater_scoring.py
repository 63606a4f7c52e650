import json
import shlex

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from elevater_eval import InvalidSubmissionError, combine, load_tasks, score
from elevater_eval.__main__ import main
from elevater_eval.labels import read_labels

SIZES = {
    "mnist": (30, 10),
    "dtd": (3, 3),
    "voc-2007-classification": (4, 3),
    "hateful-memes": (3, 2),
}


def folds(run, task, seeds):
    files = [run / "predictions" / f"seed{seed}_{task}.json" for seed in seeds]
    return [np.array(json.loads(file.read_text())["predictions"][0]) for file in files]


def test_labels_follow_the_order_of_submission(data_root):
    tasks = load_tasks()
    assert read_labels(data_root, tasks["dtd"]).targets.tolist() == [2, 0, 1]
    memes = read_labels(data_root, tasks["hateful-memes"])
    # images 4, 21, 30; categories 3, 9
    assert memes.targets.tolist() == [1, 0, 1] and memes.classes == 2
    voc = read_labels(data_root, tasks["voc-2007-classification"])
    assert voc.targets.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("task", "file", "text", "message"),
    [
        (
            "dtd",
            "dtd_20211007/test.txt",
            "a.jpg 3\n",
            "label 3, but there are 3 classes",
        ),
        ("dtd", "dtd_20211007/test.txt", "a.jpg 0\nb c.jpg\n", "image 1 has no label"),
        ("dtd", "dtd_20211007/test.txt", "\n", "no images"),
        ("hateful-memes", "hateful_memes_20211014/test_meta.json", "{", "not JSON"),
        (
            "hateful-memes",
            "hateful_memes_20211014/test_meta.json",
            "{}",
            "a key is missing",
        ),
        (
            "hateful-memes",
            "hateful_memes_20211014/test_meta.json",
            "[]",
            "not a COCO index",
        ),
    ],
)
def test_a_wrong_index_file_is_named(data_root, task, file, text, message):
    (data_root / "classification" / file).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_labels(data_root, load_tasks()[task])
    assert file in str(caught.value)


def test_scores_of_a_submission(tmp_path, run_folder, data_root):
    run = run_folder("run", SIZES, (0, 1, 2))
    result = score(combine(run, tmp_path / "s.zip"), data_root)
    records = {record["task"]: record for record in result["tasks"]}
    assert (
        list(records) == sorted(SIZES)
        and result["n_shot"] == 5
        and result["model_name"] == "m"
    )
    mnist = [
        float(np.mean(fold.argmax(axis=1) == np.arange(30) % 10))
        for fold in folds(run, "mnist", (0, 1, 2))
    ]
    assert records["mnist"]["scores"] == pytest.approx(mnist, abs=1e-12) and records[
        "mnist"
    ]["seeds"] == [0, 1, 2]
    assert records["mnist"]["score"] == pytest.approx(np.mean(mnist), abs=1e-12)
    memes = [
        roc_auc_score([1, 0, 1], fold[:, 1])
        for fold in folds(run, "hateful-memes", (0, 1, 2))
    ]
    assert records["hateful-memes"]["scores"] == pytest.approx(memes, abs=1e-12)
    assert records["voc-2007-classification"]["metric"] == "11point_mAP"
    mean = np.mean([record["score"] for record in records.values()])
    assert result["suites"] == [
        {"suite": "elevater", "score": pytest.approx(mean), "tasks": 4, "of": 20}
    ]


def test_files_and_folders_score_like_their_submission(tmp_path, run_folder, data_root):
    runs = [run_folder(f"run{seed}", SIZES, (seed,)) for seed in (0, 1, 2)]
    expected = score(combine(runs, tmp_path / "s.zip"), data_root)
    assert score(runs, data_root) == expected
    assert (
        score(
            [file for run in runs for file in (run / "predictions").iterdir()],
            data_root,
        )
        == expected
    )


def test_the_command_prints_a_table_and_writes_json(
    tmp_path, run_folder, data_root, capsys
):
    run = run_folder("run", SIZES, (0, 1))
    scores = tmp_path / "scores.json"
    assert main(shlex.split(f"score {run} --root {data_root} --json {scores}")) == 0
    out = capsys.readouterr().out
    result = json.loads(scores.read_text())
    assert result == score(run, data_root)
    assert f"{100 * result['tasks'][2]['score']:.2f}" in next(
        line for line in out.splitlines() if "mnist" in line
    )
    assert "4 of 20 tasks" in out
    assert main(shlex.split(f"score {run} --root {data_root} --only dtd,mnist")) == 0
    assert "hateful" not in capsys.readouterr().out


def test_a_task_without_labels_is_one_line(run_folder, data_root, capsys):
    run = run_folder(
        "run", {"mnist": (30, 10), "kitti-distance": (711, 4), "birds": (3, 3)}, (0,)
    )
    assert main(shlex.split(f"score {run} --root {data_root}")) == 2
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert out == "" and len(lines) == 2
    assert (
        "unknown task 'birds' has no labels" in lines[0]
        and "test_meta.json does not exist" in lines[1]
    )
    assert main(shlex.split(f"score {run} --root {data_root} --only mnist")) == 0


def test_bad_input_to_score(run_folder, data_root, tmp_path):
    run = run_folder("run", {"mnist": (29, 10)}, (0,))
    with pytest.raises(
        InvalidSubmissionError, match="29 rows, but 30 in the index file"
    ):
        score(run, data_root)
    with pytest.raises(ValueError, match="no predictions of dtd"):
        score(run, data_root, only=["dtd"])
    with pytest.raises(FileNotFoundError, match="data root"):
        score(run, tmp_path / "absent")


def test_a_metric_that_is_undefined_is_reported(run_folder, data_root):
    index = data_root / "classification" / "hateful_memes_20211014" / "test_meta.json"
    content = json.loads(index.read_text())
    for annotation in content["annotations"]:
        annotation["category_id"] = 9
    index.write_text(json.dumps(content))
    run = run_folder("run", {"hateful-memes": (3, 2)}, (0,))
    with pytest.raises(
        InvalidSubmissionError,
        match="hateful-memes: roc_auc: targets hold only class 1",
    ):
        score(run, data_root)
