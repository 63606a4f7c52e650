import pickle

import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from datasets.mixing import MixingSampler
from datasets.multitask import MultitaskDataset, label_distribution
from datasets.task import Sample, Task
from toolkit.common.images import read_image, resize

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


class Animals(Task):
    name = "animals"


class Scenes(Task):
    name, label_kind, metric, crop = "scenes", "multilabel", "11point_mAP", "squash"


@pytest.fixture
def tasks(disk):
    def samples(split, labels):
        path = disk.zip(
            f"{split}.zip",
            {
                f"{i}.png": disk.image((20 * i, 255 - 9 * i, len(split)), (20, 10))
                for i in range(len(labels))
            },
        )
        return [
            Sample(f"{path}@{i}.png", label, f"{split}.zip@{i}.png")
            for i, label in enumerate(labels)
        ]

    animals = Animals(
        ["cat", "dog"],
        samples("a", [(0,), (1,), (1,), (0,)]),
        [],
        samples("at", [(1,)]),
    )
    shown = [(0, 2), (), (1,), (2, 0, 1), (2,), (0,)]
    scenes = Scenes(
        ["cat", "sea", "tree"], samples("s", shown), [], samples("st", [(2,)])
    )
    return [animals, scenes]


def dataset(tasks, split="train", **options):
    return MultitaskDataset(tasks, split, 8, "bicubic", MEAN, STD, **options)


def test_items(tasks):
    both = dataset(tasks)
    assert len(both) == 10 and both.sizes == [4, 6] and both.rows(1) == range(4, 10)
    item = both[4]
    assert set(item) == {"img", "label", "labels", "task", "index", "impath"}
    assert item["img"].shape == (3, 8, 8) and item["img"].dtype == torch.float32
    assert (item["label"], item["task"], item["index"], item["impath"]) == (
        0,
        1,
        4,
        "s.zip@0.png",
    )
    assert item["labels"].tolist() == [0, 2, -1] and item["labels"].dtype == torch.int64
    assert both[5]["label"] == -1 and both[5]["labels"].tolist() == [-1, -1, -1]
    pixel = (torch.tensor([0, 255, 1]) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)
    assert torch.allclose(item["img"], pixel.view(3, 1, 1).expand(3, 8, 8), atol=1e-6)
    with pytest.raises(IndexError, match="10 items"):
        both[10]


def test_a_class_name_in_two_tasks_is_two_classes(tasks):
    both = dataset(tasks)
    assert both.offsets == [0, 2] and both.num_classes == 5
    assert both.classnames == ["cat", "dog", "cat", "sea", "tree"]
    assert both.lab2cname == dict(enumerate(both.classnames))


def test_tasks_are_left_as_they_were(tasks):
    before = [list(task.train_x) for task in tasks]
    list(DataLoader(dataset(tasks), batch_size=3))
    assert [task.train_x for task in tasks] == before
    assert [s.labels for s in tasks[1].train_x][:2] == [(0, 2), ()]


def test_batches_of_multiclass_and_multilabel_tasks(tasks):
    both = dataset(tasks)
    sampler = MixingSampler(both.sizes, 5, seed=2)
    batch = next(iter(DataLoader(both, batch_sampler=sampler, num_workers=2)))
    assert batch["img"].shape == (5, 3, 8, 8) and batch["labels"].shape == (5, 3)
    assert batch["index"].tolist() == next(iter(sampler)) and len(batch["impath"]) == 5
    assert set(batch["task"].tolist()) == {0, 1}
    for label, labels, index in zip(
        batch["label"], batch["labels"], batch["index"], strict=True
    ):
        assert (
            tuple(column for column in labels.tolist() if column >= 0)
            == both.samples[index].labels
        )
        assert label == both.samples[index].label


def test_targets(tasks):
    both = dataset(tasks)
    assert (
        both.targets(0).tolist() == [0, 1, 1, 0]
        and both.targets(0).dtype == torch.int64
    )
    assert both.targets(1).tolist() == [
        [1, 0, 1],
        [0, 0, 0],
        [0, 1, 0],
        [1, 1, 1],
        [0, 0, 1],
        [1, 0, 0],
    ]


def test_cached_images_equal_uncached_ones(tasks, monkeypatch):
    cached, uncached, too_large = (
        dataset(tasks),
        dataset(tasks, cache_budget=0),
        dataset(tasks, cache_budget=1919),
    )
    first = [cached[i]["img"] for i in range(10)]
    reads = []
    monkeypatch.setattr(
        "datasets.multitask.read_image",
        lambda path, background: reads.append(path) or read_image(path),
    )
    for index in range(10):
        assert torch.equal(cached[index]["img"], first[index])
    assert reads == []
    for index in range(10):
        assert torch.equal(uncached[index]["img"], first[index]) and torch.equal(
            too_large[index]["img"], first[index]
        )
    assert len(reads) == 20


def test_an_item_does_not_alias_the_cache(tasks):
    both = dataset(tasks)
    expected = both[0]["img"].clone()
    both[0]["img"].zero_()
    assert torch.equal(both[0]["img"], expected)


def test_what_workers_decode_the_parent_has(tasks, monkeypatch):
    both = dataset(tasks)
    read = torch.cat(
        [batch["img"] for batch in DataLoader(both, batch_size=3, num_workers=2)]
    )
    monkeypatch.setattr(
        "datasets.multitask.read_image",
        lambda path, background: pytest.fail("was decoded before"),
    )
    assert torch.equal(torch.stack([both[i]["img"] for i in range(10)]), read)


def test_a_pickled_copy_starts_with_an_empty_cache(tasks):
    both = dataset(tasks)
    expected = both[3]["img"]
    copy = pickle.loads(pickle.dumps(both))
    assert torch.equal(copy[3]["img"], expected)


def test_each_task_has_its_own_crop_unless_told(tasks, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "datasets.multitask.resize",
        lambda image, *args: seen.append(args) or resize(image, *args),
    )
    dataset(tasks)[0], dataset(tasks)[4], dataset(tasks, crop="squash")[0]
    assert seen == [
        (8, "crop", "bicubic"),
        (8, "squash", "bicubic"),
        (8, "squash", "bicubic"),
    ]


def test_a_transform_runs_every_time(tasks):
    calls = []

    def transform(image):
        calls.append(image.size)
        return torch.full((3, 8, 8), float(len(calls)))

    both = dataset(tasks, transform=transform)
    assert [both[0]["img"].mean().item(), both[0]["img"].mean().item()] == [
        1.0,
        2.0,
    ] and calls == [(20, 10)] * 2


def test_splits(tasks):
    assert len(dataset(tasks, "val")) == 0 and dataset(tasks, "val").targets(
        1
    ).shape == (0, 3)
    test = dataset(tasks, "test")
    assert [test[i]["label"] for i in range(2)] == [1, 2] and test[0][
        "labels"
    ].tolist() == [1]
    with pytest.raises(ValueError, match="train, val or test"):
        dataset(tasks, "dev")


def test_bad_lists_of_tasks(tasks):
    with pytest.raises(ValueError, match="animals is given twice"):
        dataset([tasks[0], tasks[1], tasks[0]])
    with pytest.raises(ValueError, match="no task"):
        dataset([])


def test_label_distribution():
    labels = torch.tensor([[0, 2, -1], [-1, -1, -1], [1, -1, -1], [2, 2, 0]])
    rows = label_distribution(labels, 4)
    assert rows.tolist() == [
        [0.5, 0, 0.5, 0],
        [0, 0, 0, 0],
        [0, 1, 0, 0],
        [0.5, 0, 0.5, 0],
    ]
    logits = torch.randn(4, 4, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(logits, rows, reduction="none")
    assert loss[1] == 0 and torch.isfinite(loss).all()
    assert labels[0].tolist() == [0, 2, -1]


@pytest.mark.parametrize("times", [1, 2])
def test_a_batch_is_the_stacked_items_to_the_bit(tasks, times):
    data = dataset(tasks)
    rows = [len(data) - 1, 0, 2]
    wanted = default_collate([dataset(tasks, cache_budget=0)[row] for row in rows])
    for _ in range(times):  # decoded, then from the cache
        batch = data.batch(rows)
    assert batch.keys() == wanted.keys()
    for key, value in wanted.items():
        assert (
            torch.equal(batch[key], value)
            if isinstance(value, torch.Tensor)
            else batch[key] == value
        )
