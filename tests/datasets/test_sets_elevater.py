"""The contract of ELEVATER's sets: each is written in its true layout, small, and read
through its registered name.
"""

from dataclasses import dataclass

import pytest

import datasets
from datasets import few_shot as fewshot
from datasets.catalog import names
from datasets.catalog.entries import entry
from toolkit.common.archives import read_bytes


@dataclass(frozen=True)
class Stated:
    """The published properties of a set; `train` and `test` are (index, zip, images)."""

    name: str
    folder: str
    classes: int
    first: str
    last: str
    train: tuple[str, str, int]
    test: tuple[str, str, int]
    metric: str = "accuracy"
    templates: int = 1
    labelmap: str = "labels.txt"  # "": COCO

    def __str__(self):
        return self.name


SETS = (
    Stated(
        "caltech-101",
        "caltech_101_20211007",
        102,
        "accordion",
        "yin and yang symbol",
        ("train.txt", "train.zip", 3060),
        ("test.txt", "test.zip", 6084),
        "mean-per-class",
        34,
    ),
    Stated(
        "cifar-10",
        "cifar_10_20211007",
        10,
        "airplane",
        "truck",
        ("train.txt", "train.zip", 50000),
        ("test.txt", "val.zip", 10000),
        templates=18,
    ),
    Stated(
        "cifar-100",
        "cifar100_20200721",
        100,
        "chimpanzee",
        "bicycle",
        ("train_images.txt", "train_images.zip", 50000),
        ("test_images.txt", "test_images.zip", 10000),
        templates=18,
    ),
    Stated(
        "country211",
        "country211_20210924",
        211,
        "Andorra",
        "Zimbabwe",
        ("train.txt", "train.zip", 31650),
        ("test.txt", "test.zip", 21100),
        templates=5,
    ),
    Stated(
        "dtd",
        "dtd_20211007",
        47,
        "banded",
        "zigzagged",
        ("train.txt", "train.zip", 1880),
        ("test.txt", "test.zip", 1880),
        templates=8,
    ),
    Stated(
        "eurosat_clip",
        "eurosat_clip_20210930",
        10,
        "annual crop land",
        "lake or sea",
        ("train.txt", "2750.zip", 5000),
        ("test.txt", "2750.zip", 5000),
        templates=3,
    ),
    Stated(
        "fer-2013",
        "fer_2013_20211008",
        7,
        "angry",
        "surprised",
        ("train.txt", "train.zip", 28709),
        ("test.txt", "test.zip", 3589),
        templates=6,
    ),
    Stated(
        "fgvc-aircraft-2013b-variants102",
        "fgvc_aircraft_2013b_variants102_20211007",
        100,
        "707-320",
        "Yak-42",
        ("train.txt", "train.zip", 3334),
        ("test.txt", "test.zip", 3333),
        "mean-per-class",
        2,
    ),
    Stated(
        "food-101",
        "food_101_20211007",
        101,
        "apple pie",
        "waffles",
        ("train.txt", "train.zip", 75750),
        ("test.txt", "val.zip", 25250),
    ),
    Stated(
        "gtsrb",
        "gtsrb_20210923",
        43,
        "red and white circle 20 kph speed limit",
        "white circle with gray strike bar indicating no passing for trucks has ended",
        ("train.txt", "train.zip", 26640),
        ("test.txt", "final_test.zip", 12630),
        templates=3,
        labelmap="labelmap.txt",
    ),
    Stated(
        "hateful-memes",
        "hateful_memes_20211014",
        2,
        "meme",
        "hatespeech meme",
        ("train_meta.json", "img.zip", 8500),
        ("test_meta.json", "img.zip", 500),
        "roc_auc",
        labelmap="",
    ),
    Stated(
        "kitti-distance",
        "kitti_distance_20210923",
        4,
        "a photo i took of a car on my left or right side.",
        "a photo i took with no car.",
        ("train_meta.json", "train_images.zip", 6347),
        ("test_meta.json", "test_images.zip", 711),
        labelmap="",
    ),
    Stated(
        "mnist",
        "mnist_20211008",
        10,
        "0",
        "9",
        ("train.txt", "train.zip", 60000),
        ("test.txt", "val.zip", 10000),
    ),
    Stated(
        "oxford-flower-102",
        "oxford_flower_102_20211007",
        102,
        "pink primrose",
        "blackberry lily",
        ("train.txt", "train.zip", 1020),
        ("test.txt", "test.zip", 6149),
        "mean-per-class",
    ),
    Stated(
        "oxford-iiit-pets",
        "oxford_iiit_pets_20211007",
        37,
        "Abyssinian",
        "yorkshire terrier",
        ("train.txt", "train.zip", 3680),
        ("test.txt", "val.zip", 3669),
        "mean-per-class",
    ),
    Stated(
        "patch-camelyon",
        "patch_camelyon_20211007",
        2,
        "lymph node",
        "lymph node containing metastatic tumor tissue",
        ("train.txt", "train.zip", 262144),
        ("test.txt", "test.zip", 32768),
    ),
    Stated(
        "rendered-sst2",
        "rendered_sst2_20210924",
        2,
        "negative",
        "positive",
        ("train.txt", "train.zip", 6920),
        ("test.txt", "test.zip", 1821),
    ),
    Stated(
        "resisc45_clip",
        "resisc45_clip_20210924",
        45,
        "airplane",
        "wetland",
        ("train.json", "images.zip", 3150),
        ("test.json", "images.zip", 25200),
        templates=18,
        labelmap="",
    ),
    Stated(
        "stanford-cars",
        "stanford_cars_20211007",
        196,
        "Acura Integra Type R 2001",
        "Volvo XC90 SUV 2007",
        ("train.txt", "train.zip", 8144),
        ("test.txt", "val.zip", 8041),
        templates=8,
    ),
    Stated(
        "voc-2007-classification",
        "voc2007_20211007",
        20,
        "aeroplane",
        "tvmonitor",
        ("train_ic.txt", "train.zip", 2501),
        ("test_ic.txt", "test.zip", 4952),
        "11point_mAP",
    ),
    Stated(
        "imagenet-1k",
        "imagenet_1k_20220105",
        1000,
        "tench",
        "toilet paper",
        ("train.json", "train_images.zip", 0),
        ("val.json", "val_images.zip", 50000),
        templates=80,
        labelmap="",
    ),
)


def write(disk, stated, label_names=None):
    """Write two training images and a test image a class, as ELEVATER stores them,
    under the last known spelling of a class.
    """
    folder = f"classification/{stated.folder}"
    multilabel = stated.name == "voc-2007-classification"
    spelt = label_names or [
        spellings[-1] for spellings in names._spellings(stated.name)
    ]
    content, zips = disk.image(), {}
    for split, (index, archive, _), repeat in (
        ("train", stated.train, 2),
        ("test", stated.test, 1),
    ):
        images = [
            (f"{split}/a b/{label}_{k}.png", label)
            for k in range(repeat)
            for label in range(stated.classes)
        ]
        zips.setdefault(archive, {}).update({path: content for path, _ in images})
        if stated.labelmap:
            also = ",".join(map(str, [0, 1])) if multilabel else ""
            rows = [
                f"{archive}@{path} {also if multilabel and label == 0 else label}"
                for path, label in images
            ]
            disk.write(f"{folder}/{index}", "\n".join(rows) + "\n")
            disk.write(f"{folder}/{stated.labelmap}", "\n".join(spelt) + "\n")
            continue
        disk.json(
            f"{folder}/{index}",
            {
                "images": [
                    {"id": 7 + k, "file_name": path, "zip_file": archive}
                    for k, (path, _) in reversed(list(enumerate(images)))
                ],
                "annotations": [
                    {"id": k, "image_id": 7 + k, "category_id": 1 + label}
                    for k, (_, label) in enumerate(images)
                ],
                "categories": [
                    {"id": 1 + label, "name": name} for label, name in enumerate(spelt)
                ],
            },
        )
    for archive, members in zips.items():
        disk.zip(f"{folder}/{archive}", members)


@pytest.fixture(params=SETS, ids=str)
def stated(request, disk):
    write(disk, request.param)
    return request.param


def build(cfg, name, shots):
    cfg.DATASET.NUM_SHOTS = shots
    return datasets.build_task(cfg, name)


def test_contract(cfg, disk, stated):
    task = build(cfg, stated.name, 2)
    assert (task.num_classes, task.classnames[0], task.classnames[-1]) == (
        stated.classes,
        stated.first,
        stated.last,
    )
    assert task.classnames == names.class_names(stated.name)
    assert (task.name, task.metric, len(task.templates)) == (
        stated.name,
        stated.metric,
        stated.templates,
    )
    assert task.label_kind == (
        "multilabel" if stated.name == "voc-2007-classification" else "multiclass"
    )
    assert task.crop == ("squash" if stated.name == "kitti-distance" else "crop")
    assert [sample.key for sample in task.test] == [
        f"{stated.test[1]}@test/a b/{label}_0.png" for label in range(stated.classes)
    ]
    assert [sample.labels[-1] for sample in task.test][1:] == list(
        range(1, stated.classes)
    )
    assert {
        label for sample in [*task.train_x, *task.val] for label in sample.labels
    } == set(range(stated.classes))
    assert (
        task.test[-1].impath
        == f"{disk.root}/classification/{stated.folder}/{task.test[-1].key}"
    )
    assert all(
        read_bytes(samples[-1].impath)[:4] == b"\x89PNG"
        for samples in (task.train_x, task.test)
    )


def test_draws_are_elevaters(cfg, stated):
    task = build(cfg, stated.name, -1)
    pool = sorted(
        [*task.train_x, *task.val],
        key=lambda sample: (
            sample.key.split("_")[-1],
            int(sample.key.split("/")[-1].split("_")[0]),
        ),
    )
    assert len(pool) == 2 * stated.classes
    for shots in (1, 2):
        drawn = build(cfg, stated.name, shots)
        assert (drawn.train_x, drawn.val) == fewshot.sample_elevater(
            pool, stated.classes, task.label_kind, shots, 1
        )


def test_zero_shot_needs_the_test_files_alone(cfg, disk, stated):
    folder = disk.root / "classification" / stated.folder
    for path in {folder / stated.train[0], folder / stated.train[1]} - {
        folder / stated.test[1]
    }:
        path.unlink()
    task = build(cfg, stated.name, 0)
    assert (task.train_x, task.val, len(task.test)) == ([], [], stated.classes)
    with pytest.raises(
        FileNotFoundError, match=rf"no file .*{stated.folder}/{stated.train[0]}"
    ):
        build(cfg, stated.name, 1)


def test_the_catalogue_states_the_same(stated):
    known = entry(stated.name)
    assert (known.folder, known.classes, known.metric) == (
        f"classification/{stated.folder}",
        stated.classes,
        stated.metric,
    )
    assert (known.indexes["train"], known.images["train"]) == (
        stated.train[0],
        stated.train[2],
    )
    assert (known.indexes["test"], known.images["test"]) == (
        stated.test[0],
        stated.test[2],
    )
    assert (known.labelmap, stated.test[1] in known.zips) == (stated.labelmap, True)
    assert stated.name == "imagenet-1k" or stated.train[1] in known.zips


def test_names_follow_the_labelmap_wherever_it_puts_them(cfg, disk):
    stated = next(one for one in SETS if one.name == "fer-2013")
    write(
        disk,
        stated,
        ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"],
    )
    assert build(cfg, "fer-2013", 0).classnames == [
        "angry",
        "disgusted",
        "fearful",
        "happy",
        "sad",
        "surprised",
        "neutral",
    ]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("mnist", "labels.txt"),
        ("kitti-distance", "test_meta.json"),
        ("gtsrb", "labelmap.txt"),
    ],
)
def test_a_name_that_is_not_covered(cfg, disk, name, file):
    stated = next(one for one in SETS if one.name == name)
    write(disk, stated, [*names.class_names(name)[:-1], "zebra crossing"])
    with pytest.raises(
        ValueError,
        match=rf"{file}: class {stated.classes - 1} is called 'zebra crossing'; {name} has no such class",
    ):
        build(cfg, name, 1)


def test_a_labelmap_that_does_not_fit(cfg, disk):
    stated = next(one for one in SETS if one.name == "mnist")
    write(disk, stated, [*map(str, range(11))])
    with pytest.raises(
        ValueError, match=r"mnist_20211008/labels\.txt has 11 classes, but mnist has 10"
    ):
        build(cfg, "mnist", 0)
    write(disk, stated, [*map(str, range(9))])
    with pytest.raises(
        ValueError,
        match=r"test\.txt:10: label 9 is out of range: labels\.txt has 9 classes",
    ):
        build(cfg, "mnist", 0)


def test_a_missing_test_zip_is_named(cfg, disk):
    write(disk, next(one for one in SETS if one.name == "gtsrb"))
    (disk.root / "classification/gtsrb_20210923/final_test.zip").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no zip file .*gtsrb_20210923/final_test\.zip"
    ):
        build(cfg, "gtsrb", 0)
