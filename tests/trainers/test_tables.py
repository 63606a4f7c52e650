"""The tables in results/, the lines at the end of a run, zero-shot beside the score,
and the trainer that is chosen.
"""

import csv
import re
import shlex
import sys

import numpy as np
import pytest
import torch
from run_files import prompt_in, read, same

import train
from datasets import Sample
from trainers.engine import tables
from trainers.engine.command_line import configuration, run_options
from trainers.engine.flags import arguments
from trainers.engine.results import below_zero_shot, markdown

ONE = "--dataset toy-shapes --shots 3"
SEVERAL = "--dataset toy-shapes,toy-scenes --shots 3"


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


class Stub:
    """A task of three classes with names that a spreadsheet would compute."""

    name = "stub"
    classnames = ("=1+1", "b,c", "@x")
    num_classes = 3

    def __init__(self, *labels):
        self.test = [
            Sample(f"/data/{row}.png", label, f"-{row}.png")
            for row, label in enumerate(labels)
        ]


# -- by hand ---------------------------------------------------------------------------------------------------------


def test_tables_by_hand(tmp_path):
    task = Stub((0,), (1,), (1,), (2,))
    values = torch.tensor(
        [[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.5, 0.2, 0.3], [0.4, 0.2, 0.4]]
    )
    targets = torch.tensor([0, 1, 1, 2])
    zero = [
        {"class": name, "images": 1, "accuracy": score}
        for name, score in zip(task.classnames, (0.0, 50.0, None), strict=True)
    ]
    tables.write(tmp_path, [(task, targets, values)], {"stub": zero})
    found = rows_of(tmp_path / "results" / "predictions.csv")
    assert [row["image"] for row in found] == [
        "'-0.png",
        "'-1.png",
        "'-2.png",
        "'-3.png",
    ]
    assert [row["true"] for row in found] == ["'=1+1", "b,c", "b,c", "'@x"]
    # the first of two equal ones
    assert [row["predicted"] for row in found] == ["'=1+1", "b,c", "'=1+1", "'=1+1"]
    assert [
        found[2][f"{name}_{rank}"]
        for rank in (1, 2, 3, 4)
        for name in ("top", "probability")
    ] == [
        *("'=1+1", "0.500000", "'@x", "0.300000", "b,c", "0.200000"),
        *("", ""),
    ]
    with open(tmp_path / "results" / "confusion_stub.csv", newline="") as file:
        assert list(csv.reader(file)) == [
            ["true \\ predicted", "'=1+1", "b,c", "'@x"],
            ["'=1+1", "1", "0", "0"],
            ["b,c", "1", "1", "0"],
            ["'@x", "1", "0", "0"],
        ]
    classes = rows_of(tmp_path / "results" / "classes_stub.csv")
    assert [
        (row["test_images"], row["accuracy"], row["zero_shot"]) for row in classes
    ] == [
        ("1", "100.0", "0.0"),
        ("2", "50.0", "50.0"),
        ("1", "0.0", ""),
    ]


def test_images_with_several_labels_by_hand(tmp_path):
    task = Stub((0, 1), (), (2,))
    targets = torch.tensor([[1, 1, 0], [0, 0, 0], [0, 0, 1]])
    values = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.3, 0.5], [0.1, 0.5, 0.4]])
    tables.write(tmp_path, [(task, targets, values)], {})
    found = rows_of(tmp_path / "results" / "predictions.csv")
    assert [(row["true"], row["predicted"]) for row in found] == [
        ("'=1+1; b,c", "'=1+1"),
        ("", "'@x"),
        ("'@x", "b,c"),
    ]
    classes = rows_of(tmp_path / "results" / "classes_stub.csv")
    assert list(classes[0]) == ["class", "test_images", "average_precision"]
    assert [row["test_images"] for row in classes] == ["1", "1", "1"] and classes[0][
        "average_precision"
    ] == "100.0"
    assert not (tmp_path / "results" / "confusion_stub.csv").exists()


def test_the_most_probable_classes_are_those_of_a_sort():
    # many are equal
    values = (
        torch.rand(50, 9, generator=torch.Generator().manual_seed(0))
        .mul(4)
        .round()
        .div(4)
    )
    top, shares = tables.most_probable(values)
    expected = np.argsort(-values.numpy(), axis=1, kind="stable")[:, : tables.TOP]
    assert (top == expected).all()
    assert np.allclose(shares, np.take_along_axis(values.numpy(), expected, axis=1))


def test_names_of_files_that_are_no_text_are_escaped(tmp_path):
    tables.write_csv(tmp_path / "a.csv", [["a\udcff.png", 'say "x"', 1]])
    assert (tmp_path / "a.csv").read_bytes() == b'a\\udcff.png,"say ""x""",1\n'


def test_tables_say_what_is_below_zero_shot():
    def record(task, score, zero_shot):
        return {
            "task": task,
            "metric": "accuracy",
            "score": score,
            "zero_shot": zero_shot,
        }

    records = [
        record("a", 50.0, 51.1),
        record("b", 50.0, 51.0),
        record("c", 50.0, 20.0),
    ]
    assert (
        below_zero_shot(records)
        == "1 of 3 tasks is more than a point below zero-shot: a"
    )
    assert (
        below_zero_shot([*records, record("d", 0.0, 2.0)])
        == "2 of 4 tasks are more than a point below zero-shot: a, d"
    )
    assert (
        below_zero_shot(records[1:]) == "No task is more than a point below zero-shot"
    )
    assert below_zero_shot([{"task": "a", "metric": "accuracy", "score": 1.0}]) == ""
    assert markdown(records).splitlines()[-1].startswith("1 of 3 tasks")
    assert "| mean" in markdown(records) and "| mean" not in markdown(records[:1])


# -- of a run --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(main, tmp_path_factory):
    out = tmp_path_factory.mktemp("tables") / "run"
    assert main(f"--trainer MVPT {SEVERAL} --output-dir {out}") == 0
    return out


def test_a_run_of_one_stage_has_zero_shot_beside_its_scores(run, main, tmp_path):
    zero = tmp_path / "zero"
    assert main(f"--trainer ZeroshotCLIP {SEVERAL} --output-dir {zero}") == 0
    expected = {
        record["task"]: record["score"] for record in read(zero / "results.json")
    }
    assert {
        record["task"]: record["zero_shot"] for record in read(run / "results.json")
    } == expected
    for task, column in (
        ("toy-shapes", "accuracy"),
        ("toy-scenes", "average_precision"),
    ):
        there = [
            row["zero_shot"] for row in rows_of(run / "results" / f"classes_{task}.csv")
        ]
        assert there == [
            row[column] for row in rows_of(zero / "results" / f"classes_{task}.csv")
        ]


def test_zero_shot_can_be_left_out_and_changes_no_number(run, main, tmp_path):
    out = tmp_path / "without"
    assert main(f"--trainer MVPT {SEVERAL} --no-zero-shot --output-dir {out}") == 0
    assert same(prompt_in(out), prompt_in(run))
    for mine, other in zip(
        read(out / "results.json"), read(run / "results.json"), strict=True
    ):
        assert "zero_shot" not in mine and mine["score"] == other["score"]
    assert (out / "results/predictions.csv").read_bytes() == (
        run / "results/predictions.csv"
    ).read_bytes()
    assert list(rows_of(out / "results/classes_toy-shapes.csv")[0]) == [
        "class",
        "test_images",
        "accuracy",
    ]


def test_the_table_of_predictions_gives_the_scores_again(run):
    records = {record["task"]: record for record in read(run / "results.json")}
    found = [
        row
        for row in rows_of(run / "results" / "predictions.csv")
        if row["task"] == "toy-shapes"
    ]
    hits = [row["true"] == row["predicted"] == row["top_1"] for row in found]
    assert len(hits) == records["toy-shapes"]["test_images"]
    assert 100 * np.mean(hits) == pytest.approx(
        records["toy-shapes"]["score"], abs=1e-4
    )
    with open(run / "results" / "confusion_toy-shapes.csv", newline="") as file:
        counts = np.array(
            [[int(cell) for cell in row[1:]] for row in list(csv.reader(file))[1:]]
        )
    assert counts.trace() == sum(hits) and counts.sum() == len(hits)
    assert not (run / "results" / "confusion_toy-scenes.csv").exists()
    assert str(run) not in (run / "results" / "predictions.csv").read_text()


def test_a_run_says_what_it_did(run):
    log = (run / "log.txt").read_text()
    records = {record["task"]: record for record in read(run / "results.json")}
    shapes = records["toy-shapes"]
    assert (shapes["train_images"], shapes["val_images"], shapes["test_images"]) == (
        6,
        3,
        9,
    )
    assert "toy-shapes: 3 classes, 6 training, 3 validation, 9 test images" in log
    epochs = re.findall(
        r"^MVPT toy-shapes,toy-scenes: epoch (\d)/2 loss [\d.]+ lr \S+ val [\d.]+ best val",
        log,
        re.M,
    )
    assert epochs == ["1", "2"]
    assert (
        "python -m scripts.report " in log
        and "python -m prompting predict " in log
        and "results.json" in log
    )


def test_an_experiment_has_the_tables_of_its_targets(main, tmp_path):
    out = tmp_path / "run"
    two = f"--source toy-pets --dataset toy-shapes,toy-scenes --shots 3 --output-dir {out}"
    assert main(f"--trainer MCoOp {two}") == 0
    top = rows_of(out / "results" / "predictions.csv")
    assert [row["task"] for row in top] == ["toy-shapes"] * 9 + ["toy-scenes"] * 8
    assert top[9:] == rows_of(
        out / "adapt" / "toy-scenes" / "results" / "predictions.csv"
    )
    assert {path.name for path in (out / "results").iterdir()} == {
        *(
            "predictions.csv",
            "classes_toy-shapes.csv",
            "classes_toy-scenes.csv",
            "confusion_toy-shapes.csv",
        ),
    }
    assert "results/predictions.csv" in read(out / "manifest.json")["files"]
    (out / "results" / "predictions.csv").unlink()
    assert main(f"--trainer MCoOp {two}") == 0  # made again
    assert rows_of(out / "results" / "predictions.csv") == top
    log = "".join(path.read_text() for path in out.glob("log.txt*"))
    assert f"submission: {'submission.zip'}" in re.sub(
        r"submission: \S*/", "submission: ", log
    )


# -- the trainer -----------------------------------------------------------------------------------------------------


def chosen(words: str) -> tuple[str, str]:
    args = arguments().parse_args(shlex.split(words))
    cfg = configuration(args)
    return cfg.TRAINER.NAME, run_options(args, cfg).chosen


def test_the_trainer_without_a_name(main, tmp_path):
    line = "no --trainer given: {}, anchored to zero-shot; see README"
    assert chosen("") == ("MAPT", line.format("MAPT"))
    assert chosen(SEVERAL) == ("MAPT", line.format("MAPT"))
    assert chosen(ONE) == ("APT", line.format("APT"))
    assert chosen(f"{ONE} --multi-task") == ("MAPT", line.format("MAPT"))
    assert chosen(f"{ONE} --source toy-pets") == ("MAPT", line.format("MAPT"))
    assert chosen(f"{ONE} --trainer VPT") == ("VPT", "")
    assert chosen(f"{ONE} TRAINER.NAME VPT") == ("VPT", "")
    (tmp_path / "a.yaml").write_text("TRAINER: {NAME: CoOp}\n")
    assert chosen(f"{ONE} --config-file {tmp_path}/a.yaml") == ("CoOp", "")


def test_the_trainer_of_a_run_that_is_resumed(run, main, tmp_path):
    line = "no --trainer given: MVPT, that of the run to resume"
    assert chosen(f"{SEVERAL} --resume {run}") == ("MVPT", line)
    again = f"{SEVERAL} --resume auto --output-dir"
    assert chosen(f"{again} {run}") == ("MVPT", line)
    assert chosen(f"{again} {tmp_path}/new")[0] == "MAPT"
    assert chosen(f"{SEVERAL} --resume {run} --trainer MCoOp") == ("MCoOp", "")


def test_a_run_says_first_which_trainer_was_chosen(main, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(f"{ONE} --output-dir {out}") == 0
    first = "no --trainer given: APT, anchored to zero-shot; see README"
    assert (
        capsys.readouterr().out.splitlines()[0]
        == (out / "log.txt").read_text().splitlines()[0]
        == first
    )
    assert read(out / "results.json")[0]["trainer"] == "APT"


def test_a_prompt_that_is_evaluated_names_its_trainer(run, main, tmp_path):
    out = tmp_path / "again"
    assert main(f"{SEVERAL} --eval-only --model-dir {run} --output-dir {out}") == 0
    assert [record["score"] for record in read(out / "results.json")] == [
        record["score"] for record in read(run / "results.json")
    ]
    first = (out / "log.txt").read_text().splitlines()[0]
    assert first == "no --trainer given: MVPT, the method of the prompt in --model-dir"


def test_a_command_without_a_word_is_understood(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py"])
    assert train.arguments().parse_args([]).trainer == ""
