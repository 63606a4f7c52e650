import pytest

from datasets.coop import CoopTask
from datasets.elevater import ElevaterTask
from datasets.io.index_files import read_coco, read_iris
from datasets.io.split_files import class_names, read_split
from datasets.task import Task
from toolkit.common.archives import read_bytes, split_archive


def test_iris_lines(disk):
    disk.write("labels.txt", "cat\r\n\r\nstop sign\nbird\n")
    lines = "train.zip@a/1.png 2\r\n\n  with some spaces.jpg 0,1 \nb/negative.png\nnegative with space.JPG\n"
    disk.write("train.txt", lines)
    samples, names = read_iris(str(disk.root), "train.txt", "labels.txt")
    assert names == ["cat", "stop sign", "bird"]
    assert [s.key for s in samples] == [
        "train.zip@a/1.png",
        "with some spaces.jpg",
        "b/negative.png",
        "negative with space.JPG",
    ]
    assert [s.labels for s in samples] == [(2,), (0, 1), (), ()]
    assert [s.label for s in samples] == [2, 0, -1, -1]
    assert [s.classname for s in samples] == ["bird", "cat", "", ""]
    assert samples[0].impath == f"{disk.root}/train.zip@a/1.png"


def test_iris_without_a_labelmap_numbers_the_classes(disk):
    disk.write("train.txt", "a.png 2\nb.png 0\n")
    assert read_iris(str(disk.root), "train.txt")[1] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "a.png 3",
            r"train\.txt:2: label 3 is out of range: labels\.txt has 2 classes",
        ),
        ("a.png -1", r"train\.txt:2: '-1' is not a list of labels"),
        ("a.png cat", r"train\.txt:2: 'cat' is not a list of labels"),
        ("a.png 0,", r"train\.txt:2: '0,' is not a list of labels"),
    ],
)
def test_iris_errors_name_file_and_line(disk, line, message):
    disk.write("labels.txt", "cat\ndog\n")
    disk.write("train.txt", f"b.png 0\n{line}\n")
    with pytest.raises(ValueError, match=message):
        read_iris(str(disk.root), "train.txt", "labels.txt")


def test_missing_files_are_named(disk):
    disk.write("train.txt", "a.png 0")
    with pytest.raises(FileNotFoundError, match=r"labels\.txt"):
        read_iris(str(disk.root), "train.txt", "labels.txt")
    with pytest.raises(FileNotFoundError, match=r"val\.txt"):
        read_iris(str(disk.root), "val.txt")
    with pytest.raises(FileNotFoundError, match=r"val\.json"):
        read_coco(str(disk.root), "val.json")


def coco(**changes):
    return {
        "images": [
            {"id": 30, "file_name": "c.png"},
            {"id": 4, "file_name": "a.png", "zip_file": "img.zip"},
            {"id": 200, "file_name": "img.zip@d/d.png", "width": 3},
            {"id": 5, "file_name": "b.png", "zip_file": "img.zip"},
        ],
        "categories": [
            {"id": 7, "name": "far"},
            {"id": 2, "name": "near"},
            {"id": 11, "name": "none"},
        ],
        "annotations": [
            {"image_id": 5, "category_id": 11},
            {"image_id": 4, "category_id": 2},
            {"image_id": 30, "category_id": 7},
        ],
        **changes,
    }


def test_coco_is_ordered_by_image_id_and_reindexed_by_category_id(disk):
    disk.json("train.json", coco())
    samples, names = read_coco(str(disk.root), "train.json")
    assert names == ["near", "far", "none"]
    assert [s.key for s in samples] == [
        "img.zip@a.png",
        "img.zip@b.png",
        "c.png",
        "img.zip@d/d.png",
    ]
    assert [s.labels for s in samples] == [(0,), (2,), (1,), ()]
    assert samples[3].impath == f"{disk.root}/img.zip@d/d.png"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"annotations": [{"image_id": 6, "category_id": 2}]},
            r"train\.json: annotations\[0\]: no image has the id 6",
        ),
        (
            {"annotations": [{"image_id": 5, "category_id": 3}]},
            r"annotations\[0\]: no category .* id 3.*\[2, 7, 11\]",
        ),
        (
            {"annotations": [{"image_id": 5}]},
            r"annotations\[0\]: it has no 'category_id'",
        ),
        ({"categories": None}, r"train\.json: no list 'categories'"),
        (
            {"images": [{"id": 1, "file_name": "a"}] * 2},
            "the image id 1 occurs more than once",
        ),
    ],
)
def test_coco_errors_name_the_entry(disk, changes, message):
    disk.json("train.json", coco(**changes))
    with pytest.raises(ValueError, match=message):
        read_coco(str(disk.root), "train.json")


def test_broken_json_is_named_with_its_line(disk):
    disk.write("train.json", '{"images": [],\n "annotations" []}')
    with pytest.raises(ValueError, match=r"train\.json:2: not valid json"):
        read_coco(str(disk.root), "train.json")


def test_only_zip_at_separates_an_archive():
    assert split_archive("/home/me@host/data/a b.zip@x@y/1.png") == (
        "/home/me@host/data/a b.zip",
        "x@y/1.png",
    )
    assert split_archive("/home/me@host/1.png") == ("/home/me@host/1.png", None)
    assert split_archive("/d/a.zip@b.zip@c.png") == ("/d/a.zip", "b.zip@c.png")


def test_an_index_may_lie_in_a_zip(disk):
    disk.zip("ann.zip", {"deep/train.txt": "a.png 0"})
    assert [s.key for s in read_iris(str(disk.root), "ann.zip@deep/train.txt")[0]] == [
        "a.png"
    ]


def test_missing_and_damaged_archives_are_named(disk):
    with pytest.raises(FileNotFoundError, match=r"no zip file .*none\.zip"):
        read_bytes(f"{disk.root}/none.zip@a.png")
    disk.zip("some.zip", {"a.png": b"x"})
    with pytest.raises(FileNotFoundError, match=r"some\.zip has no member 'b\.png'"):
        read_bytes(f"{disk.root}/some.zip@b.png")
    disk.write("bad.zip", b"no zip")
    with pytest.raises(ValueError, match=r"bad\.zip is not a readable zip"):
        read_bytes(f"{disk.root}/bad.zip@a.png")


def split_json(disk, **changes):
    content = {
        "train": [["b/1.jpg", 1, "dog"], ["a/2.jpg", "0", "big cat"]],
        "val": [["b/3.jpg", 1, "dog"]],
        "test": [["c/4.jpg", 2, "emu"]],
        **changes,
    }
    disk.json("split.json", content)
    return read_split(f"{disk.root}/split.json", f"{disk.root}/images")


def test_coop_split(disk):
    train, val, test = split_json(disk)
    assert [s.impath for s in train] == [
        f"{disk.root}/images/b/1.jpg",
        f"{disk.root}/images/a/2.jpg",
    ]
    assert [(s.key, s.labels, s.classname) for s in train] == [
        ("b/1.jpg", (1,), "dog"),
        ("a/2.jpg", (0,), "big cat"),
    ]
    assert (len(val), len(test)) == (1, 1)
    assert class_names([train, val, test], "split.json") == ["big cat", "dog", "emu"]


def test_coop_split_errors(disk):
    with pytest.raises(
        ValueError, match=r"split\.json: expected the lists train, val, test"
    ):
        split_json(disk, val=None)
    with pytest.raises(
        ValueError,
        match=r"split\.json: test\[0\]: expected \[path, label, class name\]",
    ):
        split_json(disk, test=[["a.jpg", 1]])
    with pytest.raises(ValueError, match=r"val\[0\]: label -1 is negative"):
        split_json(disk, val=[["a.jpg", -1, "x"]])
    splits = split_json(disk, val=[["a.jpg", 1, "wolf"]])
    with pytest.raises(
        ValueError, match="split.json: label 1 is called both 'dog' and 'wolf'"
    ):
        class_names(splits, "split.json")
    with pytest.raises(ValueError, match="no image has the label 2"):
        class_names(split_json(disk, test=[["a.jpg", 3, "x"]]), "split.json")


def test_subsample_classes(disk, cfg):
    def task(which):
        cfg.DATASET.SUBSAMPLE_CLASSES = which
        task = Task(["big cat", "dog", "emu"], *split_json(disk))
        task.subsample(cfg)
        task.subsample(cfg)
        return task

    whole, base, new = task("all"), task("base"), task("new")
    assert base.classnames == ["big cat", "dog"]
    assert [len(split) for split in (base.train_x, base.val, base.test)] == [2, 1, 0]
    assert (new.classnames, new.num_classes, new.lab2cname) == (["emu"], 1, {0: "emu"})
    assert [s.labels for s in new.test] == [(0,)]
    assert [whole.train_x, whole.val, whole.test] == [
        list(split) for split in split_json(disk)
    ]
    with pytest.raises(ValueError, match="all, base or new"):
        task("half")


def outside(disk):
    """Write an image and a zip beside the set's folder, and the set itself in
    ELEVATER's and in CoOp's layout.
    """
    disk.iris("set", ["cat", "dog"], ["0", "1", "0"], ["0", "1"])
    disk.write("secret.png", disk.image())
    disk.zip("other.zip", {"m.png": disk.image()})
    disk.write("set/images/a.png", disk.image())
    disk.write("set/images/images/b.png", disk.image())


OUTSIDE = [
    "../secret.png",
    "{root}/secret.png",
    "../other.zip@m.png",
    "images/../../secret.png",
    "link.zip@m.png",
]


@pytest.mark.parametrize("key", OUTSIDE)
@pytest.mark.parametrize("layout", ["iris", "coco", "coop"])
def test_what_leads_out_of_the_folder_is_refused(cfg, disk, layout, key):
    outside(disk)
    key = key.replace("{root}", str(disk.root))
    (disk.root / "set/link.zip").symlink_to(disk.root / "other.zip")
    (disk.root / "set/images/link.zip").symlink_to(disk.root / "other.zip")
    if layout == "iris":
        index, cls = (
            "test.txt",
            type("Set", (ElevaterTask,), {"name": "set", "root_folder": "set"}),
        )
        disk.write("set/test.txt", f"test.zip@test/0.png 0\n{key} 1\n")
    elif layout == "coco":
        index, options = (
            "test.json",
            {
                "name": "set",
                "root_folder": "set",
                "format": "coco",
                "test_index": "test.json",
            },
        )
        cls = type("Set", (ElevaterTask,), options)
        images = [{"id": 1, "file_name": "images/a.png"}, {"id": 2, "file_name": key}]
        categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
        annotations = [{"image_id": k, "category_id": k} for k in (1, 2)]
        disk.json(
            "set/test.json",
            {"images": images, "categories": categories, "annotations": annotations},
        )
    else:
        index, options = (
            "split.json",
            {
                "name": "set",
                "folder": "set",
                "image_dir": "images",
                "split_json": "split.json",
            },
        )
        cls = type("Set", (CoopTask,), options)
        key = key.replace("../secret", "../../secret").replace(
            "../other", "../../other"
        )
        rows = [["a.png", 0, "cat"], [key, 1, "dog"]]
        disk.json("set/split.json", {"train": [], "val": [], "test": rows})
    cfg.DATASET.NUM_SHOTS = 0
    with pytest.raises(
        ValueError,
        match=rf"{index}: '.*' leads out of the folder of the data set; --allow-outside",
    ):
        cls(cfg)
    cfg.DATASET.ALLOW_OUTSIDE = True
    assert [sample.key for sample in cls(cfg).test][-1] == key


def test_what_stays_inside_is_read(cfg, disk):
    outside(disk)
    disk.write("set/test.txt", "test.zip@test/0.png 0\nimages/../images/a.png 1\n")
    linked = disk.root / "linked"
    # a link in the place of the whole folder is the user's own
    linked.symlink_to(disk.root / "set")
    cfg.DATASET.NUM_SHOTS = 0
    for folder in ("set", "linked"):
        cls = type("Set", (ElevaterTask,), {"name": "set", "root_folder": folder})
        assert [sample.label for sample in cls(cfg).test] == [0, 1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"images": [{"id": 1, "file_name": 5}]},
            r"images\[0\]: its file_name 5 is no text",
        ),
        (
            {"images": [{"id": [1], "file_name": "a"}]},
            r"images\[0\]: its id is neither a number nor a text",
        ),
        (
            {"annotations": [{"image_id": 5, "category_id": {}}]},
            r"annotations\[0\]: its category_id is neither",
        ),
        (
            {"annotations": [{"image_id": [], "category_id": 2}]},
            r"annotations\[0\]: its image_id is neither",
        ),
        (
            {"images": [{"id": 1, "file_name": "a", "zip_file": 3}]},
            r"images\[0\]: its zip_file 3 is no text",
        ),
    ],
)
def test_coco_values_of_another_kind_are_named(disk, changes, message):
    disk.json("train.json", coco(**changes))
    with pytest.raises(ValueError, match=message):
        read_coco(str(disk.root), "train.json")


@pytest.mark.parametrize("label", ["0.7", "-1", "1e0", "0,0.7", "NaN"])
def test_labels_that_are_no_whole_numbers_are_named(disk, label):
    disk.write("test.txt", f"a.png 0\nb.png {label}\n")
    with pytest.raises(
        ValueError,
        match=rf"test.txt:2: '{label}' is not a list of labels such as 3 or 0,4,17",
    ):
        read_iris(str(disk.root), "test.txt")


def test_coco_ids_of_mixed_kinds_are_numbers_before_texts(disk):
    images = [
        {"id": "b", "file_name": "b.png"},
        {"id": 3, "file_name": "3.png"},
        {"id": 1.5, "file_name": "1.png"},
    ]
    categories = [{"id": "cat", "name": "cat"}, {"id": 7, "name": "dog"}]
    annotations = [
        {"image_id": "b", "category_id": 7},
        {"image_id": 3, "category_id": "cat"},
        {"image_id": 1.5, "category_id": 7},
    ]
    disk.json(
        "train.json",
        {"images": images, "categories": categories, "annotations": annotations},
    )
    samples, names = read_coco(str(disk.root), "train.json")
    assert names == ["dog", "cat"]
    assert [(sample.key, sample.label) for sample in samples] == [
        ("1.png", 0),
        ("3.png", 1),
        ("b.png", 0),
    ]


@pytest.mark.parametrize(
    "row",
    [
        [None, 1, "x"],
        [5, 1, "x"],
        ["a.jpg", 0.7, "x"],
        ["a.jpg", True, "x"],
        ["a.jpg", 1, 2],
    ],
)
def test_split_values_of_another_kind_are_named(disk, row):
    with pytest.raises(
        ValueError, match=r"split\.json: val\[0\]: expected \[path, label, class name\]"
    ):
        split_json(disk, val=[row])
