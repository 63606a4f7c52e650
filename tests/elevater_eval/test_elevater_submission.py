import json
import os
import shlex
import shutil
import zipfile

import pytest

from elevater_eval import InvalidSubmissionError, combine
from elevater_eval.__main__ import main

SIZES = {"kitti-distance": (6, 4), "hateful-memes": (5, 2)}


def content(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == ["all_predictions.json"]
        assert archive.infolist()[0].compress_type == zipfile.ZIP_DEFLATED
        return json.loads(archive.read("all_predictions.json"))


def test_seeds_are_merged_and_tasks_sorted(tmp_path, run_folder):
    run = run_folder("run", SIZES, (2, 0, 1))
    edited = run / "predictions" / "seed1_kitti-distance.json"
    edited.write_text(
        edited.read_text().replace(
            '"num_trainable_params": 10', '"num_trainable_params": 14'
        )
    )
    submission = content(combine(run, tmp_path / "new" / "s.zip"))
    assert list(submission) == ["data"]
    memes, kitti = submission["data"]
    assert [memes["dataset_name"], kitti["dataset_name"]] == [
        "hateful-memes",
        "kitti-distance",
    ]
    assert kitti["rnd_seeds"] == [0, 1, 2]
    assert (
        kitti["num_trainable_params"] == pytest.approx(34 / 3)
        and memes["num_trainable_params"] == 10.0
    )
    assert isinstance(memes["num_trainable_params"], float) and isinstance(
        memes["num_params"], int
    )
    for entry in (memes, kitti):
        for i, seed in enumerate((0, 1, 2)):
            file = run / "predictions" / f"seed{seed}_{entry['dataset_name']}.json"
            assert (
                entry["predictions"][i]
                == json.loads(file.read_text())["predictions"][0]
            )


def test_the_order_and_form_of_sources_do_not_matter(tmp_path, run_folder):
    runs = [run_folder(f"run{seed}", SIZES, (seed,)) for seed in (0, 1, 2)]
    first = combine(runs, tmp_path / "a.zip").read_bytes()
    folders = [run / "predictions" for run in reversed(runs)]
    assert combine(folders, tmp_path / "b.zip").read_bytes() == first
    files = [file for folder in folders for file in folder.iterdir()]
    # a file given twice counts once
    assert combine([*files, *runs], tmp_path / "c.zip").read_bytes() == first


@pytest.mark.parametrize(
    ("change", "messages"),
    [
        (
            {"model_name": "other"},
            [
                "seed1_hateful-memes.json",
                "model_name is 'other'",
                "seed0_hateful-memes.json",
            ],
        ),
        (
            {"n_shot": 20},
            ["n_shot is 20", "seed0_hateful-memes.json", "two experiments"],
        ),
        ({"num_params": 999}, ["num_params is 999", "seed1_hateful-memes.json"]),
        (
            {"rnd_seeds": [0]},
            [
                "seed 0 is also in",
                "seed1_hateful-memes.json",
                "seed0_hateful-memes.json",
            ],
        ),
        (
            {"predictions": [[[0.5, 0.5]]]},
            ["1 x 2", "5 x 2", "seed1_hateful-memes.json", "seed0_hateful-memes.json"],
        ),
    ],
)
def test_files_that_do_not_belong_together_are_named(
    tmp_path, run_folder, capsys, change, messages
):
    run = run_folder("run", SIZES, (0, 1))
    file = run / "predictions" / "seed1_hateful-memes.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    assert main(shlex.split(f"combine {run} -o {tmp_path}/s.zip")) == 2
    text = capsys.readouterr().err
    assert all(message in text for message in messages) and len(text.splitlines()) == 1
    assert not (tmp_path / "s.zip").exists()


def test_a_task_of_another_experiment_is_named(tmp_path, run_folder):
    run = run_folder("run", {**SIZES, "mnist": (4, 10)}, (0,))
    other = run_folder("other", {"dtd": (4, 47)}, (0,), model_name="m2", n_shot=20)
    with pytest.raises(InvalidSubmissionError) as caught:
        combine([run, other], tmp_path / "s.zip")
    assert [
        issue.where.endswith("seed0_dtd.json: dtd") for issue in caught.value.issues
    ] == [True, True]


def test_other_json_files_are_named(tmp_path, run_folder):
    run = run_folder("run", SIZES, (0,))
    shutil.copy(run / "results.json", run / "predictions" / "results.json")
    (run / "predictions" / "notes.json").write_text('{"text": 1}')
    (run / "predictions" / "half.json").write_text('{"model_name": "m", "predic')
    with pytest.raises(InvalidSubmissionError) as caught:
        combine(run, tmp_path / "s.zip")
    text = str(caught.value)
    assert "notes.json: not a prediction file" in text and "half.json: not JSON" in text
    assert (
        "results.json: an object with the nine keys is expected, got an empty list"
        in text
    )


def test_a_failed_combination_leaves_the_old_submission(
    tmp_path, run_folder, monkeypatch
):
    run = run_folder("run", SIZES, (0,))
    out = combine(run, tmp_path / "out" / "s.zip")
    before = out.read_bytes()
    monkeypatch.setattr(
        "elevater_eval.submission.json_pieces", lambda entry: iter(["half", None])
    )
    with pytest.raises(AttributeError):
        combine(run, out)
    assert os.listdir(out.parent) == ["s.zip"] and out.read_bytes() == before


@pytest.mark.parametrize(
    "make", [lambda p: p / "absent", lambda p: (p / "empty").mkdir() or p / "empty"]
)
def test_nothing_to_combine_is_one_line(tmp_path, capsys, make):
    assert main(shlex.split(f"combine {make(tmp_path)} -o {tmp_path}/s.zip")) == 2
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 1 and str(tmp_path) in text


def test_a_task_without_a_seed_that_others_have_is_named(tmp_path, run_folder, capsys):
    runs = [
        run_folder(f"run{seed}", {**SIZES, "mnist": (4, 10)}, (seed,))
        for seed in (0, 1, 2)
    ]
    (runs[1] / "predictions" / "seed1_mnist.json").unlink()
    arguments = f"combine {runs[0]} {runs[1]} {runs[2]} -o {tmp_path}/s.zip"
    assert main(shlex.split(arguments)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    place = f"error: {runs[0] / 'predictions' / 'seed0_mnist.json'}: mnist: "
    assert (
        line.startswith(f"{place}seed 1 missing; hateful-memes has seeds 0, 1, 2 (")
        and not (tmp_path / "s.zip").exists()
    )
    assert main(shlex.split(f"{arguments} --allow-partial")) == 0
    assert [entry["rnd_seeds"] for entry in content(tmp_path / "s.zip")["data"]] == [
        [0, 1, 2],
        [0, 1, 2],
        [0, 2],
    ]


def test_a_task_with_seeds_of_another_run_is_named(tmp_path, run_folder):
    run = run_folder("run", {**SIZES, "mnist": (4, 10)}, (0, 1))
    stale = run / "predictions" / "seed1_mnist.json"
    stale.rename(run / "predictions" / "seed7_mnist.json")
    changed = run / "predictions" / "seed7_mnist.json"
    changed.write_text(
        changed.read_text().replace('"rnd_seeds": [1]', '"rnd_seeds": [7]')
    )
    with pytest.raises(
        InvalidSubmissionError,
        match="mnist: seed 1 missing and seed 7 too many; hateful-memes has seeds 0, 1",
    ):
        combine(run, tmp_path / "s.zip")


@pytest.mark.parametrize("n_shot", [0, -1])
def test_zero_shot_and_full_shot_are_combined(tmp_path, run_folder, n_shot):
    runs = [
        run_folder(name, {name: (4, 3)}, (0,), n_shot=n_shot)
        for name in ("toy-b", "toy-a")
    ]
    entries = content(combine(runs, tmp_path / "s.zip"))["data"]
    assert [
        (entry["dataset_name"], entry["n_shot"], entry["rnd_seeds"])
        for entry in entries
    ] == [
        ("toy-a", n_shot, [0]),
        ("toy-b", n_shot, [0]),
    ]


def test_runs_of_two_stages_are_combined_by_their_final_predictions(
    tmp_path, run_folder
):
    runs = [run_folder(f"seed{seed}", SIZES, (seed,)) for seed in (0, 1)]
    expected = combine(
        [run / "predictions" for run in runs], tmp_path / "a.zip"
    ).read_bytes()
    for run in runs:
        run_folder(f"{run.name}/adapt/mnist", {"mnist": (4, 10)}, (0,))
        run_folder(f"{run.name}/source", {"toy": (4, 10)}, (0,))
    assert combine(runs, tmp_path / "b.zip").read_bytes() == expected
    shutil.rmtree(runs[1] / "predictions")
    with pytest.raises(
        FileNotFoundError,
        match="seed1 holds no predictions/ yet: its run of two stages has not ended",
    ):
        combine(runs, tmp_path / "c.zip")


def test_a_submission_among_prediction_files_is_named(tmp_path, run_folder):
    run = run_folder("run", SIZES, (0,))
    (run / "predictions" / "all_predictions.json").write_text('{"data": [{}]}')
    with pytest.raises(
        InvalidSubmissionError,
        match="all_predictions.json: not a prediction file: a whole submission",
    ):
        combine(run, tmp_path / "s.zip")


def test_what_was_combined_is_combined_alike(tmp_path, run_folder):
    run = run_folder("run", SIZES, (0, 1))
    expected = combine(run, tmp_path / "a.zip").read_bytes()
    for file in (run / "predictions").iterdir():
        file.write_text(json.dumps(json.loads(file.read_text()), indent=1))
    assert combine(run, tmp_path / "b.zip").read_bytes() == expected
