"""CoOp's sets without their published split: splits made from the raw annotations, in
the annotations' true formats.
"""

import hashlib
import json
import shlex
from collections import Counter

import numpy as np
import pytest
from scipy.io import savemat

import datasets
from datasets.__main__ import main
from datasets.catalog.entries import entry
from datasets.tools import annotations
from toolkit.common.files import write_text


def build(cfg, name, shots=-1):
    cfg.DATASET.NUM_SHOTS = shots
    return datasets.build_task(cfg, name)


def folders(disk, root, classes, count=10):
    for name in classes:
        for k in range(count):
            disk.write(f"{root}/{name}/{name}_{k}.jpg", "")


def mat_records(folder, file, rows):
    kinds = [("bbox_x1", object), ("class", object), ("fname", object)]
    records = np.array([(1, label, image) for image, label in rows], dtype=kinds)
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    savemat(folder / file, {"annotations": records})


def raw_caltech(disk):
    folders(
        disk,
        "caltech-101/101_ObjectCategories",
        [
            "BACKGROUND_Google",
            "Faces",
            "Faces_easy",
            "Leopards",
            "accordion",
            "airplanes",
        ],
    )
    return ["face", "leopard", "accordion", "airplane"]


def raw_food(disk):
    folders(disk, "food-101/images", ["cheesecake", "cheese_plate", ".hidden"])
    disk.write("food-101/images/notes.txt", "")
    return ["cheese_plate", "cheesecake"]


def raw_textures(disk):
    folders(disk, "dtd/images", ["banded", "woven"])
    return ["banded", "woven"]


def raw_eurosat(disk):
    folders(disk, "eurosat/2750", ["SeaLake", "AnnualCrop", "HerbaceousVegetation"])
    return ["Annual Crop Land", "Herbaceous Vegetation Land", "Sea or Lake"]


def raw_flowers(disk):
    disk.write("oxford_flowers/jpg/image_00001.jpg", "")
    savemat(
        disk.root / "oxford_flowers/imagelabels.mat",
        {"labels": np.array([[2] * 10 + [1] * 10], dtype=np.uint8)},
    )
    disk.json(
        "oxford_flowers/cat_to_name.json",
        {"1": "pink primrose", "2": "hard-leaved pocket orchid"},
    )
    return ["pink primrose", "hard-leaved pocket orchid"]


def raw_pets(disk):
    disk.write("oxford_pets/images/pug_1.jpg", "")
    for split, count in (("trainval", 10), ("test", 3)):
        rows = [
            f"{name}_{split}_{k} {label} 1 1"
            for label, name in ((1, "Abyssinian"), (2, "american_bulldog"))
            for k in range(count)
        ]
        rows = [
            row.replace(f"_{split}_", "_1" if split == "test" else "_2") for row in rows
        ]
        disk.write(
            f"oxford_pets/annotations/{split}.txt",
            "#image id species breed\n" + "\n".join(rows) + "\n",
        )
    return ["abyssinian", "american_bulldog"]


def raw_cars(disk):
    folder = disk.root / "stanford_cars"
    mat_records(
        folder,
        "devkit/cars_train_annos.mat",
        [(f"{k:05d}.jpg", 1 + k % 2) for k in range(20)],
    )
    mat_records(
        folder,
        "cars_test_annos_withlabels.mat",
        [(f"{k:05d}.jpg", 1 + k % 2) for k in range(6)],
    )
    savemat(
        folder / "devkit/cars_meta.mat",
        {
            "class_names": np.array(
                ["AM General Hummer SUV 2000", "Acura RL Sedan 2012"], dtype=object
            )
        },
    )
    return ["2000 AM General Hummer SUV", "2012 Acura RL Sedan"]


def raw_sun(disk):
    disk.write("sun397/SUN397/a/abbey/sun_a.jpg", "")
    disk.write("sun397/ClassName.txt", "/a/abbey\n/a/apartment_building/outdoor\n")
    for part, file, count in ((1, "Training_01.txt", 10), (2, "Testing_01.txt", 3)):
        rows = [
            f"{place}/sun_{part}{k}.jpg"
            for place in ("/a/abbey", "/a/apartment_building/outdoor")
            for k in range(count)
        ]
        disk.write(f"sun397/{file}", "\n".join(rows) + "\n")
    return ["abbey", "outdoor apartment_building"]


def raw_ucf(disk):
    disk.write("ucf101/UCF-101-midframes/Apply_Eye_Makeup/a.jpg", "")
    disk.write("ucf101/ucfTrainTestlist/classInd.txt", "1 ApplyEyeMakeup\n2 YoYo\n")
    for part, file, count in ((1, "trainlist01.txt", 10), (2, "testlist01.txt", 3)):
        rows = [
            f"{action}/v_{action}_g{part}{k}.avi" + (f" {label}" if part == 1 else "")
            for label, action in ((1, "ApplyEyeMakeup"), (2, "YoYo"))
            for k in range(count)
        ]
        disk.write(f"ucf101/ucfTrainTestlist/{file}", "\n".join(rows) + "\n")
    return ["Apply_Eye_Makeup", "Yo_Yo"]


# set: (its raw annotations, images a class in train, val and test, the first test
# image's path)
RAW = {
    "Caltech101": (raw_caltech, (5, 2, 3), None),
    "Food101": (raw_food, (5, 2, 3), None),
    "EuroSAT": (raw_eurosat, (5, 2, 3), None),
    "DescribableTextures": (raw_textures, (5, 2, 3), None),
    "OxfordFlowers": (raw_flowers, (5, 2, 3), None),
    "OxfordPets": (raw_pets, (8, 2, 3), "Abyssinian_10.jpg"),
    "StanfordCars": (raw_cars, (8, 2, 3), "cars_test/00000.jpg"),
    "SUN397": (raw_sun, (8, 2, 3), "a/abbey/sun_20.jpg"),
    "UCF101": (raw_ucf, (8, 2, 3), "Apply_Eye_Makeup/v_ApplyEyeMakeup_g20.jpg"),
}
DIGESTS = {  # of (key, labels, class name, path) of all splits
    "Caltech101": "dedfe298b67175d3",
    "Food101": "800246cfeca48a08",
    "EuroSAT": "43035129110cbb01",
    "DescribableTextures": "c4c1e3639f72c2ee",
    "OxfordFlowers": "e6816b3a9b81c749",
    "OxfordPets": "2aea9403a93d2893",
    "StanfordCars": "e5a64cad0f63befa",
    "SUN397": "d38da4546affa978",
    "UCF101": "5c9f20b290ad9c2a",
}


@pytest.mark.parametrize("name", RAW)
def test_a_split_from_raw_annotations(cfg, disk, caplog, name):
    make, counts, first = RAW[name]
    classes = make(disk)
    before = sorted(disk.root.rglob("*"))
    task = build(cfg, name)
    assert task.classnames == classes
    assert (
        f"{name}: no published split" in caplog.text and "not comparable" in caplog.text
    )
    for samples, count in zip((task.train_x, task.val, task.test), counts, strict=True):
        assert Counter(sample.label for sample in samples) == dict.fromkeys(
            range(len(classes)), count
        )
    everything = [sample.key for sample in [*task.train_x, *task.val, *task.test]]
    assert len(set(everything)) == len(everything)
    assert first is None or task.test[0].key == first
    again = build(cfg, name)
    assert (again.train_x, again.val, again.test) == (task.train_x, task.val, task.test)
    # the split file is written once, beside the data
    (made,) = set(disk.root.rglob("*")) - set(before)
    assert made == disk.root / entry(name).folder / "split_from_annotations.json"


@pytest.mark.parametrize("name", RAW)
def test_splits_are_pinned(cfg, disk, name):
    RAW[name][0](disk)
    task = build(cfg, name)
    splits = []
    for samples in (task.train_x, task.val, task.test):
        splits.append(
            [
                (s.key, s.labels, s.classname, s.impath.replace(str(disk.root), ""))
                for s in samples
            ]
        )
    assert hashlib.sha256(json.dumps(splits).encode()).hexdigest()[:16] == DIGESTS[name]


def test_the_command_writes_split_files(disk, cfg, capsys, caplog):
    raw_pets(disk)
    raw_ucf(disk)
    assert main(shlex.split(f"prepare OxfordPets UCF101 --root {disk.root}")) == 0
    made = disk.root / "oxford_pets" / "split_from_annotations.json"
    assert f"OxfordPets: {made}" in capsys.readouterr().out
    content = json.loads(made.read_text())
    assert [len(content[split]) for split in ("train", "val", "test")] == [16, 4, 6]
    before = made.stat().st_mtime_ns
    with caplog.at_level("INFO"):
        task = build(cfg, "OxfordPets")
    assert f"wrote {made}" not in caplog.text and made.stat().st_mtime_ns == before
    assert [[s.key, s.label, s.classname] for s in task.val] == content["val"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "mnist",
            "mnist has no split that is made from raw annotations; --from torchvision prepares ELEVATER's sets",
        ),
        ("ImageNet", "ImageNet has no split that is made from raw annotations"),
        ("OxfordPets", "OxfordPets: no split "),
        ("FGVCAircraft", "FGVCAircraft: "),
    ],
)
def test_the_command_says_what_it_cannot_prepare(disk, capsys, name, message):
    assert main(shlex.split(f"prepare {name} --root {disk.root}")) == 2
    assert message in capsys.readouterr().err


def test_a_split_file_is_made_again_after_a_change(cfg, disk):
    raw_pets(disk)
    assert len(build(cfg, "OxfordPets").train_x) == 16
    annotations = disk.root / "oxford_pets/annotations/trainval.txt"
    more = [f"pug_3{k} 3 1 1" for k in range(10)]
    annotations.write_text(annotations.read_text() + "\n".join(more) + "\n")
    assert [
        len(split)
        for split in (build(cfg, "OxfordPets").train_x, build(cfg, "OxfordPets").val)
    ] == [24, 6]
    raw_eurosat(disk)
    assert len(build(cfg, "EuroSAT").train_x) == 15
    disk.write("eurosat/2750/SeaLake/SeaLake_10.jpg", "")
    disk.write("eurosat/2750/SeaLake/SeaLake_11.jpg", "")
    assert len(build(cfg, "EuroSAT").train_x) == 16


def test_the_published_split_comes_first(cfg, disk, caplog):
    raw_textures(disk)
    build(cfg, "DescribableTextures")
    rows = [["banded/banded_0.jpg", 0, "banded"], ["woven/woven_0.jpg", 1, "woven"]]
    disk.json(
        "dtd/split_zhou_DescribableTextures.json",
        {"train": rows, "val": [], "test": rows},
    )
    caplog.clear()
    assert [s.key for s in build(cfg, "DescribableTextures").test] == [
        "banded/banded_0.jpg",
        "woven/woven_0.jpg",
    ]
    assert not caplog.text


def test_a_folder_that_is_not_writable_stays_as_it_is(
    cfg, disk, monkeypatch, tmp_path_factory
):
    raw_textures(disk)
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("MVLPT_CACHE", str(cache))
    written = []

    def write(path, text):
        if path.is_relative_to(disk.root):
            raise PermissionError(13, "Permission denied", str(path))
        written.append(path)
        write_text(path, text)

    monkeypatch.setattr(annotations, "write_text", write)
    before = sorted(disk.root.rglob("*"))
    keys = [sample.key for sample in build(cfg, "DescribableTextures").train_x]
    assert [sample.key for sample in build(cfg, "DescribableTextures").train_x] == keys
    assert sorted(disk.root.rglob("*")) == before
    assert len(written) == 1 and written[0].parent == cache / "splits"


def test_the_split_of_raw_folders_is_pinned(cfg, disk):
    raw_eurosat(disk)
    task = build(cfg, "EuroSAT")
    assert [sample.key for sample in task.val[:2]] == [
        "AnnualCrop/AnnualCrop_8.jpg",
        "AnnualCrop/AnnualCrop_7.jpg",
    ]
    assert (
        task.train_x[0].key.startswith("AnnualCrop/")
        and task.test[0].impath == f"{disk.root}/eurosat/2750/{task.test[0].key}"
    )


def test_raw_flowers_count_from_one(cfg, disk):
    raw_flowers(disk)
    task = build(cfg, "OxfordFlowers")
    assert {
        sample.label
        for sample in [*task.train_x, *task.val, *task.test]
        if sample.key <= "image_00010.jpg"
    } == {1}


@pytest.mark.parametrize(
    ("name", "path", "content", "message"),
    [
        (
            "OxfordPets",
            "oxford_pets/annotations/test.txt",
            "pug_1 2 2 1\npug_2\n",
            r"annotations/test\.txt:2: expected <image> <class id>",
        ),
        (
            "SUN397",
            "sun397/Training_01.txt",
            "/z/zoo/sun_a.jpg\n",
            r"Training_01\.txt:1: '/z/zoo' is no class of ClassName\.txt",
        ),
        (
            "UCF101",
            "ucf101/ucfTrainTestlist/testlist01.txt",
            "Nap/v.avi\n",
            r"testlist01\.txt:1: 'Nap' is no class of .*classInd\.txt",
        ),
        (
            "StanfordCars",
            "stanford_cars/devkit/cars_meta.mat",
            "no mat",
            r"cars_meta\.mat is no readable MATLAB file with the variable 'class_names'",
        ),
        (
            "OxfordFlowers",
            "oxford_flowers/cat_to_name.json",
            "[1]",
            r"cat_to_name\.json is no json of label -> class name",
        ),
        (
            "OxfordFlowers",
            "oxford_flowers/cat_to_name.json",
            '{"1": "rose"}',
            r"cat_to_name\.json has no name for the label 2",
        ),
    ],
)
def test_wrong_raw_annotations(cfg, disk, name, path, content, message):
    RAW[name][0](disk)
    disk.write(path, content)
    with pytest.raises(ValueError, match=message):
        build(cfg, name)


def test_a_class_that_is_too_small_to_be_split(cfg, disk):
    folders(disk, "dtd/images", ["banded"], count=2)
    with pytest.raises(
        ValueError,
        match="DescribableTextures: class 'banded' has 2 images, too few to be split",
    ):
        build(cfg, "DescribableTextures")
