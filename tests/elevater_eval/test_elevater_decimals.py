import json

import numpy as np
import pytest

from elevater_eval.predictions import rounded, rows_as_text


def test_every_number_of_six_decimals_is_written_as_json_does():
    values = np.arange(10**6).reshape(1000, 1000) / 10**6
    text = rows_as_text(values)
    assert text == json.dumps(values.tolist(), separators=(",", ":"))[1:-1]
    assert np.array_equal(np.array(json.loads(f"[{text}]")), values)
    assert rows_as_text(np.ones((120_000, 1))) == ",".join(["[1.0]"] * 120_000)


# below and above the size from which a table is used
@pytest.mark.parametrize("shape", [(3, 4), (30_000, 4)])
def test_numbers_are_rounded_to_six_decimals(shape):
    values = np.random.default_rng(0).random(shape)
    expected = [[round(value, 6) for value in row] for row in values.tolist()]
    assert json.loads(f"[{rows_as_text(values)}]") == expected
    assert rounded(values).tolist() == expected
    assert rows_as_text(np.full(shape, -1e-9)).startswith("[0.0,0.0")
