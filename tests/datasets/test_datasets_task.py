import sys
from collections import Counter

import pytest
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum

import datasets
from datasets import few_shot as fewshot
from datasets.coop import CoopTask
from datasets.elevater import ElevaterTask
from datasets.io.index_files import read_iris
from datasets.multitask import MultitaskDataset
from datasets.task import Sample, Task, as_task, register_task


class Shapes(ElevaterTask):
    name = "shapes"
    root_folder = "classification/shapes_1"
    templates = ("a drawing of a {}.",)


@pytest.fixture
def shapes(disk):
    disk.iris(
        "classification/shapes_1", ["disc", "ring"], ["0", "1"] * 10, ["1", "0", "1"]
    )
    return f"{disk.root}/classification/shapes_1"


def test_elevater_task(cfg, shapes):
    cfg.DATASET.NUM_SHOTS = 5
    task = Shapes(cfg)
    assert (task.name, task.label_kind, task.metric, task.crop) == (
        "shapes",
        "multiclass",
        "accuracy",
        "crop",
    )
    assert (
        task.classnames == ["disc", "ring"]
        and task.num_classes == 2
        and task.lab2cname == {0: "disc", 1: "ring"}
    )
    assert task.templates == ["a drawing of a {}."] and task.train_u is None
    pool, _ = read_iris(shapes, "train.txt", "labels.txt")
    assert (task.train_x, task.val) == fewshot.sample_elevater(
        pool, 2, "multiclass", 5, 1
    )
    assert (len(task.train_x), len(task.val)) == (8, 2)
    assert [s.label for s in task.test] == [1, 0, 1]
    assert isinstance(task, DatasetBase) and isinstance(task.train_x[0], Sample)


def test_elevater_shots_and_seeds(cfg, shapes, disk):
    def drawn(shots, seed):
        cfg.DATASET.NUM_SHOTS, cfg.DATASET.RANDOM_SEED_SAMPLING = shots, seed
        return [s.key for s in Shapes(cfg).train_x]

    assert drawn(5, 1) != drawn(5, 2) and drawn(5, 1) == drawn(5, 1)
    assert len(drawn(-1, 1)) == 16
    (disk.root / "classification/shapes_1/train.txt").unlink()
    (disk.root / "classification/shapes_1/train.zip").unlink()
    assert drawn(0, 1) == []  # zero-shot needs the test files alone


def test_images_are_read_from_the_tasks_zips(cfg, shapes):
    cfg.DATASET.NUM_SHOTS = 2
    data = MultitaskDataset([Shapes(cfg)], "test", 4, "bicubic", (0, 0, 0), (1, 1, 1))
    assert (data[2]["img"][:, 0, 0] * 255).round().tolist() == [80, 14, 4]


def test_multilabel_elevater_task(cfg, disk):
    class Scenes(ElevaterTask):
        name, root_folder, label_kind, metric = (
            "scenes",
            "s",
            "multilabel",
            "11point_mAP",
        )
        prompt_names = ("a big cat", "the sea")

    disk.iris("s", ["cat", "sea"], ["0,1", "0", "", "1", "0", "1"], ["0,1", ""])
    cfg.DATASET.NUM_SHOTS = 2
    task = Scenes(cfg)
    assert task.classnames == ["a big cat", "the sea"]
    assert task.test[0].labels == (0, 1) and task.test[1].label == -1
    Scenes.prompt_names = ("one",)
    with pytest.raises(
        ValueError, match=r"s/labels\.txt has 2 classes, but scenes has 1 prompt names"
    ):
        Scenes(cfg)


def test_coco_task(cfg, disk):
    class Distance(ElevaterTask):
        name, root_folder, format, crop = "distance", "k", "coco", "squash"
        train_index, test_index = "train.json", "test.json"

    def index(name, annotations, categories=("near", "far")):
        disk.json(
            f"k/{name}.json",
            {
                "images": [
                    {"id": 9 - i, "file_name": f"{i}.png", "zip_file": "img.zip"}
                    for i in range(len(annotations))
                ],
                "annotations": [
                    {"image_id": 9 - i, "category_id": c}
                    for i, categories_of_image in enumerate(annotations)
                    for c in categories_of_image
                ],
                "categories": [
                    {"id": i + 1, "name": name} for i, name in enumerate(categories)
                ],
            },
        )

    disk.zip("k/img.zip", {f"{i}.png": disk.image() for i in range(4)})
    index("train", [[1], [2], [1], [2]])
    index("test", [[2], [1]])
    task = Distance(cfg)
    assert task.classnames == ["near", "far"] and [s.key for s in task.test] == [
        "img.zip@1.png",
        "img.zip@0.png",
    ]
    assert [s.label for s in task.test] == [0, 1]
    index("test", [[2, 1], [1]])
    with pytest.raises(
        ValueError,
        match=r"test\.json: img\.zip@0\.png has 2 labels, but distance is multiclass",
    ):
        Distance(cfg)
    index("test", [[2], [1]], ("near", "remote"))
    with pytest.raises(
        ValueError, match=r"train\.json and .*test\.json do not have the same classes"
    ):
        Distance(cfg)


def test_missing_data_are_named(cfg, shapes, disk):
    (disk.root / "classification/shapes_1/train.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"no zip file .*shapes_1/train\.zip"):
        Shapes(cfg)
    (disk.root / "classification/shapes_1/test.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"shapes_1/test\.txt"):
        Shapes(cfg)
    cfg.DATASET.ROOT = str(disk.root / "classification")
    with pytest.raises(
        FileNotFoundError,
        match=r"shapes: no folder .*classification/classification/shapes_1",
    ):
        Shapes(cfg)
    cfg.DATASET.ROOT = "/nowhere"
    with pytest.raises(FileNotFoundError, match=r"no data root /nowhere; pass --root"):
        Shapes(cfg)


def test_a_class_without_training_images_is_named(cfg, disk):
    disk.iris("classification/shapes_1", ["disc", "ring", "star"], ["0", "1"], ["2"])
    with pytest.raises(
        ValueError,
        match=r"class 2 \('star'\) has no training image in .*shapes_1/train\.txt",
    ):
        Shapes(cfg)
    cfg.DATASET.NUM_SHOTS = 0
    assert Shapes(cfg).num_classes == 3


class Pets(CoopTask):
    name, folder, image_dir, split_json = (
        "Pets",
        "pets",
        "images",
        "split_zhou_Pets.json",
    )


@pytest.fixture
def pets(disk):
    def rows(split, count):
        return [
            [f"{split}{i}.png", i % 2, ("tabby_cat", "dog")[i % 2]]
            for i in range(count)
        ]

    disk.json(
        "pets/split_zhou_Pets.json",
        {"train": rows("a", 20), "val": rows("b", 12), "test": rows("c", 2)},
    )
    for i in range(2):
        disk.write(f"pets/images/c{i}.png", disk.image((i, i, i)))


def test_coop_task(cfg, pets, disk):
    cfg.DATASET.NUM_SHOTS = 5
    task = Pets(cfg)
    assert task.classnames == ["tabby_cat", "dog"] and task.crop == "crop"
    assert Counter(s.label for s in task.train_x) == {0: 5, 1: 5} and Counter(
        s.label for s in task.val
    ) == {0: 4, 1: 4}
    assert [s.key for s in task.train_x] == [s.key for s in Pets(cfg).train_x]
    assert (
        task.test[0].impath == f"{disk.root}/pets/images/c0.png"
        and task.test[0].key == "c0.png"
    )
    cfg.DATASET.NUM_SHOTS = -1
    assert (len(Pets(cfg).train_x), len(Pets(cfg).val)) == (20, 12)
    cfg.DATASET.NUM_SHOTS = 0
    assert (Pets(cfg).train_x, Pets(cfg).val, len(Pets(cfg).test)) == ([], [], 2)


def test_coop_base_and_new_classes(cfg, pets):
    cfg.DATASET.NUM_SHOTS = 5
    whole = Pets(cfg)
    cfg.DATASET.SUBSAMPLE_CLASSES = "new"
    new = Pets(cfg)
    assert (
        new.classnames == ["dog"]
        and new.num_classes == 1
        and {s.label for s in new.train_x} == {0}
    )
    assert [s.key for s in new.train_x] == [
        s.key for s in whole.train_x if s.label == 1
    ]


def test_elevater_base_and_new_classes(cfg, shapes):
    cfg.DATASET.NUM_SHOTS = 5
    whole = Shapes(cfg)
    cfg.DATASET.SUBSAMPLE_CLASSES = "base"
    base = Shapes(cfg)
    assert base.classnames == ["disc"] and len(base.test) == 1
    assert [s.key for s in base.train_x] == [
        s.key for s in whole.train_x if s.label == 0
    ]


def test_one_class_has_no_roc_auc(cfg, shapes, monkeypatch):
    monkeypatch.setattr(Shapes, "metric", "roc_auc")
    assert Shapes(cfg).num_classes == 2
    cfg.DATASET.SUBSAMPLE_CLASSES = "base"
    with pytest.raises(ValueError, match="leaves one class of .* roc_auc, needs two"):
        Shapes(cfg)


def test_coop_errors(cfg, pets, disk):
    disk.json(
        "pets/split_zhou_Pets.json",
        {"train": [["a", 0, "cat"]], "val": [], "test": [["b", 1, "dog"]]},
    )
    with pytest.raises(
        ValueError,
        match=r"class 1 \('dog'\) has no training image in .*split_zhou_Pets\.json",
    ):
        Pets(cfg)
    (disk.root / "pets/split_zhou_Pets.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"split_zhou_Pets\.json"):
        Pets(cfg)
    Pets.image_dir = "jpg"
    try:
        with pytest.raises(FileNotFoundError, match="Pets: no image folder .*pets/jpg"):
            Pets(cfg)
    finally:
        Pets.image_dir = "images"


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("label_kind", "multi", "label_kind 'multi' is none of multiclass, multilabel"),
        ("metric", "mAP", "metric 'mAP' is none of accuracy"),
        ("templates", ["a photo."], "template 'a photo.' has no {}"),
    ],
)
def test_a_task_that_is_stated_wrongly(attribute, value, message):
    with pytest.raises(ValueError, match=message):
        type("Wrong", (Task,), {attribute: value})([], [], [], [])


@pytest.fixture
def registry(monkeypatch):
    monkeypatch.setattr(DATASET_REGISTRY, "_obj_map", dict(DATASET_REGISTRY._obj_map))
    return DATASET_REGISTRY


def test_register_and_build(cfg, shapes, registry):
    register_task(type("Shapes", (Shapes,), {"name": "my-shapes"}))
    cfg.DATASET.NAME = "other"
    cfg.freeze()
    task = datasets.build_task(cfg, "my-shapes")
    assert isinstance(task, Shapes) and task.name == "my-shapes"
    assert cfg.DATASET.NAME == "other" and cfg.is_frozen()


def test_unknown_names_get_the_nearest(cfg, registry):
    register_task(type("Shapes", (Shapes,), {"name": "my-shapes"}))
    with pytest.raises(
        ValueError, match="unknown dataset 'My-Shape'; the nearest names are my-shapes"
    ):
        datasets.build_task(cfg, "My-Shape")
    with pytest.raises(ValueError, match="has no name"):
        register_task(type("Nameless", (Task,), {}))


def test_an_upstream_style_dataset_is_wrapped(cfg, registry, disk):
    class Plugin(DatasetBase):
        def __init__(self, cfg):
            self.dataset_dir = str(disk.root / "plugin")
            items = [
                Datum(
                    str(disk.write(f"plugin/x/{i}.png", disk.image())),
                    i % 2,
                    3,
                    "ab"[i % 2],
                )
                for i in range(4)
            ]
            super().__init__(train_x=items[:2], val=items[2:3], test=items[3:])

    registry.register(Plugin)
    task = datasets.build_task(cfg, "Plugin")
    assert (
        isinstance(task, Task)
        and task.name == "Plugin"
        and task.classnames == ["a", "b"]
    )
    assert task.test == [Sample(f"{disk.root}/plugin/x/3.png", (1,), "x/3.png", "b", 3)]
    assert (len(task.train_x), len(task.val), task.metric) == (2, 1, "accuracy")
    assert as_task(task, "again") is task


def test_keys_of_a_dataset_without_a_folder_are_relative_to_what_is_common(disk):
    paths = [str(disk.write(f"{name}/1.png", disk.image())) for name in ("p/a", "p/b")]
    dataset = DatasetBase(
        train_x=[Datum(paths[0], 0, 0, "a")], test=[Datum(paths[1], 0, 0, "a")]
    )
    task = as_task(dataset, "plain")
    assert [task.train_x[0].key, task.test[0].key, task.val] == [
        "a/1.png",
        "b/1.png",
        [],
    ]


def test_register_all_imports_whatever_is_dropped_in(tmp_path, monkeypatch):
    (tmp_path / "dropped_in.py").write_text("seen = 1\n")
    monkeypatch.setattr(datasets, "__path__", [*datasets.__path__, str(tmp_path)])
    datasets.register_all()
    assert sys.modules.pop("datasets.dropped_in").seen == 1
    assert "datasets.elevater" in sys.modules
