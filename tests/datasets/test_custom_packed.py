"""Tasks straight from webdataset shards, parquet files and folders with a metadata
table.
"""

import json
import os

import copies
import pytest
from copies import image, write_parquet, write_tar, write_wds

from datasets import build_task, task_name
from datasets.custom.packed import home
from toolkit.common.archives import read_bytes

pytest.importorskip("pyarrow")

NAMES = ["wren", "robin", "great tit"]


@pytest.fixture(autouse=True)
def packed_home(tmp_path, monkeypatch):
    monkeypatch.setenv("MVLPT_PACKED", str(tmp_path / "packed"))
    assert home() == tmp_path / "packed"


@pytest.fixture
def everything(cfg):
    cfg.DATASET.NUM_SHOTS = -1
    return cfg


def keys(samples):
    return [sample.key for sample in samples]


# -- webdatasets and parquet files -------------------------------------------------------------------------------


def test_webdataset_is_a_task(everything, tmp_path):
    labels = {"train": [0, 1, 2] * 2, "val": [2, 1, 0], "test": [2, 1, 0, 1]}
    contents = write_wds(tmp_path / "birds", NAMES, labels)
    task = build_task(everything, f"wds:{tmp_path / 'birds'}")
    assert (task.name, task.classnames, task.metric) == ("birds", NAMES, "accuracy")
    assert task.templates == ["a photo of a {}.", "a picture of {}"]
    for samples, split in (
        (task.train_x, "train"),
        (task.val, "val"),
        (task.test, "test"),
    ):
        assert [sample.label for sample in samples] == labels[split]
        assert [read_bytes(sample.impath) for sample in samples] == contents[split]
    assert keys(task.test) == [f"test/s{k:07d}.png" for k in range(4)]
    (unpacked,) = home().iterdir()
    stamp = (unpacked / "index.json").stat().st_mtime_ns
    assert keys(build_task(everything, f"wds:{tmp_path / 'birds'}").test) == keys(
        task.test
    )
    # and is not unpacked again
    assert (unpacked / "index.json").stat().st_mtime_ns == stamp
    write_wds(tmp_path / "birds", NAMES, {**labels, "test": [0, 1]})
    assert len(build_task(everything, f"wds:{tmp_path / 'birds'}").test) == 2


def test_multilabel_webdataset(everything, tmp_path):
    rows = {"train": [(0,), (1, 2), ()], "test": [(2,), ()]}
    write_wds(tmp_path / "birds", NAMES, rows, shards=1)
    task = build_task(everything, f"wds:{tmp_path / 'birds'}")
    assert (task.label_kind, task.metric) == ("multilabel", "11point_mAP")
    assert [sample.labels for sample in task.test] == rows["test"]
    (tmp_path / "birds.yaml").write_text("label_kind: multiclass")
    with pytest.raises(
        ValueError,
        match="may have several labels, but label_kind in .*birds.yaml is multiclass",
    ):
        build_task(everything, f"wds:{tmp_path / 'birds'}")


@pytest.mark.parametrize("single", [False, True])
def test_parquet_is_a_task(single, everything, tmp_path):
    labels = {"train": [0, 1, 2] * 4, "validation": [2, 1, 0]}
    contents = write_parquet(tmp_path / "birds", NAMES, labels, parts=1)
    path = tmp_path / "birds"
    if single:
        path = path / "data/train-00000-of-00001.parquet"
    (tmp_path / "birds.yaml").write_text("templates: a bird called {}")
    task = build_task(everything, f"parquet:{path}")
    assert task.classnames == NAMES
    if single:  # a fifth of a single split is for testing
        assert task.name == "train-00000-of-00001" and {
            sample.label for sample in task.test
        } == {0, 1, 2}
        assert len(task.train_x) + len(task.val) + len(task.test) == 12
    else:  # without a test split, the validation images are
        assert task.name == "birds" and task.templates == ["a bird called {}"]
        assert [read_bytes(sample.impath) for sample in task.test] == contents[
            "validation"
        ]


def test_names_of_the_yaml_replace_those_of_the_source(everything, tmp_path):
    write_wds(tmp_path / "birds", ["wrn", "rob"], {"train": [0, 1] * 2, "test": [1, 0]})
    (tmp_path / "birds.yaml").write_text(
        "name: small birds\nnames: {rob: robin, wrn: wren}"
    )
    name = f"wds:{tmp_path / 'birds'}"
    task = build_task(everything, name)
    assert task_name(name) == task.name == "small birds" and task.classnames == [
        "robin",
        "wren",
    ]
    assert [sample.label for sample in task.test] == [0, 1]


@pytest.mark.parametrize("kind", ["wds", "parquet"])
@pytest.mark.parametrize("changed", ["labels", "names", "images"])
def test_a_source_that_changes_with_its_dates_kept(everything, tmp_path, kind, changed):
    write = write_wds if kind == "wds" else write_parquet
    folder, labels = tmp_path / "birds", {"train": [0, 1, 2] * 2, "test": [2, 1, 0, 1]}
    write(folder, NAMES, labels)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    dates = {path: path.stat().st_mtime_ns for path in files}
    before = build_task(everything, f"{kind}:{folder}")
    names = list(NAMES)
    if changed == "labels":
        labels["test"] = [1, 2, 1, 0]
    if changed == "names":
        names[:2] = ["wryn", "rabin"]
    if changed == "images":
        for path in files:
            content = path.read_bytes()
            path.write_bytes(content.replace(b"IEND\xaeB`\x82", b"IEND\xaeB`\x83"))
    else:
        write(folder, names, labels)
    for path, date in dates.items():
        os.utime(path, ns=(date, date))
    task = build_task(everything, f"{kind}:{folder}")
    assert task.classnames == names
    assert [sample.label for sample in task.test] == labels["test"]
    new, old = (read_bytes(found.test[0].impath) for found in (task, before))
    assert (new == old) == (changed != "images")


@pytest.mark.parametrize("name", ["ro\0bin", "\x1b[31mrobin"])
@pytest.mark.parametrize("kind", ["wds", "parquet"])
def test_control_characters_in_class_names_are_refused(
    everything, tmp_path, kind, name
):
    write = write_wds if kind == "wds" else write_parquet
    write(tmp_path / "birds", ["wren", name], {"train": [0, 1] * 2, "test": [1, 0]})
    with pytest.raises(ValueError, match="birds: '.*robin|bin' holds a control char"):
        build_task(everything, f"{kind}:{tmp_path / 'birds'}")


def test_bad_sources_leave_nothing(everything, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file or folder .*/birds"):
        build_task(everything, f"wds:{tmp_path / 'birds'}")
    write_wds(tmp_path / "birds", NAMES, {"train": [0, 1, 2], "test": [0, 1, 2]})
    write_tar(tmp_path / "birds/test/1.tar", [("a.cls", b"0")])
    with pytest.raises(ValueError, match="test/1.tar: a has a label, but no image"):
        build_task(everything, f"wds:{tmp_path / 'birds'}")
    assert list(home().iterdir()) == []
    with pytest.raises(
        ValueError, match=f"custom images are called wds:{tmp_path / 'birds'}"
    ):
        build_task(everything, str(tmp_path / "birds"))


def test_a_row_of_parquet_that_is_no_image(everything, tmp_path, monkeypatch):
    real, made = copies.image, iter(range(9))

    def sixth_is_text(seed):
        return b"no image" if next(made) == 5 else real(seed)

    monkeypatch.setattr(copies, "image", sixth_is_text)
    write_parquet(tmp_path / "birds", NAMES, {"train": [0, 1, 2] * 3}, parts=1)
    file = "data/train-00000-of-00001.parquet: row 5"
    with pytest.raises(ValueError, match=file):
        build_task(everything, f"parquet:{tmp_path / 'birds'}")
    assert list(home().iterdir()) == []


# -- imagefolder -------------------------------------------------------------------------------------------------


def folder_of(disk, files):
    for number, (path, content) in enumerate(files.items()):
        disk.write(f"photos/{path}", image(number) if content is None else content)
    return f"folder:{disk.root}/photos"


def table(*rows, header="file_name,label"):
    return "\n".join([header, *rows]) + "\n"


def images(*paths):
    return dict.fromkeys(paths)


def test_split_folders_with_tables(everything, disk):
    files = images(
        "train/a.png",
        "train/b.png",
        "train/more/c.png",
        "train/d.png",
        "test/a.png",
        "test/b.png",
    )
    files["train/metadata.csv"] = table(
        "a.png,wren", "b.png,robin", '"more/c.png",wren', "d.png,robin"
    )
    lines = [
        {"file_name": "a.png", "label": "robin"},
        {"file_name": "b.png", "label": "wren"},
    ]
    files["test/metadata.jsonl"] = "\n".join(map(json.dumps, lines))
    task = build_task(everything, folder_of(disk, files))
    assert task.classnames == ["robin", "wren"]
    assert keys(task.test) == ["test/a.png", "test/b.png"] and [
        sample.label for sample in task.test
    ] == [0, 1]
    assert sorted(keys([*task.train_x, *task.val])) == [
        "train/a.png",
        "train/b.png",
        "train/d.png",
        "train/more/c.png",
    ]


def test_one_table_in_the_root(everything, disk):
    paths = [f"{split}/{k}.png" for split in ("train", "test") for k in range(4)]
    files = images(*paths)
    files["metadata.csv"] = table(*(f"{path},{k % 2}" for k, path in enumerate(paths)))
    task = build_task(everything, folder_of(disk, files))
    assert task.classnames == ["0", "1"] and keys(task.test) == paths[4:]


def test_a_table_without_splits_is_split_as_folders_are(everything, disk):
    files = images(*(f"{k}.png" for k in range(12)))
    rows = [
        json.dumps({"file_name": f"{k}.png", "label": k % 2, "size": [1, 2]})
        for k in range(12)
    ]
    files["metadata.jsonl"] = "\n".join(rows)
    task = build_task(everything, folder_of(disk, files))
    assert {sample.label for sample in task.test} == {0, 1}
    assert len(task.train_x) + len(task.val) + len(task.test) == 12


def test_several_labels_in_a_table(everything, disk):
    files = images(
        *(f"{split}/{k}.png" for split in ("train", "test") for k in range(3))
    )
    for split in ("train", "test"):
        files[f"{split}/metadata.csv"] = table(
            "0.png,sea|sky", "1.png,sky", "2.png,", header="file_name,labels"
        )
    task = build_task(everything, folder_of(disk, files))
    assert (task.label_kind, task.classnames) == ("multilabel", ["sea", "sky"])
    assert [sample.labels for sample in task.test] == [(0, 1), (1,), ()]


def test_spaces_before_quotes_and_breaks_within_labels(everything, disk):
    files = images(*(f"{split}/{k}.png" for split in ("train", "test") for k in "ab"))
    for split in ("train", "test"):
        files[f"{split}/metadata.csv"] = table(
            '"a.png", "wren"', 'b.png,  "great ""tit"""', header='file_name, "label"'
        )
    task = build_task(everything, folder_of(disk, files))
    assert task.classnames == ['great "tit"', "wren"]
    assert [sample.label for sample in task.test] == [1, 0]


@pytest.mark.parametrize(
    "label", ["ro\0bin", "\x1b[2Jrobin", "ro\ud800bin", "a\u2028b"]
)
@pytest.mark.parametrize("escaped", [True, False])
def test_control_characters_in_labels_of_json_are_refused(
    everything, disk, label, escaped
):
    if not escaped and label != "a\u2028b":
        pytest.skip("JSON and UTF-8 hold it escaped only")
    files = images("train/a.png", "train/b.png", "test/a.png")
    files["test/metadata.csv"] = table("a.png,wren")
    lines = [("a.png", "wren"), ("b.png", label)]
    files["train/metadata.jsonl"] = "\n".join(
        json.dumps({"file_name": name, "label": text}, ensure_ascii=escaped)
        for name, text in lines
    )
    with pytest.raises(
        ValueError, match="train/metadata.jsonl:2: .* holds a control character"
    ):
        build_task(everything, folder_of(disk, files))


def test_a_table_without_labels_beside_class_folders_is_passed_over(everything, disk):
    files = images(
        *(
            f"{split}/{name}/{k}.png"
            for split in ("train", "test")
            for name in "ab"
            for k in range(2)
        )
    )
    files["train/metadata.csv"] = table("a/0.png,hello", header="file_name,text")
    assert build_task(everything, folder_of(disk, files)).classnames == ["a", "b"]


BAD_TABLES = {
    "an image that is not there": (
        table("a.png,wren", "x.png,robin"),
        r"train/metadata.csv:3: no file .*x.png",
    ),
    "a label that is not there": (
        table("a.png,wren", "b.png,"),
        "train/metadata.csv:3: label is '', not a label",
    ),
    "an image twice": (
        table("a.png,wren", "a.png,robin"),
        "train/metadata.csv:3: train/a.png is also in .*csv:2",
    ),
    "a path that leads out": (
        table("../b.png,wren"),
        "train/metadata.csv:2: '../b.png' leads out of the folder",
    ),
    "an absolute path": (
        table("/etc/passwd,wren"),
        "train/metadata.csv:2: '/etc/passwd' leads out",
    ),
    "a label that steers the terminal": (
        table("a.png,wren", "b.png,\x1b[31mrobin"),
        "train/metadata.csv:3: .* holds a control character",
    ),
    "too many fields": (
        table("a.png,wren,x"),
        "train/metadata.csv:2: 3 fields, but the header has 2",
    ),
    "no column of labels": (
        table("a.png,hi", header="file_name,text"),
        "no column label, .* it has file_name, text",
    ),
    "no column of files": (
        table("a.png,hi", header="file,label"),
        "no column file_name; it has file, label",
    ),
    "nothing": (table(), "train/metadata.csv lists no image"),
}


@pytest.mark.parametrize("case", BAD_TABLES)
def test_bad_tables(case, everything, disk):
    text, message = BAD_TABLES[case]
    files = images("train/a.png", "train/b.png", "test/a.png")
    files |= {"train/metadata.csv": text, "test/metadata.csv": table("a.png,wren")}
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        build_task(everything, folder_of(disk, files))


def test_bad_lines_of_json_and_uneven_tables(everything, disk):
    files = images("train/a.png", "train/b.png", "test/a.png")
    files["train/metadata.csv"] = table("a.png,wren", "b.png,robin")
    name = folder_of(disk, files)
    with pytest.raises(
        ValueError,
        match="train/metadata.csv lists images, but .*/test has no metadata.csv|no sub-folders",
    ):
        build_task(everything, name)
    disk.write("photos/test/metadata.jsonl", '{"file_name": "a.png", "label": "wren"\n')
    with pytest.raises(ValueError, match="test/metadata.jsonl:1: not JSON"):
        build_task(everything, name)
    disk.write(
        "photos/test/metadata.jsonl", '{"file_name": "a.png", "label": "wern"}\n'
    )
    with pytest.raises(
        ValueError,
        match="metadata.jsonl:1: 'wern' is no class of the training images; .* 'wren'",
    ):
        build_task(everything, name)
    disk.write("photos/test/metadata.csv", table("a.png,wren"))
    with pytest.raises(
        ValueError, match="test has both metadata.csv and metadata.jsonl"
    ):
        build_task(everything, name)
