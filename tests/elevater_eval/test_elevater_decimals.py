import json

import numpy as np
import pytest

from elevater_eval.decimals import rounded, rows_as_text, rows_from_text


def test_every_number_of_six_decimals_is_written_and_read_as_json_does():
    values = np.arange(10**6).reshape(1000, 1000) / 10**6
    text = rows_as_text(values)
    assert text == json.dumps(values.tolist(), separators=(",", ":"))[1:-1]
    assert np.array_equal(rows_from_text(text), values)
    assert rows_as_text(np.ones((120_000, 1))) == ",".join(["[1.0]"] * 120_000)


@pytest.mark.parametrize("shape", [(3, 4), (30_000, 4)])  # below and above the size from which a table is used
def test_numbers_are_rounded_to_six_decimals(shape):
    values = np.random.default_rng(0).random(shape)
    expected = [[round(value, 6) for value in row] for row in values.tolist()]
    assert json.loads(f"[{rows_as_text(values)}]") == expected
    assert rounded(values).tolist() == expected
    assert rows_as_text(np.full(shape, -1e-9)).startswith("[0.0,0.0")


@pytest.mark.parametrize(
    "text",
    [
        "[0.5]",
        "[0.123456,0.876544]",
        "[1e-06,0,1,1.0,0.0,-0.0,2E-05,1e5,-0.25]",
        "[0.5, 0.5], [0.25, 0.75]",
        "[1.999999,9.5,0.000001]",
        "[ 0.5,0.5 ]",
    ],
)
def test_plain_text_is_read_as_json_does(text):
    expected = np.array(json.loads(f"[{text}]"), np.float64)
    found = rows_from_text(text)
    assert np.array_equal(found, expected) and np.array_equal(np.signbit(found), np.signbit(expected))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[,]",
        "[0.5,]",
        "[0.5 0.5]",
        "[.5]",
        "[0.]",
        "[1.]",
        "[00.5]",
        "[01]",
        "[+0.5]",
        "[0.5;0.5]",
        "[0,5;0,5]",
    ]
    + ["[NaN]", "[nan]", "[Infinity]", "[true]", "[null]", '["0.5"]', "[0.5\0]", "[0x1]", "[1_0]", "[1e]", "[0.-5]"]
    + ["[٣]", "[0.٣]", "[0.5],[0.5,0.5]", "[0.5,0.5],[0.5]", "[0.5],[]", "[[0.5]]", "[0.5],,[0.5]", "[0.5] [0.5]"]
    + ["[1e999]", "[0.5.5]", "[0..5]", "[0.5/2]", "[0.1234567]", "0.5", "[0.5", "[0.25:]"],
)
def test_other_text_is_left_to_the_parser(text):
    assert rows_from_text(text) is None
