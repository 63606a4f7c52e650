"""The doctor on each real set, written small in its true layout: it reports only that
images are few.
"""

import pytest
import test_sets_coop
import test_sets_elevater
import test_sets_imagenet

from datasets.catalog import names
from datasets.catalog.entries import entry
from datasets.tools.doctor import examine


def kinds(report):
    return {finding.kind for finding in report.findings}


@pytest.mark.parametrize("stated", test_sets_elevater.SETS, ids=str)
def test_elevater(disk, stated):
    test_sets_elevater.write(disk, stated)
    report = examine(entry(stated.name), disk.root, quick=True)
    assert kinds(report) <= {"image-count", "empty-class", "same-content"}, (
        report.findings
    )
    assert report.images["test"] >= stated.classes


@pytest.mark.parametrize("stated", test_sets_coop.SETS, ids=str)
def test_coop(disk, stated):
    test_sets_coop.write(disk, stated)
    if stated.name == "StanfordCars":
        for folder in ("cars_train", "cars_test"):
            (disk.root / stated.folder / folder).mkdir()
    report = examine(entry(stated.name), disk.root, quick=True)
    assert kinds(report) == {"image-count", "missing-image"}, report.findings
    assert report.images == {
        split: count * stated.classes
        for split, count in test_sets_coop.PER_CLASS.items()
    }


@pytest.mark.parametrize("below", ["images/", ""])
def test_imagenet(disk, below):
    wnids = list(names.wordnet_names("ImageNet"))
    test_sets_imagenet.write_classes(disk, f"imagenet/{below}train", wnids, 2)
    test_sets_imagenet.write_classes(disk, f"imagenet/{below}val", wnids)
    report = examine(entry("ImageNet"), disk.root, quick=True)
    assert kinds(report) == {"image-count", "missing-index"}, report.findings
    assert report.images == {"train": 2000, "val": 1000, "test": 1000}


@pytest.mark.parametrize("name", test_sets_imagenet.VARIANTS)
def test_variants(disk, name):
    root, classes, *_ = test_sets_imagenet.VARIANTS[name]
    folders = (
        list(map(str, range(1000)))
        if name == "ImageNetV2"
        else list(names.wordnet_names(name))
    )
    test_sets_imagenet.write_classes(disk, root, folders)
    test_sets_imagenet.write_classnames(disk, root.split("/")[0])
    report = examine(entry(name), disk.root, quick=True)
    assert kinds(report) == {"image-count"} and report.images == {"test": classes}, (
        report.findings
    )


def test_set_without_its_published_split(disk):
    for name in ("banded", "woven"):
        for k in range(10):
            disk.write(
                f"dtd/images/{name}/{name}_{k}.jpg", disk.image((20 * k, len(name), 0))
            )
    report = examine(entry("DescribableTextures"), disk.root)
    (published,) = (
        finding for finding in report.findings if finding.kind == "missing-index"
    )
    assert (
        published.level == "warning"
        and "a split is made from the raw annotations" in published.message
    )
    assert report.images == {"train": 10, "val": 4, "test": 6}
    (disk.root / "oxford_pets" / "images").mkdir(parents=True)
    report = examine(entry("OxfordPets"), disk.root)
    assert [(finding.level, finding.kind) for finding in report.findings] == [
        ("error", "missing-index")
    ]
    assert (
        "and annotations/trainval.txt, annotations/test.txt to make one from"
        in report.findings[0].message
    )


def test_raw_annotations_that_cannot_be_read(disk):
    (disk.root / "fgvc_aircraft" / "images").mkdir(parents=True)
    for file in entry("FGVCAircraft").annotations:
        disk.write(f"fgvc_aircraft/{file}", "707-320\n")
    report = examine(entry("FGVCAircraft"), disk.root)
    assert [finding.kind for finding in report.findings] == ["annotations"]


def test_labelmap_of_another_set(disk):
    stated = next(
        stated for stated in test_sets_elevater.SETS if stated.name == "cifar-10"
    )
    test_sets_elevater.write(disk, stated)
    labels = disk.root / "classification/cifar_10_20211007/labels.txt"
    labels.write_text(
        "\n".join([*names.class_names("cifar-10")[:9], "submarine"]) + "\n"
    )
    report = examine(entry("cifar-10"), disk.root, quick=True)
    (finding,) = (
        finding for finding in report.findings if finding.kind == "labelmap-name"
    )
    assert finding.where == "classification/cifar_10_20211007/labels.txt"
    assert finding.message.startswith(
        "class 9 is called 'submarine'; cifar-10 has no such class"
    )
