"""The reader of JSON streams accepts and refuses the same texts as ``json``, and finds
the same, whatever the blocks.
"""

import io
import json
import random

import numpy as np
import pytest

from elevater_eval.folds import read_folds
from elevater_eval.jsonstream import JSONError, Reader

PIECES = [
    '"x"',
    "null",
    "true",
    "[]",
    "{}",
    "[0]",
    "1e400",
    ",0.5",
    "],[",
    ', "]]"',
    ' {"a": 1}',
    "],[[1],2],[",
    "9" * 320,
]
DOCUMENTS = [
    "0",
    "-1.5e-3",
    '"]"',
    '{"a": [1, 2.5, {"b": null, "c": [true, false, []]}], "d": "é\\u00e9\\n", "e": {}, "": -0.0}',
    ' [ [ ] , { } , "x" , [ [ 1 ] ] ] \n',
    '{"data": [{"predictions": [[[0.1, 0.9], [1e-06, 1.0]], [[0.5, 0.5], [0, 1]]]}, 7, "]]", [[]]]}',
]


def walk(reader):
    """Return a value, read without ever decoding a list or an object whole."""
    first = reader.peek()
    if first == "{":
        return {key: walk(reader) for key in reader.members()}
    if first == "[":
        return [walk(reader) for _ in reader.elements()]
    return reader.value()


def read(text, how, block):
    reader = Reader(io.BytesIO(text.encode("utf-8", "surrogatepass")), block=block)
    value = how(reader)
    reader.end()
    return value, reader.take_faults()


@pytest.mark.parametrize("block", [1, 2, 7, 64, 4096])
@pytest.mark.parametrize("text", DOCUMENTS)
def test_whole_values_and_walks_equal_json(text, block):
    expected = json.loads(text)
    assert read(text, Reader.value, block) == (expected, [])
    assert read(text, walk, block) == (expected, [])


def mutations(text, count, seed):
    """Yield ``text`` with one to three small changes: a character dropped, doubled,
    replaced, or the end cut off.
    """
    rng = random.Random(seed)
    for _ in range(count):
        changed = text
        for _ in range(rng.randint(1, 3)):
            i = rng.randrange(len(changed))
            new = rng.choice(
                [
                    "",
                    changed[i] * 2,
                    rng.choice('[]{},:"0123456789.-+eEtfnNI x;\t\ufeff\0é'),
                    rng.choice(PIECES),
                ]
            )
            changed = (
                changed[:i] + new + (changed[i + 1 :] if rng.random() < 0.97 else "")
            )
            if not changed:
                break
        yield changed


def strict(text):
    """Return the value that json reads from a text, or None if there is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


@pytest.mark.parametrize("document", range(len(DOCUMENTS)))
def test_damaged_documents_are_refused_where_json_refuses_them(document):
    refused = 0
    for i, text in enumerate(mutations(DOCUMENTS[document], 300, document)):
        expected = strict(text)
        for how in (Reader.value, walk):
            try:
                value, _ = read(text, how, block=1 + i % 40)
            except JSONError:
                assert expected is None, text
                refused += 1
            else:
                assert json.dumps(value) == json.dumps(expected), text
    assert refused > 100


ROWS = "[[0.123456,0.876544],[1e-06,0.999999],[0,1],[0.5,0.5],[0.25,0.75],[1.0,0.0]]"


def matrix(rows):
    """Return the array of a decoded fold, None if there is none."""
    if (
        not isinstance(rows, list)
        or not rows
        or not all(isinstance(row, list) and row for row in rows)
    ):
        return None
    if len(set(map(len, rows))) > 1 or not {
        type(value) for row in rows for value in row
    } <= {int, float}:
        return None
    try:
        return np.array(rows, np.float64)
    except OverflowError:
        return None


@pytest.mark.parametrize(
    "text",
    [
        ROWS,
        ROWS.replace(",", ", "),
        ROWS.replace("],", "] ,\n "),
        ROWS.replace("[", "[ "),
    ],
)
@pytest.mark.parametrize("block", [3, 20, 45, 1 << 20])
def test_folds_are_those_of_json(text, block):
    (first, second), faults = read(f"[{text},{text}]", read_folds, block)
    expected = np.array(json.loads(ROWS), np.float64)
    assert (
        first.dtype == np.float64
        and np.array_equal(first, expected)
        and np.array_equal(second, expected)
    )
    assert faults == []


def test_damaged_folds_are_refused_or_found_where_json_and_types_say_so():
    counts = {"refused": 0, "defect": 0, "read": 0}
    for i, text in enumerate(mutations(ROWS, 4000, 5)):
        expected, block = strict(text), (5, 16, 60, 1 << 20)[i % 4]
        try:
            folds, _ = read(f"[{text}]", read_folds, block)
        except JSONError:
            assert strict(f"[{text}]") is None, text
            counts["refused"] += 1
            continue
        assert strict(f"[{text}]") is not None, text
        if len(folds) != 1:
            continue  # a comma between two values
        wanted = matrix(expected)
        if isinstance(folds[0], str):
            assert wanted is None, text
            counts["defect"] += 1
        else:
            np.testing.assert_array_equal(folds[0], wanted, err_msg=text)
            counts["read"] += 1
    assert min(counts.values()) > 50, counts


def test_a_faulty_row_is_found_by_its_number_beyond_the_first_block():
    rows = [[0.25, 0.75]] * 5000
    rows[4321] = [0.25, "]],[["]
    (fold,), _ = read(json.dumps([rows]), read_folds, block=1 << 10)
    assert fold == "row 4321, column 1: ']],[[' is not a number"
    rows[4321] = [0.25]
    (fold,), _ = read(json.dumps([rows]), read_folds, block=1 << 10)
    assert fold == "row 4321 has 1 columns, row 0 has 2"
    text = json.dumps([rows]).replace("[0.25],", "[0.25,],")
    with pytest.raises(JSONError, match="^row 4321: "):
        read(text, read_folds, block=1 << 10)


def test_a_character_is_named_by_its_place_in_the_whole_text():
    text = json.dumps({"a": list(range(5000)), "b": 1})[:-1] + "?"
    with pytest.raises(JSONError, match=rf"got '\?' at character {len(text) - 1}$"):
        read(text, walk, block=256)


def test_what_json_only_tolerates_is_kept_apart():
    value, faults = read(
        '{"a": NaN, "b": [-Infinity], "a": {"c": 1, "c": 2}}', walk, block=8
    )
    assert value == {"a": {"c": 2}, "b": [-np.inf]}
    assert faults == [
        "key 'a' occurs more than once in an object",
        "key 'c' occurs more than once in an object",
        "the token -Infinity is not JSON",
        "the token NaN is not JSON",
    ]
