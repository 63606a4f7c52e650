"""The sets without data: the catalogue's entries, the class lists and the templates."""

import json
from collections import Counter
from pathlib import Path

import pytest
from dassl.data.datasets import DATASET_REGISTRY

import datasets
from datasets.catalog import entries as catalogue
from datasets.catalog import names

ENTRIES = catalogue.entries()
ELEVATER = sorted(
    name
    for name, entry in ENTRIES.items()
    if entry.suite == "elevater" and name != "imagenet-1k"
)


def test_every_set_is_there_and_registered():
    assert Counter(entry.suite for entry in ENTRIES.values()) == {
        "coop": 11,
        "imagenet-variant": 4,
        "elevater": 21,
        "pocket": 35,
    }
    datasets.register_all()
    assert set(ENTRIES) <= set(DATASET_REGISTRY.registered_names())


def test_totals_of_elevater():
    assert len(ELEVATER) == 20
    totals = {
        split: sum(ENTRIES[name].images.get(split, 0) for name in ELEVATER)
        for split in ("train", "val", "test")
    }
    assert totals == {"train": 638429, "val": 77619, "test": 192677}
    assert sum(ENTRIES[name].classes for name in ELEVATER) == 1151
    assert Counter(ENTRIES[name].metric for name in ELEVATER) == {
        "accuracy": 14,
        "mean-per-class": 4,
        "11point_mAP": 1,
        "roc_auc": 1,
    }
    without_val = {
        "caltech-101",
        "cifar-10",
        "cifar-100",
        "food-101",
        "hateful-memes",
        "mnist",
        "oxford-iiit-pets",
        "stanford-cars",
    }
    assert {
        name for name in ELEVATER if "val" not in ENTRIES[name].images
    } == without_val
    assert [name for name in ELEVATER if ENTRIES[name].crop == "squash"] == [
        "kitti-distance"
    ]


def test_totals_of_coop():
    sources = [entry for entry in ENTRIES.values() if entry.suite == "coop"]
    assert sum(entry.classes for entry in sources) == 2191
    variants = {
        entry.name: entry.images
        for entry in ENTRIES.values()
        if entry.suite == "imagenet-variant"
    }
    assert variants == {
        name: {"test": count}
        for name, count in [
            ("ImageNetV2", 10000),
            ("ImageNetSketch", 50889),
            ("ImageNetA", 7500),
            ("ImageNetR", 30000),
        ]
    }


def test_the_evaluation_knows_the_same_facts():
    table = json.loads(
        (Path(__file__).parents[2] / "elevater_eval" / "tasks.json").read_text()
    )
    for name, task in table.items():
        entry = ENTRIES[name]
        metadata = (
            entry.classes,
            entry.images["test"],
            entry.metric,
            entry.label_kind,
            entry.layout,
        )
        assert metadata == tuple(
            task[key] for key in ("classes", "test", "metric", "label_kind", "format")
        ), name
        assert f"{entry.folder}/{entry.indexes['test']}" == task["test_index"]


@pytest.mark.parametrize("name", ENTRIES)
def test_show(name):
    shown = names.show(name)
    assert list(shown) == [
        "name",
        "suite",
        "classes",
        "metric",
        "label_kind",
        "templates",
    ]
    assert len(shown["classes"]) == ENTRIES[name].classes and all(shown["classes"])
    assert shown["templates"] and all(
        template.count("{}") == 1 for template in shown["templates"]
    )
    assert json.loads(json.dumps(shown)) == shown


def test_unknown_names_get_the_nearest():
    with pytest.raises(
        ValueError,
        match=r"no set is called 'cifar100'; the nearest names are cifar-100",
    ):
        names.show("cifar100")


def test_files_and_zips_of_elevater():
    assert ENTRIES["gtsrb"].files == (
        "labelmap.txt",
        "train.txt",
        "test.txt",
        "train.zip",
        "final_test.zip",
    )
    assert ENTRIES["eurosat_clip"].zips == ("2750.zip",) and ENTRIES[
        "hateful-memes"
    ].zips == ("img.zip",)
    assert ENTRIES["imagenet-1k"].files == ("val.json", "val_images.zip")
    for entry in ENTRIES.values():
        assert set(entry.zips) <= set(entry.files) and set(entry.images) <= {
            "train",
            "val",
            "test",
        }


def test_offsets_of_the_union_of_elevaters_classes():
    offsets, start = {}, 0
    for name in ELEVATER:
        offsets[name], start = start, start + len(names.class_names(name))
    assert offsets == {
        "caltech-101": 0,
        "cifar-10": 102,
        "cifar-100": 112,
        "country211": 212,
        "dtd": 423,
        "eurosat_clip": 470,
        "fer-2013": 480,
        "fgvc-aircraft-2013b-variants102": 487,
        "food-101": 587,
        "gtsrb": 688,
        "hateful-memes": 731,
        "kitti-distance": 733,
        "mnist": 737,
        "oxford-flower-102": 747,
        "oxford-iiit-pets": 849,
        "patch-camelyon": 886,
        "rendered-sst2": 888,
        "resisc45_clip": 890,
        "stanford-cars": 935,
        "voc-2007-classification": 1131,
    }
    assert start == 1151


def test_repeated_names_of_elevater():
    union = [name for task in ELEVATER for name in names.class_names(task)]
    assert len(set(union)) == 1115
    shared = Counter(name for task in ELEVATER for name in set(names.class_names(task)))
    shared = {name: count for name, count in shared.items() if count > 1}
    assert (
        len(shared) == 32
        and shared["airplane"]
        == shared["chair"]
        == shared["forest"]
        == shared["sunflower"]
        == 3
    )


def test_label_orders():
    caltech = names.class_names("caltech-101")
    assert [caltech[k] for k in (4, 37, 38, 57, 66)] == [
        "background",
        "centered face",
        "off-center face",
        "leopard",
        "motorbike",
    ]
    cifar = names.class_names("cifar-100")
    assert (
        cifar[:4] == ["chimpanzee", "trout", "skunk", "spider"]
        and cifar[24] == "apple"
        and cifar.index("aquarium fish") == 85
    )
    assert names.class_names("food-101")[16:18] == ["cheesecake", "cheese plate"]
    assert names.class_names("fer-2013") == [
        "angry",
        "disgusted",
        "fearful",
        "happy",
        "neutral",
        "sad",
        "surprised",
    ]
    aircraft = names.class_names("fgvc-aircraft-2013b-variants102")
    assert {"F-16A-B", "F-A-18"} < set(aircraft) and aircraft == sorted(
        aircraft, key=str.lower
    )
    cars = names.class_names("stanford-cars")
    assert (
        cars.index("Audi TTS Coupe 2012") < cars.index("Audi TT Hatchback 2011")
        and "Ram C V Cargo Van Minivan 2012" in cars
    )
    pets = names.class_names("oxford-iiit-pets")
    assert (
        pets[:3] == ["Abyssinian", "american bulldog", "american pit bull terrier"]
        and sum(name[0].isupper() for name in pets) == 12
    )
    voc = names.class_names("voc-2007-classification")
    assert voc == sorted(voc) and {"diningtable", "pottedplant", "tvmonitor"} < set(voc)
    assert names.class_names("gtsrb")[6] == "end / de-restriction of 80 kph speed limit"
    assert (
        names.class_names("kitti-distance")[0]
        == "a photo i took of a car on my left or right side."
    )
    assert names.class_names("SUN397")[8] == "outdoor apartment_building"
    assert names.class_names("Caltech101")[:5] == [
        "face",
        "leopard",
        "motorbike",
        "accordion",
        "airplane",
    ]
    assert names.class_names("UCF101")[34:36] == ["Hammering", "Hammer_Throw"]


def test_numbers_of_templates():
    counts = [34, 18, 18, 5, 8, 3, 6, 2, 1, 3, 1, 1, 1, 1, 1, 1, 1, 18, 8, 1]
    assert [len(names.templates(name)) for name in ELEVATER] == counts
    assert names.templates("mnist") == [
        'a photo of the number: "{}".'
    ] and names.templates("kitti-distance") == ["{}"]
    assert names.templates("patch-camelyon") == ["this is a photo of {}"]
    assert names.templates("DescribableTextures") == [
        "{} texture."
    ] and names.templates("SUN397") == ["a photo of a {}."]


def test_imagenet_is_open_clips():
    from open_clip.zero_shot_metadata import (
        IMAGENET_CLASSNAMES,
        OPENAI_IMAGENET_TEMPLATES,
    )

    assert (
        names.class_names("imagenet-1k")
        == list(IMAGENET_CLASSNAMES)
        == names.class_names("ImageNet")
    )
    assert len(set(IMAGENET_CLASSNAMES)) == 998
    assert names.templates("imagenet-1k") == [
        template("{}") for template in OPENAI_IMAGENET_TEMPLATES
    ]


def test_wordnet_ids():
    whole = names.wordnet_names("ImageNet")
    assert (
        len(whole) == 1000
        and list(whole) == sorted(whole)
        and whole["n01440764"] == "tench"
        and whole["n15075141"] == "toilet paper"
    )
    for name in ("ImageNetA", "ImageNetR"):
        part = names.wordnet_names(name)
        assert (
            len(part) == 200
            and list(part) == sorted(part)
            and part.items() <= whole.items()
        )
        assert list(part.values()) == names.class_names(name)
