"""A user's images: a folder or a CSV is a task like any other, and faults are named
with file and line.
"""

import json
import os
import shutil
from collections import Counter
from pathlib import Path

import pytest
from dassl.data.datasets import DATASET_REGISTRY

from datasets import build_task, is_custom, task_name
from datasets import few_shot as fewshot
from datasets.custom import task as custom
from datasets.multitask import MultitaskDataset
from prompting.predict import find_images
from toolkit.common.images import read_image

COLORS = {"cat": (250, 0, 0), "dog": (0, 250, 0), "red_fox": (0, 0, 250)}


@pytest.fixture
def photos(disk):
    """Write photos/<class>/<n>.png: ten cats, five dogs, four foxes."""
    for name, count in (("red_fox", 4), ("cat", 10), ("dog", 5)):
        for k in range(count):
            disk.write(
                f"photos/{name}/{k}.png",
                disk.image(tuple(max(c - 9 * k, 0) for c in COLORS[name])),
            )
    return disk.root / "photos"


@pytest.fixture
def table(disk):
    """Return a function that writes birds.csv, and the images a.png ... z.png that it
    may name, and returns the name of the task.
    """
    for letter in "abcdefghijklmnopqrstuvwxyz":
        disk.write(f"{letter}.png", disk.image((ord(letter), 0, 0)))

    def write(text: str, yaml: str = "", file: str = "birds.csv") -> str:
        disk.write(file, text)
        if yaml:
            disk.write(file.replace(".csv", ".yaml"), yaml)
        return f"csv:{disk.root / file}"

    return write


def lines(rows, header="path,label,split"):
    return "\n".join([header, *rows]) + "\n"


CAT_TEST = ["cat/0.png", "cat/5.png", "cat/7.png", "cat/8.png"]


def keys(samples):
    return [sample.key for sample in samples]


BIRDS = [
    f"{letter}.png,{'robin' if k % 2 else 'wren'},{'test' if k > 9 else 'train'}"
    for k, letter in enumerate("abcdefghijklmn")
]
SCENES = [
    "a.png,sea;sky,train",
    "b.png,,train",
    "c.png,tree | sky,train",
    'd.png,"sea,tree",train',
    "e.png,sky,train",
    "f.png,sea;sea,test",
    "g.png,,test",
    "h.png,tree;sky,val",
]


# -- names -------------------------------------------------------------------------------------------------------


def test_names(photos, table, disk, monkeypatch):
    assert (
        is_custom("folder:x")
        and is_custom("csv:x")
        and not is_custom("folder")
        and not is_custom("pocket-digits")
    )
    assert task_name("mnist") == "mnist"
    assert task_name(f"folder:{photos}") == task_name(f"folder:{photos}/") == "photos"
    assert (
        task_name("csv:some/birds.v2.csv") == "birds.v2"
        and task_name("folder:a/photos.v2") == "photos.v2"
    )
    monkeypatch.chdir(photos)
    assert task_name("folder:.") == "photos"
    assert task_name(table(lines(BIRDS), "name: my birds")) == "my birds"


def test_what_is_shared_holds_no_absolute_path():
    assert custom.without_local_path("folder:/data/photos/") == "folder:photos"
    assert custom.without_local_path("csv:/data/b.csv") == "csv:b.csv"
    assert custom.without_local_path("folder:data/photos") == "folder:data/photos"
    assert custom.without_local_path("mnist") == "mnist"


def test_a_name_that_is_taken_or_cannot_be_a_file_is_refused(cfg, disk, photos):
    shutil.copytree(photos, disk.root / "pocket-digits")
    with pytest.raises(
        ValueError,
        match=r"'pocket-digits' is the name of a registered.*'name: ...' in .*digits.yaml",
    ):
        build_task(cfg, f"folder:{disk.root}/pocket-digits")
    disk.write("pocket-digits.yaml", "name: numbers")
    assert build_task(cfg, f"folder:{disk.root}/pocket-digits").name == "numbers"
    disk.write("pocket-digits.yaml", "name: a/b")
    with pytest.raises(
        ValueError, match=r"pocket-digits.yaml: name: 'a/b' can't be the name"
    ):
        build_task(cfg, f"folder:{disk.root}/pocket-digits")
    with pytest.raises(ValueError, match="'csv:': expected csv:FILE"):
        build_task(cfg, "csv:")


# -- folders -----------------------------------------------------------------------------------------------------


def test_one_folder_is_split_by_class(cfg, photos):
    cfg.DATASET.NUM_SHOTS = -1
    task = build_task(cfg, f"folder:{photos}")
    assert (task.name, task.label_kind, task.metric, task.crop) == (
        "photos",
        "multiclass",
        "accuracy",
        "crop",
    )
    assert task.classnames == ["cat", "dog", "red_fox"] and task.templates == [
        "a photo of a {}."
    ]
    assert Counter(sample.classname for sample in task.test) == {
        "cat": 4,
        "dog": 1,
        "red_fox": 1,
    }
    # those of small hashes, one at least
    assert keys(task.test) == [*CAT_TEST, "dog/4.png", "red_fox/0.png"]
    everything = [*task.train_x, *task.val, *task.test]
    assert len(set(keys(everything))) == len(everything) == 19
    for sample in everything:
        assert sample.impath == str(
            photos / sample.key
        ) and sample.label == task.classnames.index(sample.classname)
        assert (
            max(range(3), key=read_image(sample.impath).getpixel((0, 0)).__getitem__)
            == sample.label
        )


def test_the_draw_is_elevaters_and_leaves_the_test_set_alone(cfg, photos):
    def task(shots, seed):
        cfg.DATASET.NUM_SHOTS, cfg.DATASET.RANDOM_SEED_SAMPLING = shots, seed
        return build_task(cfg, f"folder:{photos}")

    full = task(-1, 0)
    pool = sorted([*full.train_x, *full.val], key=lambda sample: sample.key)
    for shots, seed in ((1, 0), (2, 0), (2, 3), (20, 1)):
        drawn = task(shots, seed)
        assert (drawn.train_x, drawn.val) == fewshot.sample_elevater(
            pool, 3, "multiclass", shots, seed
        )
        assert keys(drawn.test) == keys(full.test)
    assert keys(task(2, 0).train_x) != keys(task(2, 1).train_x)
    assert task(0, 0).train_x == [] and len(task(0, 0).test) == 6


def test_train_val_and_test_folders(cfg, photos, disk):
    for split, count in (("train", 6), ("valid", 5), ("test", 2)):
        for name in ("cat", "dog"):
            for k in range(count):
                disk.write(
                    f"pets/{split}/{name}/deep/{k}.JPG",
                    disk.image(COLORS[name], format="JPEG"),
                )
    disk.write("pets/train/notes.txt", "no image")
    disk.write("pets/README.md", "no image")
    disk.write("pets/train/.cache/x.png", b"")
    cfg.DATASET.NUM_SHOTS = 5
    task = build_task(cfg, f"folder:{disk.root}/pets")
    assert task.classnames == ["cat", "dog"]
    # validation images are counted apart
    assert Counter(sample.label for sample in task.train_x) == {0: 5, 1: 5}
    assert Counter(sample.label for sample in task.val) == {0: 4, 1: 4}
    assert all(key.startswith("valid/") for key in keys(task.val))
    assert keys(task.test) == [
        f"test/{name}/deep/{k}.JPG" for name in ("cat", "dog") for k in range(2)
    ]
    cfg.DATASET.NUM_SHOTS = -1
    task = build_task(cfg, f"folder:{disk.root}/pets")
    assert (len(task.train_x), len(task.val)) == (12, 10)


def test_classes_called_train_and_test_are_classes(cfg, disk):
    for name in ("train", "test", "bus"):
        for k in range(3):
            disk.write(f"traffic/{name}/{k}.png", disk.image())
    assert build_task(cfg, f"folder:{disk.root}/traffic").classnames == [
        "bus",
        "test",
        "train",
    ]


def test_numbers_are_sorted_by_value_and_yaml_names_them(cfg, disk):
    for name in ("10", "9", "1"):
        for k in range(2):
            disk.write(f"digits/{name}/{k}.png", disk.image())
    assert build_task(cfg, f"folder:{disk.root}/digits").classnames == ["1", "9", "10"]
    disk.write(
        "digits.yml",
        "names: {1: one, 10: ten, 9: nine}\ntemplates: 'the number {}'\ncrop: squash\nmetric: mean-per-class",
    )
    task = build_task(cfg, f"folder:{disk.root}/digits")
    assert task.classnames == ["one", "ten", "nine"] and {
        s.key[:2]: s.label for s in task.test
    } == {
        "1/": 0,
        "10": 1,
        "9/": 2,
    }
    assert (task.templates, task.crop, task.metric) == (
        ["the number {}"],
        "squash",
        "mean-per-class",
    )


@pytest.mark.parametrize("kind", ["pipe", "broken link", "folder"])
def test_a_yaml_that_cannot_be_read_is_not_passed_over(cfg, photos, kind):
    path = photos.with_suffix(".yaml")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("moved.yaml")
    with pytest.raises(ValueError, match=r"photos\.yaml is no file, or a link to one"):
        build_task(cfg, f"folder:{photos}")


def test_base_and_new_classes(cfg, photos):
    cfg.DATASET.SUBSAMPLE_CLASSES = "new"
    task = build_task(cfg, f"folder:{photos}")
    assert task.classnames == ["red_fox"] and {
        sample.label for sample in [*task.train_x, *task.test]
    } == {0}


def test_a_file_that_is_no_image_is_passed_over_with_a_warning(
    cfg, photos, disk, caplog
):
    disk.write("photos/cat/IMG_1.CR2", b"")
    disk.write("photos/cat/.DS_Store", b"")
    build_task(cfg, f"folder:{photos}")
    build_task(cfg, f"folder:{photos}")
    (message,) = [record.getMessage() for record in caplog.records]
    assert message == f"{photos}/cat: 1 of 11 files are passed over, such as IMG_1.CR2"


def remove(*folders):
    def change(root, disk):
        for folder in folders:
            shutil.rmtree(root / folder)

    return change


def split_folders(*splits):
    def change(root, disk):
        for split in splits:
            for name in ("cat", "dog"):
                disk.write(f"photos/{split}/{name}/0.png", disk.image())

    return change


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (remove("."), FileNotFoundError, "no folder {root}$"),
        (
            remove("dog", "red_fox"),
            ValueError,
            "{root} has one class, 'cat'; at least two classes are needed",
        ),
        (remove("dog", "red_fox", "cat"), ValueError, "{root} has no sub-folders"),
        (
            lambda root, disk: (root / "eel").mkdir(),
            ValueError,
            "{root}/eel has 0 images; a class needs two",
        ),
        (
            lambda root, disk: disk.write("photos/one/1.png", disk.image()),
            ValueError,
            "{root}/one has 1 image; a class",
        ),
        (
            lambda root, disk: [
                remove("cat", "dog", "red_fox")(root, disk),
                disk.write("photos/1.png", disk.image()),
            ],
            ValueError,
            "{root} has no sub-folders",
        ),
        (
            split_folders("train"),
            FileNotFoundError,
            "no folder {root}/test, though there is {root}/train",
        ),
        (
            split_folders("test"),
            FileNotFoundError,
            "no folder {root}/train, though there is {root}/test",
        ),
        (
            lambda root, disk: [
                split_folders("train")(root, disk),
                disk.write("photos/test/0.png", disk.image()),
            ],
            ValueError,
            "{root}/test has no sub-folders",
        ),
        (
            split_folders("train", "test", "val", "validation"),
            ValueError,
            "several folders for one split: .*val",
        ),
        (
            lambda root, disk: [
                split_folders("train", "test")(root, disk),
                disk.write("photos/test/dgo/0.png", disk.image()),
            ],
            ValueError,
            "{root}/test/dgo: 'dgo' is no class of {root}/train; the nearest is 'dog'",
        ),
        (
            lambda root, disk: [
                split_folders("train", "test")(root, disk),
                (root / "train/eel").mkdir(),
                disk.write("photos.yaml", "names: [cat, dog, eel]"),
            ],
            ValueError,
            r"class 2 \('eel'\) has no training image in {root}",
        ),
        (
            lambda root, disk: disk.write("photos.yaml", "names: [cat, dog]"),
            ValueError,
            "{root}/red_fox: 'red_fox' is none of the names in {root}.yaml; the nearest is 'dog'",
        ),
    ],
)
def test_wrong_folders(cfg, photos, disk, change, error, message):
    change(photos, disk)
    with pytest.raises(error, match=message.replace("{root}", str(photos))):
        build_task(cfg, f"folder:{photos}")


def tree(disk, root, *folders, count=2):
    for number, folder in enumerate(folders):
        for k in range(count):
            disk.write(
                f"{root}/{folder}/{k}.png", disk.image((40 * number, 90, 10 * k))
            )
    return f"folder:{disk.root}/{root}"


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("training", "testing"),
        ("TRAIN", "TEST"),
        ("train_set", "test_set"),
        ("seg_train", "seg_test"),
        ("TrainingSet", "TestSet"),
        ("train images", "test-images"),
        ("01_train", "02_test"),
        ("train2017", "test2017"),
        ("my_train_data", "my test data (1)"),
    ],
)
def test_usual_names_of_splits(cfg, disk, train, test):
    classes = ("ant", "bee")
    folders = [f"{split}/{name}" for split in (train, test) for name in classes]
    cfg.DATASET.NUM_SHOTS = -1
    task = build_task(cfg, tree(disk, "insects", *folders, count=5))
    assert task.classnames == ["ant", "bee"]
    assert Counter(sample.label for sample in task.test) == {0: 5, 1: 5}
    assert all(key.startswith(f"{test}/") for key in keys(task.test))
    assert len(task.train_x) + len(task.val) == 10


def test_names_that_only_resemble_splits_are_classes(cfg, disk):
    names = ["contest", "test tube", "trainer", "trains"]
    assert build_task(cfg, tree(disk, "transport", *names)).classnames == names


@pytest.mark.parametrize(
    ("folders", "message"),
    [
        (("Train", "Test"), "{root}/Test has no sub-folders"),
        (("training", "validation", "testing"), "{root}/testing has no sub-folders"),
        (
            ("seg_train/a", "seg_train/b", "seg_test"),
            "{root}/seg_test has no sub-folders",
        ),
        (("Train/a", "Train/b"), "no folder {root}/test, though there is {root}/Train"),
        (
            ("train/a", "Training/b", "test/a"),
            "several folders for one split: Training, test, train",
        ),
        (
            ("animals/cat", "animals/dog", "cars/bus", "cars/van"),
            "{root}/animals holds no images, but .* cat and dog",
        ),
        (
            ("train/a/x", "train/a/y", "train/b/z", "train/b/v", "test/a/x"),
            "{root}/train/a holds no images",
        ),
        # a category with a single class, and categories of one class but the last
        (
            ("animals/cat", "animals/dog", "plants/rose"),
            "{root}/animals holds no images, but .* cat and dog",
        ),
        (
            ("a/oak", "b/fir", "c/elm", "c/ash"),
            "{root}/a holds no images, but .* oak and fir",
        ),
        # splits within classes, and within a folder that is around all
        (
            ("cat/train", "cat/test", "dog/train", "dog/test"),
            "{root}/cat holds the splits test and train: .* to train/cat and so on",
        ),
        (
            ("cat/Training", "cat/valid", "dog"),
            "{root}/cat holds the splits Training and valid: .* to Training/cat",
        ),
        (
            ("data/train/a", "data/train/b", "data/test/a"),
            "{root}/data holds the splits test and train: give this folder",
        ),
        (
            ("images/train/a", "images/val/a", "labels/train"),
            "{root}/images holds the splits train and val: give this folder",
        ),
    ],
)
def test_folders_that_are_no_classes_are_refused(cfg, disk, folders, message):
    with pytest.raises(
        (ValueError, FileNotFoundError),
        match=message.replace("{root}", f"{disk.root}/data"),
    ):
        build_task(cfg, tree(disk, "data", *folders))


def test_folders_that_may_be_splits_are_reported(cfg, disk, caplog):
    for name, folders in {
        "years": ("old/ant", "old/bee", "recent/ant", "recent/bee"),
        "one": ("day/a", "night/b"),
        "rooms": ("day/a", "day/b", "night/a", "night/c"),
    }.items():
        task = build_task(cfg, tree(disk, name, *folders))
        assert len(task.classnames) == 2
    [record] = caplog.records
    assert record.getMessage() == (
        f"{disk.root}/years: old and recent are taken for classes, though they hold folders of the same names, such as "
        "ant and bee; if they are splits, call them train and test"
    )


def test_folders_in_classes(cfg, disk):
    sessions = [
        f"{name}/{session}" for name in ("cat", "dog") for session in ("day1", "day2")
    ]
    assert build_task(cfg, tree(disk, "pets", *sessions)).classnames == ["cat", "dog"]
    categories = ["pets/cat", "pets/dog", "farm/cow", "farm/pig"]
    disk.write("animals.yaml", "names: [farm, pets]")
    assert build_task(cfg, tree(disk, "animals", *categories)).classnames == [
        "farm",
        "pets",
    ]


@pytest.mark.parametrize("split", ["train", "Training"])
def test_a_table_in_the_place_of_class_folders_is_refused(cfg, disk, split):
    name = tree(disk, "hub", split, "test", "other")
    disk.write(f"hub/{split}/metadata.csv", "file_name,label\n0.png,cat\n1.png,dog\n")
    with pytest.raises(ValueError, match="hub/test has no sub-folders"):
        build_task(cfg, name)


SAME = [
    ("night_bird", "night bird"),
    ("Boat", "boat"),
    ("café", "cafe\u0301"),
    ("a  b", "a b"),
    ("R&amp;D", "r&d"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_classes_that_are_one_text_to_clip_are_refused(cfg, table, one, other):
    rows = [
        f"{letter}.png,{(one, other)[k % 2]},{'test' if k > 5 else 'train'}"
        for k, letter in enumerate("abcdefgh")
    ]
    with pytest.raises(
        ValueError, match="birds.csv: the classes .* and .* are the same text to CLIP"
    ):
        build_task(cfg, table(lines(rows)))
    yaml = f"names: {{wren: {one!r}, robin: {other!r}}}"
    with pytest.raises(
        ValueError, match="birds.yaml: the classes .* and .* are the same text to CLIP"
    ):
        build_task(cfg, table(lines(BIRDS), yaml))


def test_one_name_twice_and_folders_of_one_text(cfg, table, disk):
    with pytest.raises(
        ValueError, match="birds.yaml: the classes 'bird' and 'bird' are the same"
    ):
        build_task(cfg, table(lines(BIRDS), "names: {wren: bird, robin: bird}"))
    with pytest.raises(
        ValueError, match="moons: the classes 'Full_Moon' and 'full moon' are the same"
    ):
        build_task(cfg, tree(disk, "moons", "Full_Moon", "full moon"))


@pytest.mark.parametrize("shots", [-1, 1, 2, 5])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_every_class_is_trained(cfg, disk, shots, count):
    tree(disk, "few", "large", count=9)
    cfg.DATASET.NUM_SHOTS = shots
    task = build_task(cfg, tree(disk, "few", "ant", "bee", count=count))
    assert {sample.label for sample in task.train_x} == {0, 1, 2}
    assert {sample.label for sample in task.test} == {0, 1, 2}
    assert not set(keys(task.test)) & set(keys([*task.train_x, *task.val]))


def test_an_image_keeps_its_part_when_a_folder_grows(cfg, disk):
    cfg.DATASET.NUM_SHOTS = -1
    trained, tested = set(), set()
    for count in (6, 7, 12, 30, 90):
        task = build_task(
            cfg, tree(disk, "growing", "ant", "bee", "cicada", count=count)
        )
        trained |= set(keys([*task.train_x, *task.val]))
        tested = set(keys(task.test))
        assert not trained & tested
    assert 0.1 < len(tested) / 270 < 0.3


def test_links_and_hidden_folders(cfg, disk):
    name = tree(disk, "data/pets", "cat", "dog", count=4)
    tree(disk, "elsewhere", "fox", count=4)
    tree(disk, "data/pets", "cat/.thumbs", "cat/__MACOSX", ".trash")
    pets = disk.root / "data/pets"
    (pets / "fox").symlink_to(disk.root / "elsewhere/fox")
    (pets / "cat/up").symlink_to(pets)
    (pets / "dog/self").symlink_to(pets / "dog")
    (pets / "dog/loop").symlink_to("..")
    cfg.DATASET.NUM_SHOTS = -1
    task = build_task(cfg, name)
    assert task.classnames == ["cat", "dog", "fox"]
    trained = [f"{name}/{k}.png" for name in task.classnames for k in range(4)]
    everything = {*keys(task.train_x), *keys(task.val), *keys(task.test)}
    assert everything == set(trained)
    # prediction sees the same
    assert [
        path.relative_to(pets).as_posix() for path in find_images([pets])
    ] == trained


def test_links_to_files_and_folders_of_the_system(cfg, disk, caplog):
    name = tree(disk, "pets", "cat", "dog", count=4)
    tree(disk, "store", "photos", count=2)
    tree(disk, "pets", "@eaDir", "cat/@eaDir/0.png", "$RECYCLE.BIN", "#recycle/cat")
    pets = disk.root / "pets"
    (pets / "cat/again.png").symlink_to("0.png")
    (pets / "cat/other.png").symlink_to("../dog/1.png")
    (pets / "dog/new.png").symlink_to(disk.root / "store/photos/1.png")
    cfg.DATASET.NUM_SHOTS = -1
    task = build_task(cfg, name)
    assert task.classnames == ["cat", "dog"]
    everything = {*keys(task.train_x), *keys(task.val), *keys(task.test)}
    expected = {f"{name}/{k}.png" for name in ("cat", "dog") for k in range(4)}
    assert everything == expected | {"dog/new.png"}
    assert "cat: 2 of 6 files are passed over, such as " in caplog.text
    found = [path.relative_to(pets).as_posix() for path in find_images([pets])]
    assert set(found) == everything


def test_a_link_to_another_class(cfg, disk):
    name = tree(disk, "pets", "cat", "dog", count=4)
    (disk.root / "pets/cat/others").symlink_to("../dog")
    cfg.DATASET.NUM_SHOTS = -1
    task = build_task(cfg, name)
    assert {key.split("/")[1] for key in keys(task.train_x)} <= {
        "0.png",
        "1.png",
        "2.png",
        "3.png",
    }
    (disk.root / "pets/puppy").symlink_to("dog")
    with pytest.raises(ValueError, match="pets/dog and .*pets/puppy are one folder"):
        build_task(cfg, name)


@pytest.mark.skipif(os.name != "posix", reason="file names are texts")
def test_a_name_that_is_not_utf8_is_named(cfg, disk):
    name = tree(disk, "pets", "cat", "dog")
    path = os.fsencode(disk.root / "pets/cat") + b"/caf\xe9.png"
    with open(path, "wb") as file:
        file.write(disk.image())
    with pytest.raises(
        ValueError,
        match=r"pets/cat: the name b'caf\\xe9.png' is not UTF-8; rename it",
    ):
        build_task(cfg, name)


@pytest.mark.skipif(os.name != "posix", reason="file names are texts")
@pytest.mark.parametrize("folder", [b"caf\xe9", b"ab/caf\xe9"])
def test_a_folder_whose_name_is_not_utf8_is_named(cfg, disk, folder):
    tree(disk, "pets", "cat", "dog")
    path = os.fsencode(disk.root / "pets") + b"/" + folder
    os.makedirs(path)
    with open(path + b"/0.png", "wb") as file:
        file.write(disk.image())
    message = r": the name b'caf\\xe9(/0.png)?' is not UTF-8; rename it"
    with pytest.raises(ValueError, match=message):
        build_task(cfg, f"folder:{disk.root / 'pets'}")
    with pytest.raises(ValueError, match=r"--dataset folder: .*caf\\xe9' is not UTF-8"):
        task_name(f"folder:{os.fsdecode(path)}")


# -- tables ------------------------------------------------------------------------------------------------------


def test_a_table_of_labels(cfg, table, disk):
    cfg.DATASET.NUM_SHOTS = -1
    task = build_task(cfg, table(lines(BIRDS)))
    assert (task.name, task.label_kind, task.metric, task.classnames) == (
        "birds",
        "multiclass",
        "accuracy",
        ["robin", "wren"],
    )
    assert keys(task.test) == ["k.png", "l.png", "m.png", "n.png"] and [
        s.label for s in task.test
    ] == [1, 0, 1, 0]
    assert (len(task.train_x), len(task.val)) == (8, 2)
    sample = task.test[0]
    assert (sample.impath, sample.classname) == (str(disk.root / "k.png"), "wren")


def test_a_table_of_several_labels(cfg, table):
    cfg.DATASET.NUM_SHOTS = -1
    task = build_task(cfg, table(lines(SCENES, "path,labels,split")))
    assert (task.label_kind, task.metric, task.classnames) == (
        "multilabel",
        "11point_mAP",
        ["sea", "sky", "tree"],
    )
    assert [sample.labels for sample in task.train_x] == [
        (0, 1),
        (),
        (2, 1),
        (0, 2),
        (1,),
    ]
    assert [sample.labels for sample in task.test] == [(0,), ()] and [
        sample.labels for sample in task.val
    ] == [(2, 1)]
    dataset = MultitaskDataset([task], "test", 8, "bicubic", (0.5,) * 3, (0.5,) * 3)
    assert dataset.targets(0).tolist() == [[1, 0, 0], [0, 0, 0]]


def test_spaces_before_quoted_fields(cfg, table):
    rows = [
        f'"{row.split(",")[0]}", "{row.split(",")[1]}", "{row.split(",")[2]}"'
        for row in BIRDS
    ]
    plain = build_task(cfg, table(lines(BIRDS)))
    task = build_task(
        cfg, table(lines(rows, 'path, "label", "split"'), file="quoted.csv")
    )
    assert (
        task.classnames == ["robin", "wren"]
        and task.train_x == plain.train_x
        and task.test == plain.test
    )


def test_labels_that_are_numbers_stay_texts(cfg, table):
    rows = [row.replace("robin", "0.7").replace("wren", "0") for row in BIRDS]
    task = build_task(cfg, table(lines(rows)))
    assert task.classnames == ["0", "0.7"] and [
        sample.label for sample in task.test
    ] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    "label", ["ro\0bin", "\x1b[31mrobin", '"ro\nbin"', "ro\u2028bin", "ro\x85bin"]
)
def test_control_characters_in_labels_are_refused(cfg, table, label):
    rows = [row.replace("robin", label) for row in BIRDS]
    with pytest.raises(
        ValueError,
        match=r"birds.csv:\d+: (.* holds a control character|not a valid CSV line)",
    ):
        build_task(cfg, table(lines(rows)))


@pytest.mark.parametrize("text", [r"c\0at", r"\e[31mcat", r"c\Lat", r"c\nat"])
@pytest.mark.parametrize("key", ["names", "templates"])
def test_control_characters_in_settings_are_refused(cfg, photos, disk, key, text):
    value = f'["{text} {{}}"]'
    if key == "names":
        value = f'{{cat: "{text}", dog: dog}}'
    disk.write("photos.yaml", f"{key}: {value}")
    with pytest.raises(
        ValueError, match=f"photos.yaml: {key}: .* holds a control character"
    ):
        build_task(cfg, f"folder:{photos}")


@pytest.mark.parametrize("character", ["\n", "\x1b", "\x07"])
def test_control_characters_in_class_folders_are_refused(cfg, disk, character):
    name = tree(disk, "pets", "cat", f"dog{character}", count=4)
    with pytest.raises(ValueError, match="pets: 'dog.*' holds a control character"):
        build_task(cfg, name)


@pytest.mark.parametrize("mark", [";", "\t", ","])
def test_order_of_columns_spaces_bom_delimiter_and_more_columns_do_not_matter(
    cfg, table, mark
):
    rows = [
        ("Split", "who", " LABEL", "path"),
        ("Train ", "x", " wren", " a.png"),
        ("TRAIN", "y", "robin", "b.png"),
        ("test", "", "wren ", "c.png"),
        ("test", "z", "robin", "d.png"),
    ]
    text = "\ufeff" + "\r\n".join(mark.join(row) for row in rows) + "\r\n\r\n"
    task = build_task(cfg, table(text))
    assert keys(task.test) == ["c.png", "d.png"] and task.classnames == [
        "robin",
        "wren",
    ]


def test_a_table_may_be_utf_16(cfg, table):
    name = table(lines(BIRDS))
    file = Path(name.partition(":")[2])
    file.write_text(file.read_text(), encoding="utf-16")
    assert build_task(cfg, name).classnames == ["robin", "wren"]


def test_paths_may_be_absolute_lead_out_or_point_into_a_zip(cfg, table, disk):
    disk.zip(
        "more/p.zip", {"x/1.png": disk.image((1, 2, 3)), "x/a@b.png": disk.image()}
    )
    rows = [
        f"{disk.root}/a.png,u,train",
        "../b.png,v,train",
        "../more/p.zip@x/1.png,u,test",
        f"{disk.root}/more/p.zip@x/a@b.png,v,test",
    ]
    cfg.DATASET.NUM_SHOTS = 1
    task = build_task(cfg, table(lines(rows), file="lists/birds.csv"))
    assert sorted(keys(task.train_x)) == ["../a.png", "../b.png"]
    assert keys(task.test) == ["../more/p.zip@x/1.png", "../more/p.zip@x/a@b.png"]
    assert read_image(task.test[0].impath).getpixel((0, 0)) == (1, 2, 3)
    assert not any(os.path.isabs(key) for key in keys([*task.train_x, *task.test]))


def test_label_kind_of_the_yaml_wins(cfg, table):
    rows = ["a.png,wren,train", "b.png,robin,train", "c.png,wren,test"]
    task = build_task(
        cfg, table(lines(rows, "path,labels,split"), "label_kind: multiclass")
    )
    assert (task.label_kind, task.metric) == ("multiclass", "accuracy")
    task = build_task(
        cfg,
        table(lines(["d.png,a|b,train", *rows]), "label_kind: multilabel", "more.csv"),
    )
    assert (task.label_kind, task.classnames) == (
        "multilabel",
        ["a", "b", "robin", "wren"],
    )


def replaced(number, text):
    return (
        "\n".join(
            text if k == number else line
            for k, line in enumerate(lines(BIRDS).splitlines(), 1)
        )
        + "\n"
    )


@pytest.mark.parametrize(
    ("text", "yaml", "message"),
    [
        (
            lines(BIRDS, "path,label,part"),
            "",
            r"birds.csv:1: no column split: .* it has path, label, part",
        ),
        (
            lines(BIRDS, "path,name,split"),
            "",
            r"birds.csv:1: no column label \(or labels\)",
        ),
        (lines(BIRDS, "label,name,set"), "", r"birds.csv:1: no column path, split"),
        (
            lines(["a.png,b,c,train"], "path,label,labels,split"),
            "",
            "birds.csv:1: there are both columns",
        ),
        (
            lines(["a.png,b,c,train"], "path,label,path,split"),
            "",
            "birds.csv:1: there are two columns path",
        ),
        (
            "",
            "",
            r"birds.csv:1: no column path, split, label \(or labels\): .* it has nothing",
        ),
        (lines([]), "", "birds.csv has a header, but no images"),
        (
            replaced(4, "c.png,wren,dev"),
            "",
            "birds.csv:4: unknown split 'dev'; it is train, val or test",
        ),
        (replaced(4, "c.png,wren,"), "", "birds.csv:4: unknown split ''"),
        (replaced(5, "d.png,,train"), "", "birds.csv:5: the label is empty"),
        (replaced(5, ",wren,train"), "", "birds.csv:5: the path is empty"),
        (replaced(6, "e.png,wren"), "", "birds.csv:6: 2 fields, but the header has 3"),
        (replaced(6, 'e.png,"wren,train'), "", "birds.csv:.*not a valid CSV line"),
        (
            replaced(7, "nowhere.png,wren,train"),
            "",
            "birds.csv:7: no file .*/nowhere.png",
        ),
        (
            replaced(7, "no.zip@a.png,wren,train"),
            "",
            "birds.csv:7: no zip file .*/no.zip",
        ),
        (
            replaced(12, "./a.png,wren,test"),
            "",
            r"birds.csv:12: ./a.png is also in line 2 \(train\)",
        ),
        (
            lines([row.replace("robin", "wren") for row in BIRDS]),
            "",
            "birds.csv has one class, 'wren'",
        ),
        (
            lines([row for row in BIRDS if "test" not in row]),
            "",
            "birds.csv has no test images",
        ),
        (
            lines(
                [
                    row
                    for row in BIRDS
                    if "train,robin" not in row and not row.endswith("robin,train")
                ]
            ),
            "",
            r"class 0 \('robin'\) has no training image in .*birds.csv",
        ),
        (
            lines(BIRDS),
            "names: [wren, robbin]",
            "birds.csv:3: 'robin' is none of the names in .*birds.yaml; .*'robbin'",
        ),
        (lines(BIRDS), "names: {wren: w}", "birds.csv:3: 'robin' is none of the names"),
        (
            lines(BIRDS),
            "names: [wren, wren]",
            "birds.yaml: names: 'wren' occurs twice",
        ),
        (
            lines(BIRDS),
            "names: [yes, no]",
            "birds.yaml: names: True is no text; put it in quotes",
        ),
        (lines(BIRDS), "names: robin", "birds.yaml: names: expected a list"),
        (lines(BIRDS), "name: ''", "birds.yaml: name is empty"),
        (
            lines(BIRDS),
            "template: a {}",
            "birds.yaml: unknown key 'template'; the nearest is 'templates'",
        ),
        (
            lines(BIRDS),
            "templates: [a photo]",
            "birds.yaml: templates: 'a photo' has no {}",
        ),
        (
            lines(BIRDS),
            "metric: acc",
            "birds.yaml: metric is 'acc'; it is one of accuracy",
        ),
        (
            lines(BIRDS),
            "crop: none",
            "birds.yaml: crop is 'none'; it is one of squash, crop",
        ),
        (
            lines(BIRDS),
            "label_kind: multi",
            "birds.yaml: label_kind is 'multi'; it is one of multiclass, multilabel",
        ),
        (lines(BIRDS), "{", "birds.yaml is no YAML"),
        (lines(BIRDS), "- a", "birds.yaml: expected keys"),
        (
            lines(SCENES, "path,labels,split"),
            "metric: accuracy",
            "birds.yaml: metric 'accuracy' takes one label",
        ),
        (
            lines(["a.png,x,train", "b.png,y,train", "c.png,z,train", "d.png,z,test"]),
            "metric: roc_auc",
            "birds.yaml: metric 'roc_auc' takes two classes, .*birds.csv has 3",
        ),
        (
            lines(SCENES, "path,labels,split"),
            "label_kind: multiclass",
            "birds.csv:3: the label is empty",
        ),
        (
            lines(SCENES[:1], "path,labels,split"),
            "label_kind: multiclass\nnames: [sea, sky]",
            "birds.csv:2: 'sea;sky' is none of the names",
        ),
    ],
)
def test_wrong_tables(cfg, table, text, yaml, message):
    name = table(text, yaml)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        build_task(cfg, name)
    assert "\n" not in str(caught.value)


def test_wrong_files(cfg, table, disk):
    with pytest.raises(FileNotFoundError, match="no file .*nothing.csv"):
        build_task(cfg, f"csv:{disk.root}/nothing.csv")
    with pytest.raises(ValueError, match="latin.csv is not UTF-8 text"):
        disk.write(
            "latin.csv", lines(BIRDS).replace("wren", "zaunkönig").encode("latin-1")
        )
        build_task(cfg, f"csv:{disk.root}/latin.csv")
    disk.write("broken.zip", b"PK")
    disk.zip("whole.zip", {"a.png": disk.image()})
    with pytest.raises(
        ValueError, match=r"z.csv:2: .*broken.zip is not a readable zip"
    ):
        build_task(cfg, table(lines(["broken.zip@a.png,x,train"]), file="z.csv"))
    with pytest.raises(
        FileNotFoundError, match=r"z.csv:3: .*whole.zip has no member .b.png."
    ):
        build_task(
            cfg,
            table(
                lines(["whole.zip@a.png,x,train", "whole.zip@b.png,x,train"]),
                file="z.csv",
            ),
        )


# -- Dassl's registry, and replayed draws ------------------------------------------------------------------------


def test_trainers_that_ask_the_registry_find_it(cfg, photos):
    from dassl.data.datasets import build_dataset

    name = f"folder:{photos}"
    custom.register(name)
    custom.register(name)
    custom.register("pocket-digits")
    cfg.DATASET.NAME = name
    try:
        assert build_dataset(cfg).classnames == ["cat", "dog", "red_fox"]
    finally:
        del DATASET_REGISTRY._obj_map[name]


@pytest.fixture
def replayable(cfg, photos, disk):
    """Return a function that builds the task from a record, or from the changes of
    `record` in it; `cfg` has 2 shots and another seed.
    """
    cfg.DATASET.NUM_SHOTS, cfg.DATASET.RANDOM_SEED_SAMPLING = 2, 7
    first = build_task(cfg, f"folder:{photos}")
    fewshot.write_record(disk.root / "run" / "fewshot" / "photos.json", first, 2, 7)
    cfg.DATASET.RANDOM_SEED_SAMPLING, cfg.DATASET.FEWSHOT = 0, ""

    def build(where, **changes):
        file = disk.root / "run" / "fewshot" / "photos.json"
        disk.json("run/fewshot/photos.json", json.loads(file.read_text()) | changes)
        cfg.DATASET.FEWSHOT = str(disk.root / where) if where else ""
        return build_task(cfg, f"folder:{photos}")

    return first, build


@pytest.mark.parametrize("where", ["run", "run/fewshot", "run/fewshot/photos.json"])
def test_a_record_is_replayed(replayable, disk, where):
    first, build = replayable
    other, again = build(""), build(where)
    assert keys(other.train_x) != keys(first.train_x) and other.drawn_seed is None
    assert (again.train_x, again.val, again.drawn_seed) == (first.train_x, first.val, 7)
    assert fewshot.recorded_shots(disk.root / where) == 2


def test_recorded_shots_are_none_where_records_disagree(disk):
    record = {"task": "a", "train": [], "val": []}
    disk.json("run/adapt/a/fewshot/a.json", record | {"shots": 1})
    disk.json("run/results.json", [])
    assert fewshot.recorded_shots(disk.root / "run") == 1
    disk.json("run/adapt/b/fewshot/b.json", record | {"shots": 2})
    assert fewshot.recorded_shots(disk.root / "run") is None
    assert fewshot.find_record(disk.root / "run", "b")["shots"] == 2


def test_any_task_can_be_replayed(cfg, disk):
    disk.iris("classification/s", ["x", "y"], ["0", "1"] * 5, ["0", "1"])
    from datasets.elevater import ElevaterTask
    from datasets.task import register_task

    register_task(
        type(
            "own-iris",
            (ElevaterTask,),
            {"name": "own-iris", "root_folder": "classification/s"},
        )
    )
    try:
        record = {
            "task": "own-iris",
            "shots": 2,
            "seed": 3,
            "train": ["train.zip@train/3.png"],
            "val": ["train.zip@train/0.png"],
        }
        cfg.DATASET.FEWSHOT = str(disk.json("r.json", record))
        cfg.DATASET.NUM_SHOTS = 2
        task = build_task(cfg, "own-iris")
        assert (keys(task.train_x), keys(task.val)) == (
            record["train"],
            record["val"],
        ) and len(task.test) == 2
        disk.json("r.json", record | {"task": "another"})
        assert len(build_task(cfg, "own-iris").train_x) == 2
        cfg.DATASET.NUM_SHOTS = 0
        assert build_task(cfg, "own-iris").train_x == []
    finally:
        del DATASET_REGISTRY._obj_map["own-iris"]


@pytest.mark.parametrize(
    ("where", "changes", "message"),
    [
        (
            "run/fewshot",
            {"shots": 5},
            "photos.json was drawn with 5 shots, but DATASET.NUM_SHOTS is 2; use --shots 5",
        ),
        (
            "run/fewshot",
            {"train": ["cat/99.png"]},
            "photos.json: the few-shot record .* names cat/99.png",
        ),
        (
            "run/fewshot",
            {"train": "cat"},
            "photos.json is no few-shot record: it needs",
        ),
        ("run/fewshot", {"task": None}, "photos.json is no few-shot record: it needs"),
        ("nowhere", {}, "DATASET.FEWSHOT: no file .*nowhere"),
        ("photos", {}, r"DATASET.FEWSHOT: .*photos has no few-shot record photos.json"),
    ],
)
def test_wrong_records(replayable, where, changes, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        replayable[1](where, **changes)
