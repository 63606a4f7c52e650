"""`python -m datasets cache`: unpacked images, and those whose source is gone."""

import json
import os
import shutil

import pytest
from copies import write_parquet, write_wds

from datasets import build_task
from datasets.__main__ import main
from datasets.custom.packed import home

NAMES = ["wren", "robin"]
LABELS = {"train": [0, 1] * 2, "test": [1, 0]}


@pytest.fixture(autouse=True)
def packed_home(tmp_path, monkeypatch):
    monkeypatch.setenv("MVLPT_PACKED", str(tmp_path / "packed"))


def unpack(cfg, name) -> str:
    """Build a task; return the name of the folder that was made for its images."""
    before = set(os.listdir(home())) if home().exists() else set()
    cfg.DATASET.NUM_SHOTS = -1
    build_task(cfg, name)
    (made,) = set(os.listdir(home())) - before
    return made


def cache(capsys, *words) -> list[dict]:
    capsys.readouterr()
    assert main(["cache", "--json", *words]) == 0
    return json.loads(capsys.readouterr().out)


def states(capsys) -> dict[str, str]:
    return {os.path.basename(one["folder"]): one["state"] for one in cache(capsys)}


def test_entries_name_their_sources(cfg, tmp_path, capsys):
    assert cache(capsys) == []
    write_wds(tmp_path / "birds", NAMES, LABELS)
    made = unpack(cfg, f"wds:{tmp_path / 'birds'}")
    size = sum(file.stat().st_size for file in (home() / made).iterdir())
    assert cache(capsys) == [
        {
            "folder": str(home() / made),
            "source": f"wds:{tmp_path / 'birds'}",
            "state": "there",
            "bytes": size,
            "removed": False,
        }
    ]
    assert main(["cache", "--remove"]) == 0
    text = capsys.readouterr().out
    assert f"wds:{tmp_path / 'birds'}" in text
    assert text.endswith(f"1 in {home()}: 0.0 MB\n")


def test_entries_whose_source_is_gone_or_changed_are_removed(cfg, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    write_wds(tmp_path / "gone", NAMES, LABELS)
    write_wds(tmp_path / "changed", NAMES, LABELS)
    write_parquet(tmp_path / "kept", NAMES, LABELS, parts=1)
    gone = unpack(cfg, f"wds:{tmp_path / 'gone'}")
    changed = unpack(cfg, f"wds:{tmp_path / 'changed'}")
    kept = unpack(cfg, f"parquet:{tmp_path / 'kept'}")
    shutil.rmtree(tmp_path / "gone")
    write_wds(tmp_path / "changed", NAMES, LABELS | {"test": [1, 0, 1]})
    assert states(capsys) == {gone: "gone", changed: "changed", kept: "there"}
    assert main(["cache"]) == 0
    assert "removes 2 of them" in capsys.readouterr().out
    assert sorted(os.listdir(home())) == sorted([gone, changed, kept])
    removed = [one["state"] for one in cache(capsys, "--remove") if one["removed"]]
    assert sorted(removed) == ["changed", "gone"]
    assert os.listdir(home()) == [kept]


def test_a_source_that_moved_keeps_its_entry(cfg, tmp_path, capsys):
    write_wds(tmp_path / "old/birds", NAMES, LABELS)
    made = unpack(cfg, f"wds:{tmp_path / 'old/birds'}")
    (tmp_path / "old").rename(tmp_path / "new")
    assert states(capsys) == {made: "gone"}
    build_task(cfg, f"wds:{tmp_path / 'new/birds'}")
    assert states(capsys) == {made: "there"}


def test_entries_of_earlier_versions_and_of_stopped_processes(cfg, tmp_path, capsys):
    write_wds(tmp_path / "birds", NAMES, LABELS)
    made = unpack(cfg, f"wds:{tmp_path / 'birds'}")
    index = home() / made / "index.json"
    content = json.loads(index.read_text())
    del content["source"]
    index.write_text(json.dumps(content))
    unfinished = home() / ".birds-0123.77.tmp"
    unfinished.mkdir()
    (unfinished / "train.zip").write_bytes(b"12345")
    (home() / "mine").mkdir()
    assert states(capsys) == {made: "unknown"}  # a process may be at work
    for path in (unfinished / "train.zip", unfinished):
        os.utime(path, (0, 0))
    assert states(capsys) == {made: "unknown", unfinished.name: "unfinished"}
    assert main(["cache", "--remove"]) == 0
    assert sorted(os.listdir(home())) == sorted([made, "mine"])
    build_task(cfg, f"wds:{tmp_path / 'birds'}")
    assert states(capsys) == {made: "there"}
