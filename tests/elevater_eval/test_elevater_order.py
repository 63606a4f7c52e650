import json
import shlex

import pytest

from elevater_eval import combine, validate
from elevater_eval.__main__ import main


@pytest.fixture
def run(tmp_path, record):
    """Return a folder of predictions on two tasks; the data root marks one of them."""
    for name, images, classes in (
        ("hateful-memes", 500, 2),
        ("kitti-distance", 711, 4),
    ):
        (tmp_path / "run").mkdir(exist_ok=True)
        (tmp_path / "run" / f"{name}.json").write_text(
            json.dumps(record(name, images, classes))
        )
    for folder in ("kitti_distance_20210923", "hateful_memes_20211014"):
        (tmp_path / "data" / "classification" / folder).mkdir(parents=True)
    return tmp_path / "run"


@pytest.fixture
def marker(tmp_path):
    file = tmp_path / "data/classification/kitti_distance_20210923/order.json"

    def write(text='{"order": "unofficial", "source": "torchvision 1.0"}'):
        file.write_text(text)

    return write


def test_combine_warns_of_a_marked_test_set(run, marker, tmp_path, caplog):
    marker()
    combine(run, tmp_path / "a.zip", tmp_path / "data")
    (message,) = [entry.getMessage() for entry in caplog.records]
    assert (
        "kitti-distance: made on a copy from torchvision 1.0, whose test images are not in ELEVATER's order"
        in message
    )
    assert (tmp_path / "a.zip").is_file()


def test_combine_is_silent_without_root_or_marker(run, marker, tmp_path, caplog):
    combine(run, tmp_path / "a.zip", tmp_path / "data")
    marker()
    combine(run, tmp_path / "b.zip")
    assert (
        not caplog.records
        and (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    )


@pytest.mark.parametrize("text", ["", "[]", "{}"])
def test_damaged_marker_is_one_all_the_same(run, marker, tmp_path, caplog, text):
    marker(text)
    combine(run, tmp_path / "a.zip", tmp_path / "data")
    assert "a copy from elsewhere" in caplog.text


def test_validate_warns_too(run, marker, tmp_path):
    marker()
    found = [
        problem
        for problem in validate(run, tmp_path / "data")
        if "order" in problem.message
    ]
    assert [problem.level for problem in found] == ["warning"]


OTHER_SPLIT = '{"order": "unofficial", "verdict": "another split", "source": "wds x", "note": "test: 5 of 711 images"}'


def test_another_split_is_refused(run, marker, tmp_path):
    marker(OTHER_SPLIT)
    with pytest.raises(
        ValueError,
        match=r"kitti-distance: .* wds x, whose test images are another split \(test: 5 of",
    ):
        combine(run, tmp_path / "a.zip", tmp_path / "data")
    assert not (tmp_path / "a.zip").exists()
    found = [
        issue
        for issue in validate(run, tmp_path / "data")
        if "another split" in issue.message
    ]
    assert [issue.level for issue in found] == ["error"]
    assert (
        main(shlex.split(f"combine {run} -o {tmp_path}/a.zip --root {tmp_path}/data"))
        != 0
    )


def test_same_images_and_split_are_silent(run, marker, tmp_path, caplog):
    marker(
        '{"order": "official", "verdict": "same images and split", "source": "zip x"}'
    )
    combine(run, tmp_path / "a.zip", tmp_path / "data")
    assert not caplog.records


def test_commands(run, marker, tmp_path, capsys, caplog):
    marker()
    assert (
        main(shlex.split(f"combine {run} -o {tmp_path}/a.zip --root {tmp_path}/data"))
        == 0
    )
    assert "ELEVATER's order" in caplog.text
    assert (
        main(
            shlex.split(f"combine {run} -o {tmp_path}/b.zip --root {tmp_path}/nowhere")
        )
        == 2
    )
    assert (
        not (tmp_path / "b.zip").exists()
        and "nowhere is not a folder" in capsys.readouterr().err
    )
