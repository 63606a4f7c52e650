"""The contract of ImageNet and its variants: a folder a class, small, in the true
layout.
"""

from collections import Counter

import pytest

import datasets
from datasets.catalog import names
from datasets.catalog.entries import entry


def build(cfg, name, shots=-1):
    cfg.DATASET.NUM_SHOTS = shots
    return datasets.build_task(cfg, name)


VARIANTS = {  # set: (its image folder, classes, first and last class, images)
    "ImageNetV2": (
        "imagenetv2/imagenetv2-matched-frequency-format-val",
        1000,
        "tench",
        "toilet paper",
        10000,
    ),
    "ImageNetSketch": ("imagenet-sketch/images", 1000, "tench", "toilet paper", 50889),
    "ImageNetA": ("imagenet-adversarial/imagenet-a", 200, "stingray", "acorn", 7500),
    "ImageNetR": ("imagenet-rendition/imagenet-r", 200, "goldfish", "acorn", 30000),
}


def write_classes(disk, root, folders, count=1):
    for folder in folders:
        for k in range(count):
            disk.write(f"{root}/{folder}/{folder}_{k}.JPEG", "")


def write_classnames(disk, folder):
    rows = [f"{wnid} {name}" for wnid, name in names.wordnet_names("ImageNet").items()]
    disk.write(f"{folder}/classnames.txt", "\n".join(rows) + "\n")


@pytest.mark.parametrize("listed", [True, False], ids=["classnames.txt", "own names"])
@pytest.mark.parametrize("name", VARIANTS)
def test_contract_of_the_variants(cfg, disk, name, listed):
    root, classes, first, last, images = VARIANTS[name]
    folders = (
        list(map(str, range(1000)))
        if name == "ImageNetV2"
        else list(names.wordnet_names(name))
    )
    write_classes(disk, root, folders)
    disk.write(f"{root}/README.txt", "not a class")
    if listed:
        write_classnames(disk, root.split("/")[0])
    task = build(cfg, name, 4)
    assert (task.num_classes, task.classnames[0], task.classnames[-1]) == (
        classes,
        first,
        last,
    )
    assert task.classnames == names.class_names(name) and task.templates == [
        "a photo of a {}."
    ]
    assert (task.train_x, task.val, task.metric) == ([], [], "accuracy")
    assert [sample.label for sample in task.test] == list(range(classes))
    assert task.test[2].key == f"{root.split('/')[1]}/{folders[2]}/{folders[2]}_0.JPEG"
    assert task.test[2].impath == f"{disk.root}/{root.split('/')[0]}/{task.test[2].key}"
    known = entry(name)
    assert (
        known.suite,
        known.classes,
        known.images,
        f"{known.folder}/{known.image_dir}",
    ) == (
        "imagenet-variant",
        classes,
        {"test": images},
        root,
    )


@pytest.mark.parametrize("below", ["images/", ""])
def test_contract_of_imagenet(cfg, disk, below):
    wnids = list(names.wordnet_names("ImageNet"))
    write_classes(disk, f"imagenet/{below}train", wnids, 2)
    write_classes(disk, f"imagenet/{below}val", wnids)
    task = build(cfg, "ImageNet", 1)
    assert (task.num_classes, task.classnames[0], task.classnames[-1]) == (
        1000,
        "tench",
        "toilet paper",
    )
    assert task.classnames == names.class_names("ImageNet")
    assert Counter(sample.label for sample in task.train_x) == dict.fromkeys(
        range(1000), 1
    )
    assert task.val == task.test and len(task.test) == 1000  # val stays whole
    assert task.test[0].key == f"{below}val/n01440764/n01440764_0.JPEG"
    zero = build(cfg, "ImageNet", 0)
    assert (zero.train_x, zero.val, zero.test) == ([], [], task.test)
    known = entry("ImageNet")
    assert (known.folder, known.classes, tuple(known.images.values())) == (
        "imagenet",
        1000,
        (1281167, 50000, 50000),
    )


def test_wrong_folders_of_imagenet(cfg, disk):
    with pytest.raises(
        FileNotFoundError, match="ImageNetA: no folder .*imagenet-adversarial"
    ):
        build(cfg, "ImageNetA")
    write_classes(disk, "imagenet-adversarial/imagenet-a", ["n01498041", "n99999999"])
    with pytest.raises(
        ValueError,
        match=r"ImageNetA: .*imagenet-a/n99999999 is no class: classnames\.txt has no 'n99999999'",
    ):
        build(cfg, "ImageNetA")
    write_classes(
        disk, "imagenetv2/imagenetv2-matched-frequency-format-val", ["0", "1"]
    )
    with pytest.raises(ValueError, match="has 2 class folders, not 0 to 999"):
        build(cfg, "ImageNetV2")
    disk.write("imagenetv2/classnames.txt", "n01440764 tench\nn01443537\n")
    with pytest.raises(
        ValueError,
        match=r"classnames\.txt:2: expected <WordNet id> <class name>, found 'n01443537'",
    ):
        build(cfg, "ImageNetV2")
