import json
import shlex

import numpy as np
import pytest
from scipy.stats import binomtest

from elevater_eval import InvalidSubmissionError, combine, compare, score
from elevater_eval.__main__ import main

SIZES = {
    "mnist": (30, 10),
    "dtd": (3, 3),
    "voc-2007-classification": (4, 3),
    "hateful-memes": (3, 2),
}


@pytest.fixture
def pair(run_folder):
    """Return two runs with three seeds; the second one is right on half of mnist."""
    first, second = (
        run_folder("a", SIZES, (0, 1, 2)),
        run_folder("b", SIZES, (0, 1, 2), model_name="better"),
    )
    for seed in (0, 1, 2):
        file = second / "predictions" / f"seed{seed}_mnist.json"
        content = json.loads(file.read_text())
        for image in range(0, 30, 2):
            content["predictions"][0][image] = np.eye(10)[image % 10].tolist()
        file.write_text(json.dumps(content))
    return first, second


def task(result, name):
    return next(record for record in result["tasks"] if record["task"] == name)


def test_scores_and_differences_are_those_of_score(pair, data_root, tmp_path):
    archives = [combine(run, tmp_path / f"{run.name}.zip") for run in pair]
    result = compare(*archives, data_root, resamples=100)
    assert (result["a"], result["b"], result["absent"]) == ("m", "better", [])
    scores = [
        {record["task"]: record["score"] for record in score(run, data_root)["tasks"]}
        for run in pair
    ]
    assert [record["task"] for record in result["tasks"]] == sorted(SIZES)
    for record in result["tasks"]:
        assert (
            record["a"] == scores[0][record["task"]]
            and record["b"] == scores[1][record["task"]]
        )
        assert (
            record["difference"] == record["b"] - record["a"]
            and record["low"] <= record["high"]
        )
    (suite,) = result["suites"]
    assert suite["difference"] == pytest.approx(
        np.mean([record["difference"] for record in result["tasks"]])
    )
    assert (suite["tasks"], suite["of"], suite["test"]) == (4, 20, "bootstrap")
    mnist = task(result, "mnist")
    assert (
        mnist["test"] == "sign flips, exact"
        and mnist["p"] < 0.01
        and 0 < mnist["low"] < mnist["difference"]
    )
    assert (
        task(result, "hateful-memes")["test"]
        == task(result, "voc-2007-classification")["test"]
        == "bootstrap"
    )
    assert task(result, "dtd")["p"] == 1.0  # the same predictions
    assert result == compare(*pair, data_root, resamples=100)


def test_the_other_way_round_is_the_negative(pair, data_root):
    there, back = (
        compare(*pair, data_root, resamples=50),
        compare(*reversed(pair), data_root, resamples=50),
    )
    for one, other in zip(there["tasks"], back["tasks"], strict=True):
        assert one["difference"] == -other["difference"]
        if one["test"] != "bootstrap":
            assert one["p"] == other["p"]


def test_one_seed_is_mcnemar_over_images(pair, data_root):
    folders = [run / "predictions" / "seed1_mnist.json" for run in pair]
    hits = [
        np.array(json.loads(file.read_text())["predictions"][0]).argmax(axis=1)
        == np.arange(30) % 10
        for file in folders
    ]
    record = task(compare(*folders, data_root), "mnist")
    gained, lost = int((hits[1] & ~hits[0]).sum()), int((hits[0] & ~hits[1]).sum())
    assert record["test"] == "McNemar, exact" and record["seeds"] == [1] and gained > 5
    assert record["p"] == pytest.approx(binomtest(lost, gained + lost, 0.5).pvalue)


def test_seeds_are_paired_by_number_and_what_is_absent_is_named(
    pair, data_root, capsys
):
    first, second = pair
    (first / "predictions" / "seed2_mnist.json").unlink()
    (second / "predictions" / "seed0_mnist.json").unlink()
    for seed in (0, 1, 2):
        (second / "predictions" / f"seed{seed}_dtd.json").unlink()
    result = compare(first, second, data_root, resamples=20)
    assert result["absent"] == [
        "dtd is only in A",
        "mnist, seed 0 is only in A",
        "mnist, seed 2 is only in B",
    ]
    assert task(result, "mnist")["seeds"] == [1] and result["suites"][0]["tasks"] == 3
    assert (
        main(shlex.split(f"diff {first} {second} --root {data_root} --resamples 20"))
        == 0
    )
    assert "dtd is only in A" in capsys.readouterr().out.splitlines()


def test_tasks_are_drawn_alike_whatever_else_is_compared(pair, data_root):
    alone = compare(*pair, data_root, only=["mnist"], resamples=50)["tasks"]
    assert alone == [task(compare(*pair, data_root, resamples=50), "mnist")]
    other = compare(*pair, data_root, only=["mnist"], resamples=50, seed=1)["tasks"]
    assert other[0]["p"] == alone[0]["p"] and other[0]["low"] != alone[0]["low"]


def test_the_command_prints_a_table_and_writes_json(pair, data_root, tmp_path, capsys):
    file = tmp_path / "diff.json"
    arguments = f"--root {data_root} --resamples 20 --json {file}"
    assert main(shlex.split(f"diff {pair[0]} {pair[1]} {arguments}")) == 0
    out = capsys.readouterr().out
    result = json.loads(file.read_text())
    assert result == compare(*pair, data_root, resamples=20)
    assert out.startswith("A: m (") and "B - A" in out and "mean of elevater" in out
    line = next(line for line in out.splitlines() if line.startswith("mnist"))
    assert (
        f"{100 * task(result, 'mnist')['difference']:+.2f}" in line and "0,1,2" in line
    )


def test_bad_input_is_named(pair, data_root, run_folder, capsys):
    first, second = pair
    with pytest.raises(ValueError, match="no task has a seed that is in both"):
        compare(
            first / "predictions" / "seed0_mnist.json",
            second / "predictions" / "seed1_mnist.json",
            data_root,
        )
    with pytest.raises(ValueError, match="resamples must be 1 or more"):
        compare(first, second, data_root, resamples=0)
    short = run_folder("short", {"mnist": (29, 10)}, (0,))
    with pytest.raises(
        InvalidSubmissionError, match="short.*mnist.*29 rows, but 30 in the index file"
    ):
        compare(first, short, data_root)
    assert main(shlex.split(f"diff {first} {first}/absent --root {data_root}")) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
