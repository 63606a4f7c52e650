"""Class names that the data bring along, mapped to those of prompts."""

import re

import pytest

from datasets.catalog import names

FER = ["angry", "disgusted", "fearful", "happy", "neutral", "sad", "surprised"]


def test_spellings_are_mapped_in_the_datas_order():
    kaggle = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]
    assert names.match("fer-2013", kaggle, "labels.txt") == [
        "angry",
        "disgusted",
        "fearful",
        "happy",
        "sad",
        "surprised",
        "neutral",
    ]
    folders = [
        "SeaLake",
        "River",
        "Residential",
        "PermanentCrop",
        "Pasture",
        "Industrial",
        "Highway",
        "HerbaceousVegetation",
        "Forest",
        "AnnualCrop",
    ]
    assert (
        names.match("eurosat_clip", folders, "labels.txt")
        == names.class_names("eurosat_clip")[::-1]
    )


def test_case_spaces_and_punctuation_do_not_count():
    raw = [
        name.upper().replace(" ", "_").replace("-", "/")
        for name in names.class_names("fgvc-aircraft-2013b-variants102")
    ]
    assert names.match(
        "fgvc-aircraft-2013b-variants102", raw, "labels.txt"
    ) == names.class_names("fgvc-aircraft-2013b-variants102")


@pytest.mark.parametrize(
    "name", ["caltech-101", "gtsrb", "imagenet-1k", "country211", "mnist"]
)
def test_every_spelling_in_its_place_is_understood(name):
    for k in range(3):
        spelt = [
            spellings[min(k, len(spellings) - 1)]
            for spellings in names._spellings(name)
        ]
        assert names.match(name, spelt, "labels.txt") == names.class_names(name)


@pytest.mark.parametrize("start", [0, 1])
def test_numbers_in_order_name_nothing(start):
    assert names.match(
        "kitti-distance", [str(start + k) for k in range(4)], "test.json"
    ) == names.class_names("kitti-distance")


def test_a_name_that_fits_two_classes_is_that_of_its_place():
    assert (
        names.class_names("imagenet-1k")[657]
        == names.class_names("imagenet-1k")[744]
        == "missile"
    )
    raw = list(names.class_names("caltech-101"))
    for pair in (["Faces", "Faces_easy"], ["Faces_easy", "Faces"]):
        raw[37:39] = pair
        assert names.match("caltech-101", raw, "labels.txt")[37:39] == [
            "centered face",
            "off-center face",
        ]
    raw[0], raw[37] = raw[37], raw[0]
    with pytest.raises(
        ValueError,
        match=r"labels\.txt: class 0 is called 'Faces_easy'; that fits 'centered face' and 'off-center face'",
    ):
        names.match("caltech-101", raw, "labels.txt")


def test_labelmaps_that_do_not_fit():
    with pytest.raises(
        ValueError, match=r"x/labels\.txt has 6 classes, but fer-2013 has 7"
    ):
        names.match("fer-2013", FER[:6], "x/labels.txt")
    message = re.escape(
        "x/labels.txt: class 4 is called 'calm'; fer-2013 has no such class (nearest: "
    )
    with pytest.raises(
        ValueError,
        match=message
        + r".*add it after a \| in datasets/catalog/class_names/fer-2013\.txt",
    ):
        names.match("fer-2013", [*FER[:4], "calm", *FER[5:]], "x/labels.txt")
    with pytest.raises(
        ValueError,
        match=r"x/labels\.txt: classes 5 \('sad'\) and 6 \('Sadness'\) are both 'sad'",
    ):
        names.match("fer-2013", [*FER[:6], "Sadness"], "x/labels.txt")


def test_coops_names_are_kept_and_raw_ones_replaced():
    assert names.adopt("EuroSAT", ["AnnualCrop", "Forest", "Sea or Lake"]) == (
        ["Annual Crop Land", "Forest", "Sea or Lake"],
        [],
    )
    assert names.adopt("OxfordPets", ["pug", "Shiba_Inu", "my cat"]) == (
        ["pug", "Shiba_Inu", "my cat"],
        ["my cat"],
    )


def test_sets_without_a_list():
    with pytest.raises(ValueError, match="no set is called 'cifar'"):
        names.class_names("cifar")
