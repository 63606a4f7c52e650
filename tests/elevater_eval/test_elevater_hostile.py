"""Untrusted submissions: every fault is named, and the memory that they take is
bounded.
"""

import json
import shlex
import struct
import time
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from elevater_eval import folds, jsonstream, validate
from elevater_eval.__main__ import main


def errors(path):
    return [str(problem) for problem in validate(path) if problem.level == "error"]


def one(message, path):
    found = errors(path)
    assert any(message in error for error in found), found
    assert main(shlex.split(f"validate {path}")) == 2
    assert all(len(error) < 400 for error in found)


@pytest.mark.parametrize(
    "text",
    [
        '{"data": [' + "[" * 100_000,
        '{"data": [{"predictions": ' + "[" * 100_000,
        '{"a": ' * 100_000,
    ],
    ids=["lists", "folds", "objects"],
)
def test_nesting(write_zip, text):
    path = write_zip(text)
    assert any(
        "nested too deeply" in error or "row 0" in error for error in errors(path)
    ), errors(path)


def test_a_value_that_never_ends(write_zip, monkeypatch):
    monkeypatch.setattr(jsonstream, "LONGEST", 1 << 20)
    one(
        "a value is longer than 1,048,576 characters",
        write_zip('{"data": [{"model_name": "' + "x" * (1 << 23)),
    )


def test_keys_without_end(write_zip):
    keys = ", ".join(f'"{k}": 0' for k in range(jsonstream.MOST_KEYS + 10))
    one("an object has more than 1,000 keys", write_zip(f'{{"data": [{{{keys}}}]}}'))


def test_tasks_without_end(write_zip):
    one(
        "a list has more than 10,000 elements",
        write_zip('{"data": [' + "0," * 10_100 + "0]}"),
    )


def test_numbers_without_end(write_zip, record, monkeypatch):
    monkeypatch.setattr(folds, "MOST", 1000)
    assert not any(
        "more than" in error
        for error in errors(write_zip([record("mnist", 50, 10, (0, 1))]))
    )
    one(
        "more than 1,000 numbers in a task",
        write_zip([record("mnist", 51, 10, (0, 1))]),
    )


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_methods_without_a_bound(tmp_path, method):
    path = tmp_path / "submission.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("all_predictions.json", "{}")
    one("neither stored nor deflated", path)


@pytest.mark.parametrize("size", [0, 10, 0xFFFFFFF0])
def test_another_size_than_declared(write_zip, record, size):
    path = write_zip([record("mnist", 5, 10)])
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", size)
    path.write_bytes(bytes(content))
    assert errors(path)


@pytest.mark.parametrize(
    "name",
    [
        "../all_predictions.json",
        "/all_predictions.json",
        "a/all_predictions.json",
        "\u202e",
    ],
)
def test_names_of_members(write_zip, tmp_path, name):
    before = sorted(tmp_path.rglob("*"))
    path = write_zip("{}", member=name)
    one("must hold exactly one member", path)
    assert sorted(tmp_path.rglob("*")) == sorted([*before, path])


def test_a_bomb_takes_little_memory(write_zip):
    path = write_zip('{"data": [' + " " * (1 << 27) + "]}")
    assert path.stat().st_size < 1 << 18
    tracemalloc.start()
    one("'data' must be a non-empty list", path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 25


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"images": [{"id": ' + "9" * 5000 + "}]}", "[]", '{"images": 3}'],
)
def test_an_index_of_anyones(data_root, write_zip, record, text):
    (data_root / "classification/hateful_memes_20211014/test_meta.json").write_text(
        text
    )
    path = write_zip([record("hateful-memes", 3, 2)])
    assert main(shlex.split(f"score {path} --root {data_root}")) == 2


def test_names_are_shown_without_control_characters(write_zip, record):
    path = write_zip(json.dumps({"data": [record("\x1b[2J\x07mnist", 3, 2)]}))
    assert not any(char in error for error in errors(path) for char in "\x1b\x07")


def test_seeds_without_end(tmp_path, record):
    content = record("mnist", 1, 10) | {"predictions": []}
    path = tmp_path / "seed0_mnist.json"
    for seeds in (list(range(100_000)), [7] * 100_000):
        path.write_text(json.dumps(content | {"rnd_seeds": seeds}))
        start = time.process_time()
        found = errors(path)
        assert found and all(len(error) < 400 for error in found), found
        assert time.process_time() - start < 2
    assert "holds seed 7 more than once" in found[0]
    path.write_text(
        json.dumps(
            content | {"rnd_seeds": list(range(9000)), "predictions": [[[0.5]]] * 9000}
        )
    )
    start = time.process_time()
    assert "rows, but 10000 expected" in errors(path)[0]
    for command in (
        f"combine -o {tmp_path}/s.zip",
        "validate",
        f"score --root {tmp_path}",
    ):
        assert main(shlex.split(f"{command} {path}")) in (0, 2)
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    "command", ["combine {run} -o {out}", "score {run} --root {root} --json {out}"]
)
@pytest.mark.parametrize("out", ["/dev/null", "/dev/stdout"])
def test_a_device_stays_a_device(run_folder, data_root, capsys, command, out):
    run = run_folder("run", {"mnist": (30, 10)}, (0,))
    assert main(command.format(run=run, root=data_root, out=out).split()) == 2
    assert (
        f"error: {out} is a device or a pipe, a file name is needed"
        in capsys.readouterr().err
    )
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize(
    "change",
    [
        {"dataset_name": "x" * 1_000_000},
        {"model_name": "x" * 1_000_000},
        {"\x1b[31merror: all is lost\n": 1},
    ]
    + [{"k" * 1_000_000: 1}, {"n_shot": "\n\x1b[2J" * 100_000}],
)
def test_messages_are_short_and_steer_no_terminal(tmp_path, record, capsys, change):
    path = tmp_path / "seed0_mnist.json"
    path.write_text(json.dumps(record("mnist", 5, 10) | change))
    for command in (
        f"validate {path}",
        f"score {path} --root {tmp_path}",
    ):
        assert main(shlex.split(command)) == 2
        out, err = capsys.readouterr()
        lines = (out + err).splitlines()
        assert all(len(line) < 500 and line.isprintable() for line in lines)
        assert not any(line.startswith("error: all is lost") for line in lines)
