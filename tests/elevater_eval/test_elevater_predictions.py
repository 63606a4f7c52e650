import json
import os

import numpy as np
import pytest

from elevater_eval import InvalidSubmissionError, read_predictions, write_predictions
from elevater_eval.entry import KEYS

FIELDS = {
    "model_name": "MVPT",
    "dataset_name": "cifar-10",
    "num_trainable_params": 10,
    "num_params": 110,
    "num_visual_params": 60,
    "num_backbone_params": 100,
    "n_shot": 5,
    "seed": 2,
}


def test_a_file_has_nine_keys_in_order_and_six_decimals(tmp_path):
    values = np.array([[0.12345649, 0.87654351], [4e-7, 0.9999996]])
    path = write_predictions(
        tmp_path / "new" / "seed2_cifar-10.json", **FIELDS, probabilities=values
    )
    record = json.loads(path.read_text())
    assert tuple(record) == KEYS
    assert (
        record["rnd_seeds"] == [2]
        and record["n_shot"] == 5
        and record["num_trainable_params"] == 10
    )
    assert record["predictions"] == [[[0.123456, 0.876544], [0.0, 1.0]]]


def test_rounding_is_that_of_decimal_numbers(tmp_path, probabilities):
    values = probabilities(5000, 7)  # more rows than are written at once
    path = write_predictions(tmp_path / "a.json", **FIELDS, probabilities=values)
    assert json.loads(path.read_text())["predictions"] == [
        [[round(p, 6) for p in row] for row in values.tolist()]
    ]


def test_what_is_written_is_read_and_written_again_alike(tmp_path, probabilities):
    values = probabilities(9, 4).astype(np.float32)
    path = write_predictions(tmp_path / "a.json", **FIELDS, probabilities=values)
    entry = read_predictions(path)
    assert entry.rnd_seeds == (2,) and entry.predictions[0].shape == (9, 4)
    np.testing.assert_allclose(entry.predictions[0], values, atol=5.1e-7)
    again = write_predictions(
        tmp_path / "b.json", **FIELDS, probabilities=entry.predictions[0]
    )
    assert again.read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"probabilities": np.ones(3)}, "shape"),
        ({"probabilities": np.array([[0.5, np.nan]])}, "row 0, column 1"),
        (
            {"probabilities": np.array([[0.5, 0.5], [2.5, -1.5]])},
            "row 1, column 0: 2.5",
        ),
        ({"num_params": 5}, "less than num_visual_params"),
        ({"n_shot": -2}, "n_shot"),
        ({"model_name": ""}, "model_name"),
    ],
)
def test_an_invalid_file_is_not_written(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        write_predictions(
            tmp_path / "a.json",
            **{**FIELDS, "probabilities": np.array([[0.5, 0.5]]), **changes},
        )
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = write_predictions(
        tmp_path / "a.json", **FIELDS, probabilities=np.array([[0.5, 0.5]])
    )
    before = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_predictions(path, **FIELDS, probabilities=np.array([[0.1, 0.9]]))
    assert os.listdir(tmp_path) == ["a.json"] and path.read_bytes() == before


def test_reading_names_every_problem(tmp_path, record):
    entry = record("cifar-10", 4, 10)
    entry["predictions"][0][3][7] = 1.5
    entry["num_params"] = -1
    path = tmp_path / "a.json"
    path.write_text(json.dumps(entry))
    with pytest.raises(InvalidSubmissionError) as caught:
        read_predictions(path)
    text = str(caught.value)
    assert len(caught.value.problems) == 2 and text.count(str(path)) == 2
    assert (
        "cifar-10, seed 0: row 3, column 7: 1.5" in text
        and "num_params must not be negative" in text
    )
