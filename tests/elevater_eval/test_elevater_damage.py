"""Every kind of damage to a submission is found, and named with its file, task, seed
and row.
"""

import json
import shlex
import zipfile

import pytest

from elevater_eval import validate
from elevater_eval.__main__ import main


def errors(path):
    return [str(problem) for problem in validate(path) if problem.level == "error"]


def entry(**fields):
    return lambda data: data[1].update(fields)


def without(key):
    return lambda data: data[1].pop(key)


def renamed(old, new):
    return lambda data: data[1].update({new: data[1].pop(old)})


def row(*values):
    """Return a function that edits row 17 of seed 2, of four columns."""

    def change(data):
        data[1]["predictions"][2][17] = values[0] if len(values) == 1 else list(values)

    return change


def fold(function):
    def change(data):
        data[1]["predictions"][1] = function(data[1]["predictions"][1])

    return change


def another_task(**fields):
    """Return a function that adds a third task, so that the usual value is that of two
    tasks, and changes fields of the second one.
    """

    def change(data):
        data.append({**data[0], "dataset_name": "toy"})
        data[1].update(fields)

    return change


K = "kitti-distance"
# kind: (the damage, the place after the file's name, how the message begins)
CONTENT = {
    "missing key": (without("n_shot"), K, "key 'n_shot' is missing"),
    "no task name": (
        without("dataset_name"),
        "data[1]",
        "key 'dataset_name' is missing",
    ),
    "unknown key": (entry(version=1), K, "unknown key 'version'; known: model_name"),
    "misspelt key": (
        renamed("num_params", "num_param"),
        K,
        "unknown key 'num_param'; did you mean 'num_params'?",
    ),
    "not an object": (
        lambda data: data.append(3),
        "data[2]",
        "an object with the nine keys is expected, got a number",
    ),
    "task name of wrong type": (
        entry(dataset_name=7),
        "data[1]",
        "dataset_name must be a non-empty string",
    ),
    "task name of two lines": (
        entry(dataset_name="a\nb"),
        "data[1]",
        "dataset_name must be a non-empty string",
    ),
    "empty model name": (
        entry(model_name=" "),
        K,
        "model_name must be a non-empty string",
    ),
    "n_shot of wrong type": (
        entry(n_shot=5.0),
        K,
        "n_shot must be -1, 0 or a positive integer, got 5.0",
    ),
    "n_shot below -1": (
        entry(n_shot=-5),
        K,
        "n_shot must be -1, 0 or a positive integer, got -5",
    ),
    "seeds of wrong type": (
        entry(rnd_seeds="012"),
        K,
        "rnd_seeds must be a non-empty list of integers, got '012'",
    ),
    "seed of wrong type": (
        entry(rnd_seeds=[0, 1, True]),
        K,
        "rnd_seeds must be a non-empty list of integers",
    ),
    "repeated seed": (
        entry(rnd_seeds=[0, 1, 1]),
        K,
        "rnd_seeds [0, 1, 1] holds seed 1 more than once",
    ),
    "fewer seeds than folds": (
        entry(rnd_seeds=[0, 1]),
        K,
        "predictions hold 3 folds, rnd_seeds name 2 seeds",
    ),
    "more seeds than folds": (
        entry(rnd_seeds=[0, 1, 2, 3]),
        K,
        "predictions hold 3 folds, rnd_seeds name 4 seeds",
    ),
    "predictions no list": (
        entry(predictions={}),
        K,
        "predictions must be a list, got an empty object",
    ),
    "predictions of text": (
        entry(predictions="[[[1]]]"),
        K,
        "predictions must be a list, got a string",
    ),
    "no folds": (entry(predictions=[]), K, "predictions hold 0 folds"),
    "fold no list": (
        fold(lambda rows: {"0": rows}),
        f"{K}, seed 1",
        "a fold must be a non-empty list of rows",
    ),
    "empty fold": (
        fold(lambda rows: []),
        f"{K}, seed 1",
        "a fold must be a non-empty list of rows",
    ),
    "no seed level": (
        lambda d: d[1].update(predictions=d[1]["predictions"][0]),
        f"{K}, seed 0",
        "row 0 must be a non-",
    ),
    "too few rows": (
        fold(lambda rows: rows[:-1]),
        f"{K}, seed 1",
        "710 rows, but 711 expected",
    ),
    "too many rows": (
        fold(lambda rows: rows + rows[:1]),
        f"{K}, seed 1",
        "712 rows, but 711 expected",
    ),
    "column too many": (
        fold(lambda rows: [[*r, 0.0] for r in rows]),
        f"{K}, seed 1",
        "5 columns, but 4 expected",
    ),
    "column too few": (
        fold(lambda rows: [[1.0, 0.0, 0.0]] * 711),
        f"{K}, seed 1",
        "3 columns, but 4 expected",
    ),
    "short row": (row(0.5, 0.5), f"{K}, seed 2", "row 17 has 2 columns, row 0 has 4"),
    "long row": (
        row(0.5, 0.5, 0, 0, 0),
        f"{K}, seed 2",
        "row 17 has 5 columns, row 0 has 4",
    ),
    "empty row": (
        row([]),
        f"{K}, seed 2",
        "row 17 must be a non-empty list of probabilities, got an empty list",
    ),
    "number for a row": (
        row(0.5),
        f"{K}, seed 2",
        "row 17 must be a non-empty list of probabilities, got a number",
    ),
    "null for a row": (
        row(None),
        f"{K}, seed 2",
        "row 17 must be a non-empty list of probabilities, got null",
    ),
    "object for a row": (
        row({"0": [1]}),
        f"{K}, seed 2",
        "row 17 must be a non-empty list of probabilities, got an obj",
    ),
    "nested row": (
        row([[0.5, 0.5]], 0, 0, 0),
        f"{K}, seed 2",
        "row 17, column 0: [[0.5, 0.5]] is not a number",
    ),
    "text in a row": (
        row(1.0, 0.0, "0", 0.0),
        f"{K}, seed 2",
        "row 17, column 2: '0' is not a number",
    ),
    "brackets in a row": (
        row(1.0, "]]", 0, 0),
        f"{K}, seed 2",
        "row 17, column 1: ']]' is not a number",
    ),
    "null in a row": (
        row(1, 0, None, 0),
        f"{K}, seed 2",
        "row 17, column 2: None is not a number",
    ),
    "boolean in a row": (
        row(True, 0, 0, 0),
        f"{K}, seed 2",
        "row 17, column 0: True is not a number",
    ),
    "value above 1": (
        row(1.2, 0, 0, 0),
        f"{K}, seed 2",
        "row 17, column 0: 1.2 is outside [0, 1]",
    ),
    "value below 0": (
        row(1, -0.1, 0, 0.1),
        f"{K}, seed 2",
        "row 17, column 1: -0.1 is outside [0, 1]",
    ),
    "huge integer": (
        row(10**400, 0, 0, 0),
        f"{K}, seed 2",
        "row 17, column 0: an integer is too large",
    ),
    "huge number": (
        row(0, 0, 0, 1e300),
        f"{K}, seed 2",
        "row 17, column 3: 1e+300 is outside [0, 1]",
    ),
    "NaN": (
        row(float("nan"), 0, 0, 0),
        f"{K}, seed 2",
        "row 17, column 0: nan is not finite",
    ),
    "infinity": (
        row(0, 0, float("inf"), 0),
        f"{K}, seed 2",
        "row 17, column 2: inf is not finite",
    ),
    "NaN token": (row(float("nan"), 0, 0, 0), K, "the token NaN is not JSON"),
    "infinity token": (
        row(0, -float("inf"), 0, 0),
        K,
        "the token -Infinity is not JSON",
    ),
    "row sum": (
        row(0.5, 0.4985, 0, 0),
        f"{K}, seed 2",
        "row 17 sums to 0.998500, not to 1 within 0.001",
    ),
    "logits": (
        row(4.2, -3.0, 0.1, 0.2),
        f"{K}, seed 2",
        "row 17, column 0: 4.2 is outside [0, 1] (and 1 more)",
    ),
    "percent": (
        row(50.0, 50.0, 0.0, 0.0),
        f"{K}, seed 2",
        "row 17, column 0: 50.0 is outside [0, 1] (and 1 more)",
    ),
    "misspelt task": (
        entry(dataset_name="kitti_distance"),
        "kitti_distance",
        "unknown task 'kitti_distance'; did you",
    ),
    "repeated task": (
        lambda data: data.append(data[1]),
        K,
        "task 'kitti-distance' occurs more than once",
    ),
    "other n_shot": (another_task(n_shot=20), K, "n_shot is 20, but 5 in"),
    "other model": (another_task(model_name="x"), K, "model_name is 'x', but 'm' in"),
    "huge count": (
        entry(num_params=10**400),
        K,
        "num_params is too large for a number of parameters",
    ),
    "negative count": (
        entry(num_visual_params=-1),
        K,
        "num_visual_params must not be negative, got -1",
    ),
    "fractional count": (
        entry(num_backbone_params=1.5),
        K,
        "num_backbone_params must be an integer, got 1.5",
    ),
    "boolean count": (
        entry(num_params=True),
        K,
        "num_params must be an integer, got True",
    ),
    "infinite count": (
        entry(num_trainable_params=1e999),
        K,
        "num_trainable_params must be an integer, got inf",
    ),
    "fewer params than visual": (
        entry(num_params=59),
        K,
        "num_params (59) is less than num_visual_params (60)",
    ),
    "backbone below visual": (
        entry(num_backbone_params=59),
        K,
        "num_backbone_params (59) is less than num_visual_",
    ),
}


@pytest.mark.parametrize("kind", CONTENT)
def test_damage_to_the_content_is_named(write_zip, two_tasks, capsys, kind):
    change, place, message = CONTENT[kind]
    change(two_tasks)
    path = write_zip(two_tasks)
    begin = f"error: {path}/all_predictions.json: {place}: {message}"
    assert any(line.startswith(begin) for line in errors(path)), (begin, errors(path))
    assert main(shlex.split(f"validate {path}")) == 2
    out, err = capsys.readouterr()
    assert begin in out and err == ""
    assert all(len(line) < 400 for line in out.splitlines() if line.startswith("error"))


# The text of a task with two seeds of three rows; row 1 of seed 1 is [0.3,0.7].
HEAD = '"model_name": "m", "dataset_name": "toy", "num_trainable_params": 1, "num_params": 3, "num_visual_params": 1, '
HEAD += '"num_backbone_params": 2, "n_shot": 5, "rnd_seeds": [0, 1]'
TEXT = f'{{"data": [{{{HEAD}, "predictions": [[[0.1,0.9],[1,0],[0.5,0.5]], [[0.2,0.8],[0.3,0.7],[0.4,0.6]]]}}]}}'
TOY, PLACE = "toy, seed 1", "at character"
TEXTS = {  # kind: (old text, new text, place, message, the rest of the message)
    "cut in a row": ("[0.3,0.7],[0.4,0.6]]]}]}", "[0.3,0.", TOY, "row 1: Expecting"),
    "cut after a row": (
        ",[0.4,0.6]]]}]}",
        "",
        TOY,
        "row 2: ',' or ']' expected, the text ends",
    ),
    "cut after a fold": ("]}]}", "", "toy", "',' or ']' expected, the text ends"),
    "cut at the end": ("]}]}", "]}", "", "',' or ']' expected, the text ends"),
    "text after the end": ("]}]}", "]}]} {}", "", "extra data"),
    "comma too many in a row": ("0.3,0.7", "0.3,,0.7", TOY, "row 1: Expecting value"),
    "comma at the end of a row": ("0.3,0.7", "0.3,0.7,", TOY, "row 1: "),
    "comma at the end of a fold": (
        "[0.4,0.6]]",
        "[0.4,0.6],]",
        TOY,
        "row 3: Expecting value",
    ),
    "no comma in a row": ("0.3,0.7", "0.3 0.7", TOY, "row 1: Expecting ',' delimiter"),
    "no comma between rows": (
        "],[0.4",
        "][0.4",
        TOY,
        "row 2: ',' or ']' expected, got '['",
    ),
    "no comma between keys": (
        ', "rnd_seeds"',
        ' "rnd_seeds"',
        "toy",
        "',' or '}' expected, got '\"'",
    ),
    "comma before the end": ("]}]}", "]},]}", "", "Expecting value"),
    "leading zero": ("0.3,0.7", "00.3,0.7", TOY, "row 1: Expecting ',' delimiter"),
    "leading plus": ("0.3,0.7", "+0.3,0.7", TOY, "row 1: Expecting value"),
    "leading point": ("0.3,0.7", ".3,0.7", TOY, "row 1: Expecting value"),
    "trailing point": ("0.3,0.7", "1.,0", TOY, "row 1: Expecting ',' delimiter"),
    "decimal comma": ("0.3,0.7", "0,3;0,7", TOY, "row 1: Expecting ',' delimiter"),
    "semicolon between rows": (
        "0.7],[0.4",
        "0.7;0.4",
        TOY,
        "row 1: Expecting ',' delimiter",
    ),
    "hexadecimal": ("0.3,0.7", "0x1,0", TOY, "row 1: Expecting ',' delimiter"),
    "letters": ("0.3,0.7", "nan,0", TOY, "row 1: Expecting value"),
    "a byte changed": ("0.3,0.7", "0.3\x000.7", TOY, "row 1: "),
    "open string in a row": ("0.3,0.7", '"0.3,0.7', TOY, "row 1: Unterminated string"),
    "brace for a bracket": (
        "[0.3,0.7]",
        "[0.3,0.7}",
        TOY,
        "row 1: Expecting ',' delimiter",
    ),
    "bracket too many": (
        "[0.4,0.6]]",
        "[0.4,0.6]]]",
        "toy",
        "',' or '}' expected, got ']'",
    ),
    "key without quotes": ('"n_shot"', "n_shot", "toy", "'\"' expected, got 'n'"),
    "single quotes": (TEXT, TEXT.replace('"', "'"), "", "'\"' expected"),
    "byte order mark": ('{"data"', '\ufeff{"data"', "", "a byte order mark"),
    "endless integer": ("0.3,0.7", "1" * 5000 + ",0", TOY, "row 1: Exceeds the limit"),
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.parametrize("spaces", [False, True])
def test_damage_to_the_text_is_named(write_zip, kind, spaces):
    old, new, place, message = TEXTS[kind]
    assert TEXT.count(old) == 1
    text = TEXT.replace(old, new)
    if spaces:
        text = text.replace("],[", "] , [")
    path = write_zip(text)
    where = f"error: {path}/all_predictions.json" + (f": {place}" if place else "")
    (line,) = [line for line in errors(path) if "unknown task" not in line]
    assert line.startswith(f"{where}: not JSON: {message}") and PLACE in line, line


def test_bytes_that_are_no_utf8_are_named(write_zip, tmp_path):
    path = write_zip("")
    for content in (
        TEXT.replace("toy", "tö").encode("latin-1"),
        TEXT.encode("utf-16"),
        TEXT.encode()[:-3] + b"\xe2",
    ):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("all_predictions.json", content)
        assert "not UTF-8 text" in errors(path)[0]


def test_keys_that_occur_twice_are_named(write_zip):
    path = write_zip(TEXT.replace('"n_shot": 5', '"n_shot": 5, "n_shot": 5'))
    assert errors(path) == [
        f"error: {path}/all_predictions.json: toy: key 'n_shot' occurs more than once in an object"
    ]
    path = write_zip(
        TEXT.replace('"n_shot": 5', '"n_shot": 5, "more": [{"a": 1, "a": 1}]')
    )
    assert "toy: key 'a' occurs more than once in an object" in errors(path)[0]


def test_the_order_of_keys_is_free(write_zip, two_tasks):
    data = [dict(reversed(list(task.items()))) for task in two_tasks]
    assert next(iter(data[0])) == "predictions" and errors(write_zip(data)) == []
    data[1]["predictions"][2][17][1] = "x"
    assert (
        f"{K}, seed 2: row 17, column 1: 'x' is not a number"
        in errors(write_zip(data))[0]
    )


def test_damage_to_one_task_hides_no_other(write_zip, record):
    data = [
        record("hateful-memes", 500, 2),
        record("kitti-distance", 711, 4),
        record("toy", 4, 3),
    ]
    data[0]["predictions"][0][3] = []
    data[1]["n_shot"] = "0"
    data[2]["predictions"][0][2][0] = 7
    assert [
        line.split("json: ")[1].split(":")[0] for line in errors(write_zip(data))
    ] == [
        "hateful-memes, seed 0",
        "kitti-distance",
        "toy, seed 0",
    ]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-40])


def corrupt(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def store_wrongly(path):
    """Write a member that is stored, with one digit changed: only its checksum shows
    it.
    """
    text = zipfile.ZipFile(path).read("all_predictions.json")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("all_predictions.json", text)
    content = path.read_bytes()
    place = content.index(b"[[[0.") + 5
    path.write_bytes(
        content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    )


ARCHIVES = {
    "not a zip": (lambda path: path.write_text("hello"), "not a zip archive"),
    "truncated": (truncate, "not a zip archive, or a truncated one"),
    "corrupt": (corrupt, "the zip cannot be read"),
    "wrong checksum": (
        store_wrongly,
        "the zip cannot be read, it is damaged or encrypted: ",
    ),
    "empty file": (lambda path: path.write_bytes(b""), "not a zip archive"),
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_damage_to_the_archive_is_named(write_zip, two_tasks, kind):
    damage, message = ARCHIVES[kind]
    path = write_zip(two_tasks)
    damage(path)
    lines = errors(path)
    assert (
        len(lines) == 1
        and lines[0].startswith(f"error: {path}")
        and message in lines[0]
    )
    assert main(shlex.split(f"validate {path}")) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[" * 100000, "not JSON: nested too deeply"),
        ("null", "the top level must be an object with the key 'data', got null"),
        (
            "[]",
            "the top level must be an object with the key 'data', got an empty list",
        ),
        (
            json.dumps([{"data": []}]),
            "the top level must be an object with the key 'data', got a list",
        ),
        ('{"dat": []}', "the top level must be an object with the key 'data'"),
        ('{"data": []}', "'data' must be a non-empty list"),
        ('{"data": {}}', "'data' must be a non-empty list"),
        ('{"data": [{}], "data": [{}]}', "key 'data' occurs more than once"),
        ('{"data": [{}], "version": 1}', "unknown key 'version' beside 'data'"),
    ],
)
def test_damage_to_the_top_level_is_named(write_zip, text, message):
    path = write_zip(text)
    lines = errors(path)
    assert any(
        line.startswith(f"error: {path}/all_predictions.json: ") and message in line
        for line in lines
    ), lines


def test_wrong_and_extra_members_are_named(write_zip, two_tasks):
    assert (
        "it holds 'predictions.json'"
        in errors(write_zip(two_tasks, member="predictions.json"))[0]
    )
    path = write_zip(two_tasks)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/x", "")
    assert "it holds 'all_predictions.json', '__MACOSX/x'" in errors(path)[0]


def test_damage_to_a_prediction_file_is_named(tmp_path, record):
    content = record("kitti-distance", 711, 4, (1,), 5)
    content["predictions"][0][17][2] = "x"
    path = tmp_path / "seed1_kitti-distance.json"
    path.write_text(json.dumps(content))
    assert errors(path) == [
        f"error: {path}: kitti-distance, seed 1: row 17, column 2: 'x' is not a number"
    ]
    path.write_text(json.dumps(content)[:-9])
    assert errors(path)[0].startswith(
        f"error: {path}: kitti-distance, seed 1: not JSON: row 710: Expecting"
    )
