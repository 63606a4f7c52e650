"""Webdatasets and parquet files of other writers: other names, types and spellings are
read, and what would change labels or leave images out is refused.
"""

import gzip
import io
import json
import shutil

import numpy as np
import pytest
from copies import image, write_tar, write_wds

from datasets import build_task
from datasets.catalog import names
from datasets.io.parquet_files import read_parquet
from datasets.io.webdatasets import read_webdataset

pyarrow = pytest.importorskip("pyarrow")
write_table = pytest.importorskip("pyarrow.parquet").write_table

NAMES = ["wren", "robin", "great tit"]
LABELS = {"train": [0, 1, 2], "test": [2, 1, 0]}


def labels(collection, split="test") -> list[tuple[int, ...]]:
    return [item.labels for item in collection.splits[split]()]


# -- webdatasets -------------------------------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path):
    """Write a webdataset of one shard a split and return its folder."""
    write_wds(tmp_path / "birds", NAMES, LABELS, shards=1)
    return tmp_path / "birds"


def test_shards_and_folders_with_other_usual_names(shards):
    (shards / "train").rename(shards / "Training")
    (shards / "Training/nshards.txt").unlink()
    (shards / "Training/0.tar").rename(shards / "Training/birds-train-000000.tar")
    write_tar(
        shards / "Training/birds-train-000001.tar",
        [("x.png", image(9)), ("x.cls", b"2")],
    )
    (shards / "Training/._birds-train-000000.tar").write_bytes(b"of a file system")
    text = "wren\r\nrobin\r\ngreat tit\r\n\r\n"
    (shards / "classnames.txt").write_text(text, encoding="utf-16")
    collection = read_webdataset(shards)
    assert list(collection.splits) == ["train", "test"]
    assert collection.classnames == NAMES
    assert labels(collection, "train") == [(0,), (1,), (2,), (2,)]
    (shards / "Training/birds-train-000001.tar").rename(
        shards / "Training/birds-train-000002.tar"
    )
    missing = "no shard .*/birds-train-000001.tar, though there are 3"
    with pytest.raises(FileNotFoundError, match=missing):
        read_webdataset(shards)


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def compress(tar):
    tar.write_bytes(gzip.compress(tar.read_bytes()))


BAD = {
    "a blank line": (
        lambda f: (f / "classnames.txt").write_text("wren\n\nrobin\ngreat tit\n"),
        "classnames.txt:2 is blank, but each line is a label",
    ),
    "two folders of a split": (
        lambda f: [shutil.copytree(f / "test", f / name) for name in ("val", "valid")],
        "several folders for one split: val, valid",
    ),
    "a shard twice": (
        lambda f: shutil.copy(f / "test/0.tar", f / "test/00.tar"),
        "0.tar and .*00.tar are both shard 0",
    ),
    "a tar without a number": (
        lambda f: shutil.copy(f / "test/0.tar", f / "test/more.tar"),
        "more.tar has no number",
    ),
    "a number of shards that is too long": (
        lambda f: (f / "test/nshards.txt").write_text("9" * 5000),
        "nshards.txt: '9{40}' is no number of shards",
    ),
    "a compressed shard": (
        lambda f: compress(f / "test/0.tar"),
        "0.tar is compressed, unlike a shard",
    ),
    "text as an image": (
        lambda f: write_tar(f / "test/0.tar", [("a.png", b"hello"), ("a.cls", b"1")]),
        "0.tar: a.png is no image: it begins with b'hello'",
    ),
    "an empty image": (
        lambda f: write_tar(f / "test/0.tar", [("a.png", b""), ("a.cls", b"1")]),
        "0.tar: a.png is empty",
    ),
    "a line break in a name": (
        lambda f: write_tar(f / "test/0.tar", [("a\nb.png", image(1))]),
        r"member 'a\\nb.png' has characters that no file name should have",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_shards(case, shards):
    damage, message = BAD[case]
    damage(shards)
    with pytest.raises(ValueError, match=message):
        labels(read_webdataset(shards))


def test_vectors_that_are_none(shards):
    (shards / "dataset_type.txt").write_text("multilabel")
    good = npy(np.array([True, False, True]))
    vectors = {
        good: (0, 2),
        # claims 24 GB
        npy(np.zeros(3)).replace(b"(3,), ", b"(3000000000,), "): "the shape",
        good[:-1]: "2 bytes for the shape",
        b"PK\3\4" + bytes(40): "magic string is not correct",
        b"\x93NUMPY\x01\x00\x05\x00{'(((": "EOF",
        npy(np.array(["a", "b", "c"])): "it holds <U1",
    }
    for content, expected in vectors.items():
        write_tar(shards / "test/0.tar", [("a.png", image(1)), ("a.npy", content)])
        if isinstance(expected, tuple):
            assert labels(read_webdataset(shards)) == [expected]
            continue
        with pytest.raises(ValueError, match=f"0.tar: a.npy is no array.*{expected}"):
            labels(read_webdataset(shards))


def test_classes_with_one_name_are_not_merged(shards, cfg, monkeypatch, tmp_path):
    monkeypatch.setenv("MVLPT_PACKED", str(tmp_path / "packed"))
    (shards / "classnames.txt").write_text("crane\nrobin\ncrane\n")
    message = "classnames.txt: classes 0 and 2 are both called 'crane'"
    with pytest.raises(ValueError, match=message):
        build_task(cfg, f"wds:{shards}")


def test_a_damaged_cache_is_unpacked_again(shards, cfg, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("MVLPT_PACKED", str(tmp_path / "packed"))
    cfg.DATASET.NUM_SHOTS = -1

    def found():
        return [sample.labels for sample in build_task(cfg, f"wds:{shards}").test]

    assert found() == [(2,), (1,), (0,)]
    (entry,) = (tmp_path / "packed").iterdir()
    for damaged in ("[1]", '{"images"', '{"images": {}}'):
        (entry / "index.json").write_text(damaged)
        assert found() == [(2,), (1,), (0,)]
    (entry / "test.zip").unlink()
    assert found() == [(2,), (1,), (0,)]
    assert caplog.text.count("is damaged: its images are unpacked again") == 4


# -- parquet files -----------------------------------------------------------------------------------------------


@pytest.fixture
def parquet(tmp_path):
    """Return a function that writes parquet files, name -> (images, labels, class names
    or None), and returns their folder.
    """
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])

    def images(count):
        rows = [{"bytes": image(k), "path": None} for k in range(count)]
        return pyarrow.array(rows, kind)

    def write(files, column="label"):
        for name, (content, values, classes) in files.items():
            content = images(len(values)) if content is None else content
            table = pyarrow.table({"image": content, column: values})
            if classes:
                feature = {"names": classes, "_type": "ClassLabel"}
                features = json.dumps({"info": {"features": {column: feature}}})
                table = table.replace_schema_metadata({"huggingface": features})
            path = tmp_path / "copy" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_table(table, path)
        return tmp_path / "copy"

    return write


def test_texts_of_other_types_are_class_names(parquet):
    texts = ["wren", "robin", "great tit"]
    plain = pyarrow.array(texts)
    kinds = [
        plain,
        plain.cast(pyarrow.large_string()),
        plain.dictionary_encode(),
        pyarrow.array([[text] for text in texts]),
    ]
    for values in kinds:
        folder = parquet({"test.parquet": (None, values, None)})
        collection = read_parquet(folder)
        assert collection.classnames == ["great tit", "robin", "wren"]
        assert labels(collection) == [(2,), (1,), (0,)]
    numbers = [str(number) for number in range(12)]
    folder = parquet({"test.parquet": (None, numbers, None)}, "Label")
    collection = read_parquet(folder)
    assert collection.classnames == numbers
    assert labels(collection) == [(k,) for k in range(12)]


def test_class_names_by_label(parquet):
    by_label = {"1": "robin", "0": "wren", "2": "great tit"}
    folder = parquet({"test.parquet": (None, [2, 0], by_label)})
    assert read_parquet(folder).classnames == NAMES
    for wrong in ("abc", {"0": "wren", "7": "robin"}):
        folder = parquet({"test.parquet": (None, [2, 0], wrong)})
        with pytest.raises(ValueError, match="have no class names"):
            read_parquet(folder)


def test_image_columns(parquet):
    contents = [image(1), image(2)]
    views = [pyarrow.binary(), pyarrow.large_binary(), pyarrow.binary_view()]
    structs = [
        pyarrow.struct([("path", pyarrow.string()), ("bytes", pyarrow.binary())])
    ]
    for kind in views:
        column = pyarrow.array(contents, kind)
        folder = parquet({"test.parquet": (column, [0, 1], NAMES)})
        found = [item.content for item in read_parquet(folder).splits["test"]()]
        assert found == contents
    inner = pyarrow.struct([("image", structs[0])])
    text = pyarrow.struct([("bytes", pyarrow.string())])
    for kind, rows in (
        (inner, [{"image": {"bytes": image(1), "path": ""}}] * 2),
        (text, [{"bytes": "x"}] * 2),
        (pyarrow.list_(structs[0]), [[{"bytes": image(1)}]] * 2),
    ):
        column = pyarrow.array(rows, kind)
        folder = parquet({"test.parquet": (column, [0, 1], NAMES)})
        with pytest.raises(ValueError, match="column 'image' holds .*, not images"):
            read_parquet(folder)


BAD_FILES = {
    "other class names": (
        {
            "train.parquet": (None, [0, 1, 2], NAMES),
            "test.parquet": (None, [0, 1, 2], ["robin", "wren", "great tit"]),
        },
        "test.parquet: column label: class 0 is 'robin', but in .*train.parquet it is 'wren'",
    ),
    "images in one file alone": (
        {
            "train.parquet": (None, [0, 1, 2], NAMES),
            "test.parquet": (["a.png"] * 3, [0, 1, 2], NAMES),
        },
        "test.parquet: column 'image' holds string, not images",
    ),
    "a vector": (
        {"test.parquet": (None, [[0, 1, 0]], NAMES)},
        r"row 0: \[0, 1, 0\] has a 0 or a 1 for each class",
    ),
    "a part with a checksum": (
        {"test-00000-of-00002-0123abcd.parquet": (None, [0], NAMES)},
        "no file .*test-00001-of-00002.parquet, though there are 2 parts",
    ),
    "a number": (
        {
            "default/test/0000.parquet": (None, [0], NAMES),
            "default/test/0002.parquet": (None, [0], NAMES),
        },
        "no file .*default/test/0001.parquet, though there is 0002.parquet",
    ),
    "two configurations": (
        {
            "de/test.parquet": (None, [0], NAMES),
            "en/test.parquet": (None, [0], NAMES),
        },
        "the split test are in several folders, such as .*de and .*en",
    ),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_parquet_files(case, parquet):
    files, message = BAD_FILES[case]
    folder = parquet(files)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        labels(read_parquet(folder))


def test_files_of_no_split_are_named(parquet, caplog):
    files = ("train.parquet", "partial-test/0000.parquet")
    collection = read_parquet(parquet({name: (None, [0], NAMES) for name in files}))
    assert list(collection.splits) == ["train"]
    assert "1 of 2 files are passed over" in caplog.text
    assert "such as partial-test/0000.parquet" in caplog.text


def test_the_column_of_images_is_the_named_one(tmp_path):
    def write(*columns):
        made = {name: [{"bytes": image(k)}] for k, name in enumerate(columns)}
        table = pyarrow.table(made | {"label": ["wren"]})
        write_table(table, tmp_path / "test.parquet")
        return read_parquet(tmp_path)

    (item,) = write("mask", "image").splits["test"]()
    assert item.content == image(1)
    with pytest.raises(ValueError, match="several columns of images: left, right"):
        write("left", "right")
    table = pyarrow.Table.from_arrays([["a"], ["b"]], names=["label", "label"])
    table = table.append_column("image", pyarrow.array([{"bytes": image(1)}]))
    write_table(table, tmp_path / "test.parquet")
    with pytest.raises(ValueError, match="test.parquet has 2 columns 'label'"):
        read_parquet(tmp_path)


# -- imagefolder -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_tables_of_other_programs(mark, disk, cfg, caplog):
    cfg.DATASET.NUM_SHOTS = -1
    lines = ["File_Name,Label", "a.png,cat", "b.png,cat", "c.png,dog", "d.png,dog"]
    disk.write("photos/metadata.csv", "\n".join(lines).replace(",", mark))
    for number, name in enumerate("abcde"):
        disk.write(f"photos/{name}.png", image(number))
    task = build_task(cfg, f"folder:{disk.root}/photos")
    assert task.classnames == ["cat", "dog"]
    assert sorted(sample.label for sample in task.test) == [0, 1]
    assert "1 of 5 images are in no table, such as e.png" in caplog.text


def test_accents_do_not_count_in_class_names():
    known = names.class_names("food-101")
    accents = {"creme brulee": "Crème brûlée", "beef carpaccio": "Beef Carpàccio"}
    found = [accents.get(name, name.upper()) for name in reversed(known)]
    assert set(accents.values()) <= set(found)
    assert names.match_labels("food-101", found, "here") == list(range(101))[::-1]
