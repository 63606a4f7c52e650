"""`python -m datasets prepare --from wds, parquet, zip, folder, hub`: small copies in
their true layouts.
"""

import dataclasses
import io
import json
import random
import shlex
import tarfile
import zipfile

import pytest
from copies import image, write_parquet, write_tar, write_wds
from hub_server import COMMIT, serve

from datasets import build_task
from datasets.__main__ import main
from datasets.catalog import entries as catalog
from datasets.catalog import names
from datasets.io.webdatasets import read_webdataset
from datasets.tools import batch, copies
from datasets.tools.record import OTHER_ORDER, OTHER_SPLIT, SAME
from elevater_eval.labels import read_labels
from elevater_eval.tasks import load_tasks
from toolkit.common.archives import read_bytes

pyarrow = pytest.importorskip("pyarrow")

PARTS = ("train", "val", "test")
OTHER_SPLITS = {
    "caltech-101",
    "eurosat_clip",
    "fer-2013",
    "resisc45_clip",
    "hateful-memes",
}
ELEVATER = [
    entry.name for entry in catalog.entries().values() if entry.suite == "elevater"
]
WDS = [name for name in ELEVATER if name != "hateful-memes"]
PARQUET = [
    name
    for name in ELEVATER
    if name not in ("kitti-distance", "voc-2007-classification", "imagenet-1k")
]


@pytest.fixture
def small(monkeypatch):
    """Let a set have the number of images that a small copy has."""

    def set_counts(name, **images):
        known = catalog._entries()
        monkeypatch.setitem(
            known, name, dataclasses.replace(known[name], images=images)
        )
        return known[name]

    return set_counts


def prepare(root, name, origin, at, options=""):
    command = f"prepare {name} --from {origin} --at {at} --root {root} {options}"
    return main(shlex.split(command))


def shuffled(name):
    """Return the class names in another order, and label in that order -> label of the
    set.
    """
    known = names.class_names(name)
    order = list(range(len(known)))
    random.Random(name).shuffle(order)
    if len({item.lower() for item in known}) < len(known) or name in (
        "mnist",
        "imagenet-1k",
    ):
        order.sort()
    return [known[label] for label in order], order


def record_of(root, entry):
    return json.loads((root / entry.folder / "order.json").read_text())


def check_task(cfg, root, name, contents, expected):
    """Compare the images, labels and names of a prepared set with those written."""
    cfg.DATASET.NUM_SHOTS = -1
    task = build_task(cfg, name)
    assert task.classnames == names.class_names(name)
    assert [sample.labels for sample in task.test] == expected["test"]
    assert [read_bytes(sample.impath) for sample in task.test] == contents["test"]
    pool = [
        (read_bytes(sample.impath), sample.labels)
        for sample in [*task.train_x, *task.val]
    ]
    assert sorted(pool) == sorted(
        zip(contents["train"], expected["train"], strict=True)
    )


# -- every row of the table --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WDS)
def test_webdataset_becomes_elevaters_layout(name, tmp_path, small, cfg):
    found, order = shuffled(name)
    classes = len(found)
    entry = small(name, train=2 * classes, test=classes)
    multilabel = entry.label_kind == "multilabel"
    written = {
        "train": list(range(classes)) * 2,
        "test": list(range(classes - 1, -1, -1)),
    }
    if multilabel:
        written = {
            split: [(label, (label + 3) % classes) for label in labels]
            for split, labels in written.items()
        }
    suffix = {"gtsrb": "webp", "country211": "jpg"}.get(name, "png")
    folder = tmp_path / "copies" / copies.find_copy(entry, "wds").repo.split("/")[1]
    contents = write_wds(folder, found, written, suffix)
    assert prepare(tmp_path, name, "wds", tmp_path / "copies") == 0
    expected = {}
    for split, labels in written.items():
        many = [labels_ if multilabel else (labels_,) for labels_ in labels]
        expected[split] = [tuple(sorted(order[label] for label in row)) for row in many]
    check_task(cfg, tmp_path, name, contents, expected)
    about = record_of(tmp_path, entry)
    assert about["images"] == {"train": 2 * classes, "test": classes}
    assert about["verdict"] == (OTHER_SPLIT if name in OTHER_SPLITS else OTHER_ORDER)
    assert about["source"] == f"wds {folder.name}"
    if name != "imagenet-1k":
        assert len(read_labels(tmp_path, load_tasks()[name]).targets) == classes


@pytest.mark.parametrize("name", PARQUET)
def test_parquet_becomes_elevaters_layout(name, tmp_path, small, cfg):
    found, order = shuffled(name)
    classes = len(found)
    entry = small(name, train=2 * classes, test=classes)
    written = {"train": list(range(classes)) * 2, "test": list(range(classes))[::-1]}
    copy = copies.find_copy(entry, "parquet")
    in_files = {
        copy.splits.get(split, split): labels for split, labels in written.items()
    }
    others = ("family", "manufacturer") if copy.label == "variant" else ()
    contents = write_parquet(
        tmp_path / "copy", found, in_files, copy.label or "label", others
    )
    contents["test"] = contents.pop(copy.splits.get("test", "test"))
    assert prepare(tmp_path, name, "parquet", tmp_path / "copy") == 0
    expected = {
        split: [(order[label],) for label in labels]
        for split, labels in written.items()
    }
    check_task(cfg, tmp_path, name, contents, expected)
    assert record_of(tmp_path, entry)["verdict"] == (
        OTHER_SPLIT if name in OTHER_SPLITS else OTHER_ORDER
    )


def test_all_rows_are_known():
    assert {entry.name for entry in batch.available("wds")} == set(WDS)
    assert {entry.name for entry in batch.available("parquet")} == set(PARQUET)
    assert (
        len(WDS) == 20
        and len(
            [entry for entry in batch.available("zip") if entry.suite != "elevater"]
        )
        == 14
    )
    gtsrb = catalog.entry("gtsrb")
    counts = copies.test_counts(gtsrb)
    assert len(counts) == gtsrb.classes and sum(counts) == gtsrb.images["test"]


def test_a_prepared_set_has_elevaters_few_shot_rule(tmp_path, small, cfg, disk):
    """Compare the same images in the same order, in ELEVATER's layout and as a
    webdataset: the same positions are sampled.
    """
    small("mnist", train=40, test=10)
    write_wds(
        tmp_path / "copy",
        names.class_names("mnist"),
        {"train": list(range(10)) * 4, "test": list(range(10))},
    )
    prepare(tmp_path, "mnist", "wds", tmp_path / "copy")
    other = tmp_path / "other"
    disk.root = other
    disk.iris(
        "classification/mnist_20211008",
        names.class_names("mnist"),
        [str(k % 10) for k in range(40)],
        [str(k) for k in range(10)],
    )
    (other / "classification/mnist_20211008/test.zip").rename(
        other / "classification/mnist_20211008/val.zip"
    )
    index = other / "classification/mnist_20211008/test.txt"
    index.write_text(index.read_text().replace("test.zip@", "val.zip@"))
    cfg.DATASET.NUM_SHOTS = 2
    sampled = []
    for root in (tmp_path, other):
        cfg.DATASET.ROOT = str(root)
        task = build_task(cfg, "mnist")
        positions = [
            int("".join(filter(str.isdigit, sample.key.split("@")[1])))
            for sample in [*task.train_x, *task.val]
        ]
        sampled.append(positions)
    assert sampled[0] == sampled[1] and len(sampled[0]) > 0


def test_fewer_test_images_are_another_split(tmp_path, capsys):
    write_wds(
        tmp_path / "copy",
        names.class_names("mnist"),
        {"train": list(range(10)), "test": list(range(10))},
    )
    assert prepare(tmp_path, "mnist", "wds", tmp_path / "copy", "--revision abc") == 0
    about = record_of(tmp_path, catalog.entry("mnist"))
    assert (about["verdict"], about["revision"]) == (OTHER_SPLIT, "abc")
    assert about["note"] == "train: 10 of 60,000 images; test: 10 of 10,000 images"
    capsys.readouterr()
    assert main(shlex.split(f"doctor mnist --root {tmp_path}")) == 0
    out = capsys.readouterr().out
    assert (
        "made from wds copy: another split (train: 10 of 60,000 images; test" in out
        and "[another-split]" in out
    )


# -- copies that are refused -------------------------------------------------------------------------------------


def refused(tmp_path, capsys, name, origin, at):
    """Return the message of a refusal, after checking that nothing was written."""
    capsys.readouterr()
    assert prepare(tmp_path / "root", name, origin, at) == 2
    assert not (tmp_path / "root").exists() or not list((tmp_path / "root").iterdir())
    lines = [
        line
        for line in capsys.readouterr().err.splitlines()
        if line.startswith("error: ")
    ]
    assert len(lines) == 1
    return lines[0]


def test_cropped_objects_are_not_voc(tmp_path, capsys):
    found = names.class_names("voc-2007-classification")
    for folder in ("wds_voc2007", "renamed"):
        write_wds(
            tmp_path / folder,
            found,
            {"train": list(range(20)), "test": list(range(20))},
        )
        message = refused(
            tmp_path, capsys, "voc-2007-classification", "wds", tmp_path / folder
        )
        assert "cropped objects" in message and "wds_voc2007_multilabel" in message


def test_gtsrb_in_the_order_of_texts_is_refused(tmp_path, capsys):
    as_text = sorted(str(label) for label in range(43))
    write_parquet(
        tmp_path / "copy", as_text, {"train": list(range(43)), "test": list(range(43))}
    )
    message = refused(tmp_path, capsys, "gtsrb", "parquet", tmp_path / "copy")
    assert "numbers the classes as texts (0, 1, 10, 11, ...)" in message
    entry = catalog.entry("gtsrb")
    counts = copies.test_counts(entry)
    copies.check_counts(entry, counts, "here")
    with pytest.raises(ValueError, match="here: its labels are in the order of texts"):
        copies.check_counts(entry, [counts[int(text)] for text in as_text], "here")


def mnist_shards(folder):
    write_wds(
        folder,
        names.class_names("mnist"),
        {"train": list(range(10)), "test": list(range(10))},
    )
    return folder


def edit(path, old, new):
    path.write_text(path.read_text().replace(old, new))


def truncate(path, size):
    path.write_bytes(path.read_bytes()[:size])


def add_link(path):
    with tarfile.open(path, "a") as archive:
        info = tarfile.TarInfo("s0000099.png")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(info)


def pickled(path):
    import numpy as np

    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    write_tar(path, [("s0000000.png", image(0)), ("s0000000.npy", stream.getvalue())])


BAD_WDS = {
    "truncated in a member": (
        lambda f: truncate(f / "test/0.tar", 1000),
        "test/0.tar is truncated",
    ),
    "truncated between members": (
        lambda f: truncate(f / "test/0.tar", 2048),
        "test/0.tar is truncated: it ends after 's0000000.cls'",
    ),
    "no tar": (
        lambda f: (f / "test/1.tar").write_bytes(b"x" * 4096),
        "test/1.tar is truncated or no tar",
    ),
    "a missing shard": (
        lambda f: (f / "test/1.tar").unlink(),
        "no shard {f}/test/1.tar, though there are 2",
    ),
    "no shards": (
        lambda f: (f / "test/nshards.txt").write_text("x"),
        "test/nshards.txt: 'x' is no number of shards",
    ),
    "a label without an image": (
        lambda f: write_tar(f / "test/0.tar", [("s0.cls", b"1")]),
        "test/0.tar: s0 has a label, but no image",
    ),
    "an image without a label": (
        lambda f: write_tar(f / "test/0.tar", [("s0.png", image(1))]),
        "test/0.tar: s0 has an image, but no label",
    ),
    "a label that is none": (
        lambda f: write_tar(
            f / "test/0.tar", [("s0.png", image(1)), ("s0.cls", b"cat")]
        ),
        "test/0.tar: s0.cls: b'cat' is no label",
    ),
    "a label out of range": (
        lambda f: write_tar(
            f / "test/0.tar", [("s0.png", image(1)), ("s0.cls", b"10")]
        ),
        "test/0.tar: s0: label 10 is out of range",
    ),
    "a link": (
        lambda f: add_link(f / "test/0.tar"),
        "test/0.tar: member 's0000099.png' is a link",
    ),
    "an absolute member": (
        lambda f: write_tar(
            f / "test/0.tar", [("/s0.png", image(1)), ("/s0.cls", b"1")]
        ),
        "test/0.tar: member '/s0.png' leads out",
    ),
    "a member that leads upwards": (
        lambda f: write_tar(
            f / "test/0.tar", [("../s0.png", image(1)), ("../s0.cls", b"1")]
        ),
        "test/0.tar: member '../s0.png' leads out",
    ),
    "pickled objects": (
        lambda f: pickled(f / "test/0.tar"),
        "test/0.tar: s0000000.npy is no array of numbers",
    ),
    "a key twice": (
        lambda f: write_tar(
            f / "test/1.tar", [("s0000000.png", image(1)), ("s0000000.cls", b"1")]
        ),
        "test/1.tar: s0000000 occurs twice in the split",
    ),
    "a class list of another length": (
        lambda f: (f / "classnames.txt").write_text("0\n1\n2\n"),
        "classnames.txt has 3 classes, but mnist has 10",
    ),
    "a class list of another spelling": (
        lambda f: edit(f / "classnames.txt", "7", "sevn"),
        "classnames.txt: class 7 is called 'sevn'; mnist has no such class (nearest: 'seven'",
    ),
    "no class list": (
        lambda f: (f / "classnames.txt").unlink(),
        "no class list {f}/classnames.txt",
    ),
    "retrieval": (
        lambda f: (f / "dataset_type.txt").write_text("retrieval"),
        "'retrieval' is no kind of classification",
    ),
}


@pytest.mark.parametrize("case", BAD_WDS)
def test_bad_webdataset(case, tmp_path, capsys):
    damage, message = BAD_WDS[case]
    folder = mnist_shards(tmp_path / "copy")
    damage(folder)
    assert message.replace("{f}", str(folder)) in refused(
        tmp_path, capsys, "mnist", "wds", folder
    )


def test_tars_of_other_writers(tmp_path, capsys):
    """Read times with fractions, long and other names, and old formats."""
    found = names.class_names("mnist")
    members = [("./s0.png", image(0)), ("./s0.cls", b"3\n")]
    members += [
        ("n" * 120 + ".png", image(1)),
        ("n" * 120 + ".cls", b"4"),
        ("ü.png", image(2)),
        ("ü.cls", b"5"),
    ]
    members += [("a b..png", image(3)), ("a b.cls", b"6")]
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        folder = tmp_path / str(format)
        mnist_shards(folder)
        for split in ("train", "test"):
            (folder / split / "nshards.txt").write_text("1")
            (folder / split / "1.tar").unlink()
            with tarfile.open(folder / split / "0.tar", "w", format=format) as archive:
                for number, (name, content) in enumerate(members):
                    info = tarfile.TarInfo(name)
                    info.size, info.mtime = len(content), 1700000000.25 + number
                    archive.addfile(info, io.BytesIO(content))
        images = list(read_webdataset(folder).splits["test"]())
        assert [item.labels for item in images] == [(3,), (4,), (5,), (6,)]
        assert [item.content for item in images] == [image(k) for k in range(4)]
        assert [item.name for item in images] == [
            "s0.png",
            "n" * 120 + ".png",
            "ü.png",
            "a b.png",
        ]
        assert read_webdataset(folder).classnames == found


def parquet_table(folder, columns, files=("train", "test")):
    import pyarrow.parquet

    folder.mkdir(exist_ok=True)
    table = pyarrow.table(columns)
    for split in files:
        pyarrow.parquet.write_table(table, folder / f"{split}.parquet")


def broken_image():
    return [{"bytes": b"hello", "path": None}]


BAD_PARQUET = {
    "a column of another type": (lambda f: parquet_table(f, {"image": [1], "label": [0]}), "'image' holds int64, not images"),
    "no image column": (lambda f: parquet_table(f, {"a": [1], "label": [0]}), "no column of images {bytes, path}; it has a, label"),
    "no label column": (lambda f: parquet_table(f, {"image": broken_image()}), "no column of labels; it has image"),
    "no names": (
        lambda f: parquet_table(f, {"image": broken_image(), "label": [0]}),
        "the labels in column 'label' have no class names; put them into {f}/classnames.txt",
    ),
    "no image": (
        lambda f: parquet_table(f, {"image": broken_image(), "label": ["0"]}),
        "mnist has 10",
    ),
    "not parquet": (lambda f: (f.mkdir(), (f / "test.parquet").write_bytes(b"PAR1")), "test.parquet is no readable parquet"),
    "no split": (lambda f: parquet_table(f, {"image": broken_image(), "label": [0]}, files="ab"), "is that of a split"),
    "no file": (lambda f: f.mkdir(), "no parquet file in {f}"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PARQUET)
def test_bad_parquet(case, tmp_path, capsys):
    write, message = BAD_PARQUET[case]
    folder = tmp_path / "copy"
    write(folder)
    assert message.replace("{f}", str(folder)) in refused(
        tmp_path, capsys, "mnist", "parquet", folder
    )


def test_bad_rows_and_parts_of_parquet(tmp_path, capsys):
    found = names.class_names("mnist")
    folder = tmp_path / "copy"
    write_parquet(folder, found, {"train": list(range(10)), "test": [*range(9), 10]})
    message = refused(tmp_path, capsys, "mnist", "parquet", folder)
    assert "test-00001-of-00002.parquet: row 4: label 10 is out of range" in message
    part = folder / "data/test-00000-of-00002.parquet"
    part.unlink()
    assert f"no file {part}, though there are 2 parts" in refused(
        tmp_path, capsys, "mnist", "parquet", folder
    )


# -- several sets, zips and folders ------------------------------------------------------------------------------


def test_one_bad_set_does_not_stop_the_others(tmp_path, capsys):
    mnist_shards(tmp_path / "copies/wds_mnist")
    write_wds(
        tmp_path / "copies/wds_gtsrb", ["a", "b"], {"train": [0, 1], "test": [0, 1]}
    )
    (tmp_path / "classification/dtd_20211007").mkdir(parents=True)
    (tmp_path / "classification/dtd_20211007/labels.txt").write_text("mine")
    assert prepare(tmp_path, "all", "wds", tmp_path / "copies") == 2
    captured = capsys.readouterr()
    rows = {
        line.split()[0]: line.split(maxsplit=2)[1:]
        for line in captured.out.splitlines()[-20:]
    }
    assert rows["mnist"][0] == "written" and rows["mnist"][1].startswith(
        "another split"
    )
    assert (
        rows["gtsrb"][0] == "failed"
        and "has 2 classes, but gtsrb has 43" in rows["gtsrb"][1]
    )
    assert rows["dtd"][0] == "skipped" and "is there already" in rows["dtd"][1]
    assert rows["food-101"][0] == "skipped" and "wds_food101" in rows["food-101"][1]
    assert (
        "error: " in captured.err
        and not (tmp_path / "classification/gtsrb_20210923").exists()
    )


def coop_zip(path, entry, split):
    """Write a zip as people share CoOp's sets: the set's folder with images and the
    split file.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for number, (key, _, _) in enumerate(
            [*split["train"], *split["val"], *split["test"]]
        ):
            archive.writestr(
                f"{entry.folder}/{entry.image_dir}/{key}", image(number, "JPEG")
            )
        archive.writestr(f"{entry.folder}/{entry.split_json}", json.dumps(split))


def test_zip_of_a_coop_set(tmp_path, small, cfg):
    entry = small("OxfordPets", train=37, val=37, test=37)
    found = names.class_names("OxfordPets")
    split = {}
    for part in ("train", "val", "test"):
        split[part] = [
            [f"{name}_{part}.jpg", label, name] for label, name in enumerate(found)
        ]
    (tmp_path / "zips").mkdir()
    coop_zip(tmp_path / "zips/oxford-pets.zip", entry, split)
    assert prepare(tmp_path, "OxfordPets", "zip", tmp_path / "zips") == 0
    about = record_of(tmp_path, entry)
    assert (about["order"], about["verdict"], about["source"]) == (
        "official",
        SAME,
        "zip oxford-pets.zip",
    )
    assert about["images"] == {"train": 37, "val": 37, "test": 37}
    cfg.DATASET.NUM_SHOTS = -1
    task = build_task(cfg, "OxfordPets")
    assert task.classnames == found and [sample.label for sample in task.test] == list(
        range(37)
    )
    assert read_bytes(task.test[0].impath) == image(74, "JPEG")


def test_bad_zips(tmp_path, capsys):
    (tmp_path / "oxford_pets.zip").write_bytes(b"PK\3\4 and no more")
    assert "oxford_pets.zip is damaged" in refused(
        tmp_path, capsys, "OxfordPets", "zip", tmp_path / "oxford_pets.zip"
    )
    with zipfile.ZipFile(tmp_path / "oxford_pets.zip", "w") as archive:
        archive.writestr("oxford_pets/images/a.jpg", b"x")
    message = refused(
        tmp_path, capsys, "OxfordPets", "zip", tmp_path / "oxford_pets.zip"
    )
    assert "has no split_zhou_OxfordPets.json" in message
    assert "has no zip ucf101.zip for UCF101" in refused(
        tmp_path, capsys, "UCF101", "zip", tmp_path
    )
    nowhere = tmp_path / "nowhere"
    message = refused(tmp_path, capsys, "all", "zip", nowhere)
    assert message == f"error: --at: no file or folder {nowhere}"
    pointer = "version https://git-lfs.github.com/spec/v1"
    (tmp_path / "oxford_pets.zip").write_text(pointer)
    message = refused(
        tmp_path, capsys, "OxfordPets", "zip", tmp_path / "oxford_pets.zip"
    )
    assert "oxford_pets.zip is a pointer of Git LFS" in message


BAD_SPLITS = {
    "an image that is missing": (["a.jpg", 0, "abyssinian"], "there is no file a.jpg"),
    "a label out of range": (["abyssinian_test.jpg", 99, "x"], "label 99 is out of"),
    "no row": ({"a": 1}, "expected [path, label, class name], found {'a': 1}"),
}


@pytest.mark.parametrize("case", BAD_SPLITS)
def test_a_zip_whose_split_file_cannot_be_used(case, tmp_path, capsys):
    row, message = BAD_SPLITS[case]
    found = names.class_names("OxfordPets")
    split = {}
    for part in PARTS:
        split[part] = [
            [f"{name}_{part}.jpg", label, name] for label, name in enumerate(found)
        ]
    coop_zip(tmp_path / "pets.zip", catalog.entry("OxfordPets"), split)
    bad = json.dumps(split | {"test": [row]})
    damaged = tmp_path / "damaged.zip"
    with zipfile.ZipFile(tmp_path / "pets.zip") as whole:
        with zipfile.ZipFile(damaged, "w") as archive:
            for name in whole.namelist():
                content = bad if name.endswith(".json") else whole.read(name)
                archive.writestr(name, content)
    error = refused(tmp_path, capsys, "OxfordPets", "zip", damaged)
    start = f"error: {damaged} cannot be used: split_zhou_OxfordPets.json: test[0]: "
    assert error.startswith(start + message)


def test_a_zip_with_lists_of_splits_is_counted_by_them(tmp_path, small):
    entry = small("FGVCAircraft", train=100, val=100, test=100)
    found = names.class_names("FGVCAircraft")
    classes, *lists = entry.annotations
    number = 0
    with zipfile.ZipFile(tmp_path / "fgvc_aircraft.zip", "w") as archive:
        archive.writestr(classes, "\n".join(found))
        for file in lists:
            lines = []
            for name in found:
                archive.writestr(f"images/{number:07d}.jpg", image(number, "JPEG"))
                lines.append(f"{number:07d} {name}")
                number += 1
            archive.writestr(file, "\n".join(lines))
    assert prepare(tmp_path, "FGVCAircraft", "zip", tmp_path / "fgvc_aircraft.zip") == 0
    about = record_of(tmp_path, entry)
    assert about["images"] == {"train": 100, "val": 100, "test": 100}
    assert about["verdict"] == SAME


@pytest.mark.parametrize("origin", ["folder", "zip"])
def test_split_folders_and_elevaters_own_files(origin, tmp_path, small, cfg):
    entry = small("eurosat_clip", train=20, test=10)
    number = 0
    for split, each in (("train", 2), ("test", 1)):
        for name in names.class_names("eurosat_clip"):
            for k in range(each):
                path = tmp_path / "copy" / split / name / f"{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(image(number))
                number += 1
    at = tmp_path / "copy"
    if origin == "zip":
        at = tmp_path / "copy.zip"
        with zipfile.ZipFile(at, "w") as archive:
            for path in sorted((tmp_path / "copy").rglob("*.png")):
                archive.write(path, path.relative_to(tmp_path))
    assert prepare(tmp_path, "eurosat_clip", origin, at) == 0
    about = record_of(tmp_path, entry)
    assert about["verdict"] == OTHER_SPLIT and about["images"] == {
        "train": 20,
        "test": 10,
    }
    cfg.DATASET.NUM_SHOTS = -1
    task = build_task(cfg, "eurosat_clip")
    assert sorted(sample.label for sample in task.test) == list(range(10))
    assert sorted(path.name for path in (tmp_path / entry.folder).iterdir()) == sorted(
        ["2750.zip", "labels.txt", "order.json", "test.txt", "train.txt"]
    )
    again = tmp_path / "again"
    assert prepare(again, "eurosat_clip", "folder", tmp_path / entry.folder) == 0
    # the record of a copy is kept
    assert record_of(again, entry)["verdict"] == OTHER_SPLIT


# -- the Hub -----------------------------------------------------------------------------------------------------


def test_command_is_checked_first(tmp_path, capsys):
    assert main(shlex.split(f"prepare mnist --from wds --root {tmp_path}")) == 2
    assert "--from wds needs --at PATH" in capsys.readouterr().err
    assert prepare(tmp_path, "hateful-memes", "wds", tmp_path) == 2
    assert "hateful-memes cannot be prepared from wds" in capsys.readouterr().err
    assert main(shlex.split(f"prepare all --root {tmp_path}")) == 2


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Yield a local Hub with a webdataset of mnist and CoOp's zip of OxfordPets."""
    pytest.importorskip("huggingface_hub")
    mnist_shards(tmp_path / "shards")
    shards = {}
    for path in sorted((tmp_path / "shards").rglob("*")):
        if path.is_file():
            shards[path.relative_to(tmp_path / "shards").as_posix()] = path.read_bytes()
    entry = catalog.entry("OxfordPets")
    found = names.class_names("OxfordPets")
    split = {
        part: [[f"{name}_{part}.jpg", label, name] for label, name in enumerate(found)]
        for part in PARTS
    }
    coop_zip(tmp_path / "pets.zip", entry, split)
    repos = {
        "datasets/clip-benchmark/wds_mnist": shards | {"README.md": b"no"},
        "models/zhengli97/prompt_learning_dataset": {
            "oxford_pets.zip": (tmp_path / "pets.zip").read_bytes(),
            "dtd.zip": b"no",
        },
    }
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with serve(repos) as server:
        monkeypatch.setenv("HF_ENDPOINT", server.url)
        yield server


def test_sets_from_the_hub(tmp_path, hub, capsys):
    assert (
        main(shlex.split(f"prepare mnist OxfordPets --from hub --root {tmp_path}/root"))
        == 0
    )
    about = record_of(tmp_path / "root", catalog.entry("mnist"))
    assert (about["source"], about["revision"]) == ("clip-benchmark/wds_mnist", COMMIT)
    assert (
        record_of(tmp_path / "root", catalog.entry("OxfordPets"))["source"]
        == "zhengli97/prompt_learning_dataset"
    )
    asked = {
        path.split("/resolve/")[1].split("/", 1)[1]
        for _, path, _ in hub.requests
        if "/resolve/" in path
    }
    assert "test/1.tar" in asked and not asked & {"README.md", "dtd.zip"}
    hub.requests.clear()
    capsys.readouterr()
    downloads = tmp_path / "root" / "hub"
    again = f"prepare mnist --from hub --at {downloads} --root {tmp_path}/other"
    assert main(shlex.split(again)) == 0  # existing files are not fetched again
    assert not [
        request
        for request in hub.requests
        if request[0] == "GET" and "/resolve/" in request[1]
    ]


def test_hub_that_has_nothing_or_does_not_answer(tmp_path, hub, monkeypatch, capsys):
    root = tmp_path / "root"
    command = f"--from hub --root {root}"
    assert main(shlex.split(f"prepare dtd {command}")) == 2
    error = capsys.readouterr().err
    assert (
        error.count("error: ") == 1
        and "clip-benchmark/wds_vtab-dtd (main) could not be fetched" in error
    )
    assert main(shlex.split(f"prepare mnist {command} --revision nowhere")) == 2
    assert (
        "clip-benchmark/wds_mnist (nowhere) could not be fetched"
        in capsys.readouterr().err
    )
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert main(shlex.split(f"prepare mnist {command}")) == 2
    error = capsys.readouterr().err
    assert (
        error.count("error: ") == 1
        and "With a local copy, use --from wds --at PATH" in error
    )
    assert not (root / "classification").exists()
    assert main(shlex.split(f"prepare hateful-memes {command}")) == 2
    assert "cannot be prepared from hub" in capsys.readouterr().err
