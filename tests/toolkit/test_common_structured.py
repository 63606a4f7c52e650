"""YAML and JSON files give plain values, or one sentence."""

import os

import pytest

from toolkit.common.structured import MOST, read_json, read_yaml, write_json

LAUGHS = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def test_plain_values_and_merged_keys(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(
        "\ufeffbase: &base {lr: 0.1}\nown: {<<: *base, steps: 3}\n", encoding="utf-8"
    )
    assert read_yaml(path) == {"base": {"lr": 0.1}, "own": {"lr": 0.1, "steps": 3}}
    path.write_text(
        "a: {base: &base {<<: {lr: 1, k: 5}, lr: 2}}\nb: {<<: *base, lr: 3}\n"
    )
    assert read_yaml(path) == {
        "a": {"base": {"lr": 2, "k": 5}},
        "b": {"lr": 3, "k": 5},
    }
    path.write_text("")
    assert read_yaml(path) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: !!python/object/apply:os.system [touch evil]\n",
            "line 1: could not determine a constructor",
        ),
        ("a: !!python/name:os.system\n", "line 1: could not determine a constructor"),
        (LAUGHS, f"more than {MOST:,} values"),
        ("&a [*a]\n", f"more than {MOST:,} values"),
        ("[" * 10_000, "nested too deeply"),
        ("a: 2024-13-45\n", "month must be in"),
        ("{[1, 2]: 3}\n", "line 1: found unhashable key"),
        ("? {a: 1}\n: 2\n", "line 1: found unhashable key"),
        (f"a: {'9' * 5000}\n", "integer string"),
        ("a: [\n", "line 2: "),
        ("a: 1\nb: 2\na: 3\n", "line 3: key 'a' is in line 1, too"),
        ("a: {b: 1, c: [{d: 1, 'd': 2}]}\n", "line 1: key 'd' is in line 1, too"),
        ("a: 1\x00\n", "special characters are not allowed"),
    ],
)
def test_what_can_not_be_read_is_one_sentence(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"--groups: .*a\.yaml .*{message}") as caught:
        read_yaml(path, "--groups")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert not (tmp_path / "evil").exists()


def test_no_text_and_no_file(tmp_path):
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.yaml is not UTF-8 text"):
        read_yaml(tmp_path / "a.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "link.yaml").symlink_to("nowhere")
    for path in (
        tmp_path / "b.yaml",
        tmp_path,
        tmp_path / "pipe.yaml",
        tmp_path / "link.yaml",
        "/dev/null",
    ):
        with pytest.raises(FileNotFoundError, match="no file"):
            read_yaml(path)


def test_json_round_trip(tmp_path):
    path = tmp_path / "new" / "a.json"
    write_json(path, {"a": [1, 2.5, None, "é"]})
    assert read_json(path) == {"a": [1, 2.5, None, "é"]}
    path.write_bytes(b"\xef\xbb\xbf[]")
    assert read_json(path) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1,\n "b": }\n', r"a\.json:2: not valid json: Expecting value"),
        ("", r"a\.json:1: not valid json"),
        ("[" * 100_000, r"a\.json: not valid json: nested too deeply"),
        ("9" * 5000, r"a\.json: not valid json: .*integer string"),
    ],
)
def test_what_is_no_json_is_one_sentence(tmp_path, text, message):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_json(path)
    with pytest.raises(ValueError, match="--groups: .*" + message):
        read_json(path, "--groups")


def test_no_json_file(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a\.json is not UTF-8 text"):
        read_json(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError, match=r"--groups: no file .*b\.json"):
        read_json(tmp_path / "b.json", "--groups")
