"""The contract of CoOp's source sets with a published split: each is written in its
true layout, small, and read by name.
"""

import json
import logging
from collections import Counter
from dataclasses import dataclass

import pytest

import datasets
from datasets import few_shot as fewshot
from datasets.catalog import names
from datasets.catalog.entries import entry
from toolkit.common.archives import read_bytes


@dataclass(frozen=True)
class Stated:
    """The published properties of a set. images: (train, val, test) as published."""

    name: str
    folder: str
    image_dir: str
    split: str
    classes: int
    first: str
    last: str
    images: tuple[int, int, int]
    template: str = "a photo of a {}."

    def __str__(self):
        return self.name


SETS = (
    Stated(
        "Caltech101",
        "caltech-101",
        "101_ObjectCategories",
        "split_zhou_Caltech101.json",
        100,
        "face",
        "yin_yang",
        (4128, 1649, 2465),
    ),
    Stated(
        "OxfordPets",
        "oxford_pets",
        "images",
        "split_zhou_OxfordPets.json",
        37,
        "abyssinian",
        "yorkshire_terrier",
        (2944, 736, 3669),
        "a photo of a {}, a type of pet.",
    ),
    Stated(
        "StanfordCars",
        "stanford_cars",
        "",
        "split_zhou_StanfordCars.json",
        196,
        "2000 AM General Hummer SUV",
        "2012 smart fortwo Convertible",
        (6509, 1635, 8041),
    ),
    Stated(
        "OxfordFlowers",
        "oxford_flowers",
        "jpg",
        "split_zhou_OxfordFlowers.json",
        102,
        "pink primrose",
        "blackberry lily",
        (4093, 1633, 2463),
        "a photo of a {}, a type of flower.",
    ),
    Stated(
        "Food101",
        "food-101",
        "images",
        "split_zhou_Food101.json",
        101,
        "apple_pie",
        "waffles",
        (50500, 20200, 30300),
        "a photo of {}, a type of food.",
    ),
    Stated(
        "FGVCAircraft",
        "fgvc_aircraft",
        "images",
        "",
        100,
        "707-320",
        "Yak-42",
        (3334, 3333, 3333),
        "a photo of a {}, a type of aircraft.",
    ),
    Stated(
        "SUN397",
        "sun397",
        "SUN397",
        "split_zhou_SUN397.json",
        397,
        "abbey",
        "youth_hostel",
        (15880, 3970, 19850),
    ),
    Stated(
        "DescribableTextures",
        "dtd",
        "images",
        "split_zhou_DescribableTextures.json",
        47,
        "banded",
        "zigzagged",
        (2820, 1128, 1692),
        "{} texture.",
    ),
    Stated(
        "EuroSAT",
        "eurosat",
        "2750",
        "split_zhou_EuroSAT.json",
        10,
        "Annual Crop Land",
        "Sea or Lake",
        (13500, 5400, 8100),
        "a centered satellite photo of {}.",
    ),
    Stated(
        "UCF101",
        "ucf101",
        "UCF-101-midframes",
        "split_zhou_UCF101.json",
        101,
        "Apply_Eye_Makeup",
        "Yo_Yo",
        (7639, 1898, 3783),
        "a photo of a person doing {}.",
    ),
)
BY_NAME = {stated.name: stated for stated in SETS}
PER_CLASS = {"train": 3, "val": 2, "test": 1}


def key(split, label, k):
    return f"{split} {label}/{k:07d}.jpg"


def write(disk, stated):
    """Write the published split (or FGVC-Aircraft's own lists) and one image of the
    test set.
    """
    classes = names.class_names(stated.name)
    rows = {
        split: [
            (
                key(split, label, k) if stated.split else f"{split}{label:03d}{k}.jpg",
                label,
            )
            for label in range(stated.classes)
            for k in range(count)
        ]
        for split, count in PER_CLASS.items()
    }
    if stated.split:
        content = {
            split: [[path, label, classes[label]] for path, label in listed]
            for split, listed in rows.items()
        }
        disk.json(f"{stated.folder}/{stated.split}", content)
    else:
        disk.write(f"{stated.folder}/variants.txt", "\n".join(classes) + "\n")
        for split, listed in rows.items():
            lines = [
                f"{path.removesuffix('.jpg')} {classes[label]}"
                for path, label in listed
            ]
            disk.write(
                f"{stated.folder}/images_variant_{split}.txt", "\n".join(lines) + "\n"
            )
    disk.write(
        f"{stated.folder}/{stated.image_dir}/{rows['test'][0][0]}",
        disk.image(format="JPEG"),
    )


def build(cfg, name, shots=-1):
    cfg.DATASET.NUM_SHOTS = shots
    return datasets.build_task(cfg, name)


@pytest.mark.parametrize("stated", SETS, ids=str)
def test_contract(cfg, disk, stated, caplog):
    write(disk, stated)
    with caplog.at_level(logging.WARNING):
        task = build(cfg, stated.name)
    assert not caplog.records  # the published split needs no warning
    assert (task.name, task.num_classes, task.classnames[0], task.classnames[-1]) == (
        stated.name,
        stated.classes,
        stated.first,
        stated.last,
    )
    assert task.classnames == names.class_names(stated.name)
    assert (task.metric, task.label_kind, task.crop, task.templates) == (
        "accuracy",
        "multiclass",
        "crop",
        [stated.template],
    )
    assert [len(samples) for samples in (task.train_x, task.val, task.test)] == [
        count * stated.classes for count in PER_CLASS.values()
    ]
    assert [sample.label for sample in task.test] == list(range(stated.classes))
    assert read_bytes(task.test[0].impath)[:2] == b"\xff\xd8" and not task.test[
        0
    ].key.startswith("/")
    known = entry(stated.name)
    assert (known.folder, known.image_dir, known.split_json) == (
        stated.folder,
        stated.image_dir,
        stated.split,
    )
    assert (known.classes, tuple(known.images.values())) == (
        stated.classes,
        stated.images,
    )


@pytest.mark.parametrize("stated", SETS, ids=str)
def test_few_shot(cfg, disk, stated):
    write(disk, stated)
    whole, drawn = build(cfg, stated.name), build(cfg, stated.name, 2)
    assert (drawn.train_x, drawn.val) == fewshot.sample_per_class(
        whole.train_x, whole.val, 2, 1, stated.name
    )
    assert (
        set(Counter(sample.label for sample in drawn.train_x).values()) == {2}
        and drawn.test == whole.test
    )
    zero = build(cfg, stated.name, 0)
    assert (zero.train_x, zero.val, len(zero.test)) == ([], [], stated.classes)


def test_no_images_and_no_split_are_named(cfg, disk):
    disk.write("ucf101/other.txt", "")
    with pytest.raises(
        FileNotFoundError, match=r"UCF101: no image folder .*ucf101/UCF-101-midframes"
    ):
        build(cfg, "UCF101")
    disk.write("ucf101/UCF-101-midframes/a.jpg", "")
    with pytest.raises(
        FileNotFoundError,
        match=r"UCF101: no split .*split_zhou_UCF101\.json, which `python -m datasets download UCF101` "
        r"fetches, nor all of ucfTrainTestlist/classInd\.txt, .* to make one from",
    ):
        build(cfg, "UCF101")


def test_names_of_one_s_own_in_a_published_split_stay(cfg, disk, caplog):
    write(disk, BY_NAME["EuroSAT"])
    path = disk.root / "eurosat/split_zhou_EuroSAT.json"
    text = (
        path.read_text()
        .replace("Pasture Land", "a meadow")
        .replace("Sea or Lake", "SeaLake")
    )
    path.write_text(text)
    task = build(cfg, "EuroSAT")
    assert task.classnames[5] == "a meadow" and task.classnames[9] == "Sea or Lake"
    assert "EuroSAT: 1 class names" in caplog.text and "'a meadow'" in caplog.text


def test_fgvc_aircraft_names_a_wrong_variant(cfg, disk):
    write(disk, BY_NAME["FGVCAircraft"])
    disk.write(
        "fgvc_aircraft/images_variant_val.txt", "0000001 707-320\n0000002 Zeppelin NT\n"
    )
    with pytest.raises(
        ValueError,
        match=r"images_variant_val\.txt:2: 'Zeppelin NT' is no class of variants\.txt",
    ):
        build(cfg, "FGVCAircraft")


def test_a_published_split_that_is_no_split(cfg, disk):
    write(disk, BY_NAME["Food101"])
    disk.write("food-101/split_zhou_Food101.json", json.dumps({"train": []}))
    with pytest.raises(
        ValueError,
        match=r"split_zhou_Food101\.json: expected the lists train, val, test",
    ):
        build(cfg, "Food101")
