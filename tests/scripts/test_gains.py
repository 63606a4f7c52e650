"""The picture and the table of scores before and after."""

import json

import pytest

from scripts.study import gains


@pytest.fixture
def file(tmp_path):
    record = {
        "trainer": "MAPT",
        "shots": 5,
        "score": 61.0,
        "deviation": 0.5,
        "zero_shot": 60.0,
    }
    record |= {
        "gain_by_task": {"pocket-a": 12.0, "pocket-b": -10.0},
        "zero_shot_by_task": {"pocket-a": 50.0, "pocket-b": 70.0},
    }
    path = tmp_path / "runs.json"
    path.write_text(json.dumps({"trainers": [record], "comparisons": []}))
    return path


def test_scores_are_by_short_name(file):
    (record,) = json.loads(file.read_text())["trainers"]
    assert gains.task_scores(record) == {"a": (50.0, 62.0), "b": (70.0, 60.0)}


def test_zero_shot_scores_of_the_pocket_tasks_are_those_of_table_1():
    record = {"gain_by_task": {"pocket-digits": 1.0}}
    start, end = gains.task_scores(record)["digits"]
    assert 30 < start < 40 and end == start + 1


def test_picture_and_table_are_written(file, tmp_path):
    page = tmp_path / "README.md"
    page.write_text("# A\n\n<!-- gains:begin -->\n<!-- gains:end -->\n")
    argv = f"{file} -o {tmp_path}/gains.png --page {page}"
    assert gains.main(argv.split()) == 0
    assert (tmp_path / "gains.png").read_bytes().startswith(b"\x89PNG")
    (row,) = [
        line for line in page.read_text().splitlines() if line.startswith("| 5 |")
    ]
    assert row.startswith("| 5 | 60.0 | ") and row.endswith(" | 61.0 ± 0.5 |")


def test_an_unknown_trainer_is_one_line(file, tmp_path, capsys):
    assert gains.main(f"{file} --trainer APT -o {tmp_path}/x.png".split()) == 2
    assert "there are MAPT at 5" in capsys.readouterr().err
