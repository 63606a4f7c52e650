"""Groups of tasks from pinned matrices."""

import shlex

import pytest
import yaml

from scripts import groups
from scripts.study.protocol import FOLDER
from scripts.transfer.matrix import read_square_matrix
from trainers.engine.stages import read_groups

MATRIX = """source,a,b,c,d
a,99,40,10,5
b,50,98,30,5
c,60,20,97,7
d,60,30,20,96
"""


@pytest.fixture
def matrix(tmp_path):
    path = tmp_path / "matrix.csv"
    path.write_text(MATRIX)
    return path


def test_the_best_and_worst_sources_of_a_target_without_itself(matrix):
    read = read_square_matrix(matrix)
    assert groups.choose(read, 3) == {
        "a": ["c", "d"],
        "b": ["a", "d"],
        "c": ["b", "d"],
        "d": ["c", "a"],
    }
    assert groups.choose(read, 2, worst=True) == {
        "a": ["b"],
        "b": ["c"],
        "c": ["a"],
        "d": ["a"],
    }
    assert groups.choose(read, 1) == {"a": [], "b": [], "c": [], "d": []}


def test_rows_in_another_order_and_normalised_columns_give_the_same(matrix, tmp_path):
    lines = MATRIX.splitlines()
    other = tmp_path / "other.csv"
    best = [100, 50, 25, 10]  # by which a division changes no order
    rows = [line.split(",") for line in reversed(lines[1:])]
    scaled = [
        [
            row[0],
            *(str(float(cell) / top) for cell, top in zip(row[1:], best, strict=True)),
        ]
        for row in rows
    ]
    other.write_text("\n".join([lines[0], *map(",".join, scaled)]))
    one, two = read_square_matrix(matrix), read_square_matrix(other)
    assert groups.choose(one, 2, worst=True) == groups.choose(two, 2, worst=True)
    # equals come in the order of the columns, not the rows
    assert groups.choose(one, 3) == groups.choose(two, 3)


def test_the_files_are_what_train_takes(matrix, tmp_path):
    out = tmp_path / "groups.yaml"
    assert groups.main(shlex.split(f"{matrix} --size 1,2,3 -o {out}")) == 0
    assert not out.exists() and sorted(
        path.name for path in tmp_path.glob("groups_*")
    ) == [
        "groups_1.yaml",
        "groups_2.yaml",
        "groups_3.yaml",
    ]
    assert read_groups(str(tmp_path / "groups_2.yaml"), ["a", "b", "c", "d"])["b"] == [
        "a"
    ]
    assert groups.main(shlex.split(f"{matrix} --worst --size 2 -o {out}")) == 0
    assert yaml.safe_load(out.read_text())["b"] == ["c"]


def test_without_a_file_the_groups_are_printed(matrix, capsys):
    assert groups.main(shlex.split(f"{matrix} --best --size 2")) == 0
    assert yaml.safe_load(capsys.readouterr().out)["a"] == ["c"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "source,a,b\na,1,2\n",
            "not square: 1 source rows, 2 target columns; 'b' is only a column",
        ),
        ("source,a,b\na,1,2\nb,nan,2\n", "b on a is 'nan', not a number"),
        ("source,a,b\na,1,2\nb,much,2\n", "b on a is 'much', not a number"),
        ("source,a,b\na,1,2\nb,1\n", "row 'b' has 1 scores"),
        ("source,a,a\na,1,2\nb,1,2\n", "column 'a' is there twice"),
        ("", "not square: 0 source rows"),
    ],
)
def test_wrong_matrices_end_in_one_line(tmp_path, capsys, text, message):
    path = tmp_path / "matrix.csv"
    path.write_text(text)
    assert groups.main([str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_wrong_arguments_end_in_one_line(matrix, capsys):
    assert (
        groups.main(shlex.split(f"{matrix}x")) == 2
        and "no matrix" in capsys.readouterr().err
    )
    assert (
        groups.main(shlex.split(f"{matrix} --size 5")) == 2
        and "1 to 4 tasks" in capsys.readouterr().err
    )
    assert (
        groups.main(shlex.split(f"{matrix} --size two")) == 2
        and "whole numbers" in capsys.readouterr().err
    )


@pytest.mark.parametrize("method", ["CoOp", "VPT", "UPT"])
def test_the_papers_groups_are_whole(method):
    chosen = yaml.safe_load((FOLDER / f"paper_groups_{method}.yaml").read_text())
    assert len(chosen) == 20 and all(
        len(group) == 2 and not {target} & {*group} for target, group in chosen.items()
    )
    assert (
        read_groups(str(FOLDER / f"paper_groups_{method}.yaml"), list(chosen)) == chosen
    )
