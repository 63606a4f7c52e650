"""The published few-shot lists: read, written, and taken by a task."""

import json
import shlex

import pytest

import datasets
from datasets import __main__ as command
from datasets.coop import CoopTask
from datasets.task import register_task


@pytest.fixture
def listed(disk):
    """Yield a registered set in CoOp's layout with ten images of each of two classes."""
    from dassl.data.datasets import DATASET_REGISTRY

    class Listed(CoopTask):
        name, folder, image_dir, split_json = "listed", "listed", "images", "split.json"

    rows = [[f"{k % 2}/{k}.png", k % 2, ("cat", "dog")[k % 2]] for k in range(20)]
    disk.json("listed/split.json", {"train": rows, "val": rows[:4], "test": rows[:2]})
    for k in range(2):
        disk.write(f"listed/images/{k}/{k}.png", disk.image((k, k, k)))
    register_task(Listed)
    yield disk
    del DATASET_REGISTRY._obj_map["listed"]


def test_a_written_list_is_taken_back(listed, cfg, tmp_path):
    path = tmp_path / "list.jsonl"
    argv = f"few-shot listed --root {tmp_path} --shots 3 --seed 1 -o {path}"
    assert command.main(shlex.split(argv)) == 0
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 6 and list(lines[0]) == [
        "_impath",
        "_label",
        "_domain",
        "_classname",
    ]
    cfg.DATASET.NUM_SHOTS = 3
    expected = datasets.build_task(cfg, "listed").train_x
    assert [line["_impath"] for line in lines] == [sample.key for sample in expected]
    cfg.DATASET.FEWSHOT = str(path)
    task = datasets.build_task(cfg, "listed")
    assert task.train_x == expected and task.val == []


def test_paths_of_another_machine(listed, cfg, tmp_path):
    path = tmp_path / "list.json"
    item = {
        "_impath": "/home/me/data/listed/images/1/5.png",
        "_label": 1,
        "_domain": 0,
        "_classname": "dog",
    }
    other = item | {"_impath": "D:\\data\\images\\0\\4.png", "_label": 0}
    path.write_text(f"{json.dumps(item)}\n{json.dumps(other)}\n")
    cfg.DATASET.NUM_SHOTS = 1
    cfg.DATASET.FEWSHOT = str(path)
    assert [sample.key for sample in datasets.build_task(cfg, "listed").train_x] == [
        "1/5.png",
        "0/4.png",
    ]
    for change, message in (
        ({"_label": 0}, "1/5.png has the label 0, but 1 in this data set"),
        ({"_impath": "a/b.png"}, "names a/b.png, which is not there"),
        ({"_label": None}, r"list.json:1: expected a JSON object with _impath, _label"),
    ):
        path.write_text(json.dumps(item | change) + "\n")
        with pytest.raises(ValueError, match=message):
            datasets.build_task(cfg, "listed")
