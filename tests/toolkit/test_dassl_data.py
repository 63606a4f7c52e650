"""Items, few-shot draws, samplers, loaders."""

import random
import zipfile
from collections import Counter

import pytest
import torch
from dassl.data import DataManager, DatasetWrapper
from dassl.data.data_manager import build_data_loader
from dassl.data.datasets import DatasetBase, Datum, build_dataset
from dassl.data.samplers import build_sampler
from dassl.utils import read_image
from PIL import Image


class Item:
    def __init__(self, label, domain=0, classname=""):
        self.label, self.domain, self.classname = label, domain, classname


def items(sizes, attribute="label"):
    """Return ``sizes[k]`` items with label or domain k."""
    return [
        Item(**{"label": 0, attribute: k})
        for k, size in enumerate(sizes)
        for _ in range(size)
    ]


def test_datum_needs_its_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing.png"):
        Datum(str(tmp_path / "missing.png"))
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    datum = Datum(tmp_path / "a.png", label=3, domain=1, classname="cat")
    assert (datum.impath, datum.label, datum.domain, datum.classname) == (
        str(tmp_path / "a.png"),
        3,
        1,
        "cat",
    )
    with pytest.raises(AttributeError):
        datum.label = 4
    assert read_image(datum.impath).mode == "RGB"
    with pytest.raises(FileNotFoundError, match="b.png"):
        read_image(tmp_path / "b.png")


def test_names_follow_labels():
    train = [Item(2, classname="c"), Item(0, classname="a"), Item(2, classname="c")]
    dataset = DatasetBase(train_x=train, test=train[:1])
    assert dataset.num_classes == 3
    assert list(dataset.lab2cname.items()) == [(0, "a"), (2, "c")]
    assert dataset.classnames == ["a", "c"]
    assert dataset.val is None and dataset.train_u is None and dataset.train_x is train


def test_domains_are_checked():
    dataset = DatasetBase(train_x=items([1]))
    dataset.domains = ["photo", "sketch"]
    dataset.check_input_domains(["photo"], ["sketch"])
    with pytest.raises(ValueError, match="did you mean 'photo'"):
        dataset.check_input_domains(["photos"], [])


def test_few_shot_draws():
    dataset = DatasetBase(train_x=items([5, 2, 9]))
    count = lambda drawn: Counter(item.label for item in drawn)  # noqa: E731
    random.seed(0)
    drawn = dataset.generate_fewshot_dataset(dataset.train_x, num_shots=4)
    assert count(drawn) == {0: 4, 1: 2, 2: 4} and len(set(map(id, drawn))) == 10
    random.seed(0)
    assert dataset.generate_fewshot_dataset(dataset.train_x, num_shots=4) == drawn
    assert count(
        dataset.generate_fewshot_dataset(dataset.train_x, num_shots=4, repeat=True)
    ) == {0: 4, 1: 4, 2: 4}
    assert (
        dataset.generate_fewshot_dataset(dataset.train_x, num_shots=-1)
        is dataset.train_x
    )
    two = dataset.generate_fewshot_dataset(items([3]), items([0, 3]), num_shots=1)
    assert [count(part) for part in two] == [{0: 1}, {1: 1}]


def test_few_shot_draw_is_python_s_own_by_class():
    source = items([6, 6])
    random.seed(7)
    expected = random.sample(source[:6], 2) + random.sample(source[6:], 2)
    random.seed(7)
    assert DatasetBase().generate_fewshot_dataset(source, num_shots=2) == expected


def test_archives_are_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "source.zip", "w") as archive:
        archive.writestr("images/a.txt", "a")
    target = tmp_path / "data" / "d.zip"
    DatasetBase().download_data(
        (tmp_path / "source.zip").as_uri(), str(target), from_gdrive=False
    )
    assert (tmp_path / "data" / "images" / "a.txt").read_text() == "a"
    (tmp_path / "plain.txt").write_text("no archive")
    with pytest.raises(ValueError, match="neither"):
        DatasetBase().download_data(
            (tmp_path / "plain.txt").as_uri(),
            str(tmp_path / "e.zip"),
            from_gdrive=False,
        )


def batches(sampler, size):
    order = list(sampler)
    assert len(order) == len(sampler)
    assert len(order) % size == 0
    return [order[i : i + size] for i in range(0, len(order), size)]


def test_plain_samplers():
    data = items([5])
    assert list(build_sampler("SequentialSampler", data_source=data)) == [0, 1, 2, 3, 4]
    assert sorted(build_sampler("RandomSampler", data_source=data)) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="Sequential"):
        build_sampler("Sorted", data_source=data)


def test_random_domain_sampler():
    data = items([7, 5, 9], "domain")
    sampler = build_sampler(
        "RandomDomainSampler", data_source=data, batch_size=6, n_domain=0
    )
    made = batches(sampler, 6)
    assert len(made) == 2  # the smallest domain has five items, two a batch
    for batch in made:
        assert Counter(data[i].domain for i in batch) == {0: 2, 1: 2, 2: 2}
    assert len({i for batch in made for i in batch}) == 12
    pairs = batches(
        build_sampler(
            "RandomDomainSampler", data_source=data, batch_size=4, n_domain=2
        ),
        4,
    )
    assert all(
        sorted(Counter(data[i].domain for i in batch).values()) == [2, 2]
        for batch in pairs
    )
    with pytest.raises(ValueError, match="multiple"):
        build_sampler("RandomDomainSampler", data_source=data, batch_size=4, n_domain=3)
    with pytest.raises(ValueError, match="3 domains"):
        build_sampler("RandomDomainSampler", data_source=data, batch_size=4, n_domain=4)


def test_seq_domain_sampler():
    data = items([4, 4], "domain")
    for batch in batches(
        build_sampler("SeqDomainSampler", data_source=data, batch_size=4), 4
    ):
        assert [data[i].domain for i in batch] == [0, 0, 1, 1]


@pytest.mark.parametrize("seed", range(5))
def test_random_class_sampler(seed):
    random.seed(seed)
    data = items([8, 1, 5, 12, 3])
    sampler = build_sampler(
        "RandomClassSampler", data_source=data, batch_size=4, n_ins=2
    )
    assert len(sampler) % 4 == 0
    for _ in range(3):
        order = list(sampler)
        for start in range(0, len(order), 4):
            counts = Counter(data[i].label for i in order[start : start + 4])
            assert sorted(counts.values()) == [2, 2]
    with pytest.raises(ValueError, match="N_INS"):
        build_sampler("RandomClassSampler", data_source=data, batch_size=1, n_ins=2)
    with pytest.raises(ValueError, match="6 classes"):
        build_sampler("RandomClassSampler", data_source=data, batch_size=12, n_ins=2)


def test_draws_of_samplers_are_those_of_dassl():
    data = items([2, 2], "domain")
    random.seed(4)
    sampler = build_sampler(
        "RandomDomainSampler", data_source=data, batch_size=4, n_domain=0
    )
    drawn = list(sampler)
    random.seed(4)
    for _ in range(2):  # the first draw gives the length
        first, second = random.sample([0, 1], 2)
        expected = random.sample([2 * first, 2 * first + 1], 2)
        expected += random.sample([2 * second, 2 * second + 1], 2)
    assert drawn == expected


def test_loaders(cfg):
    dm = DataManager(cfg)
    assert (dm.num_classes, dm.num_source_domains, dm.lab2cname[2]) == (3, 0, "blue")
    assert (
        len(dm.train_loader_x),
        len(dm.val_loader),
        len(dm.test_loader),
        dm.train_loader_u,
    ) == (3, 1, 1, None)
    batch = next(iter(dm.train_loader_x))
    assert sorted(batch) == ["domain", "img", "impath", "index", "label"]
    assert (batch["img"].shape, batch["img"].dtype) == ((8, 3, 8, 8), torch.float32)
    item = dm.dataset.train_x[int(batch["index"][3])]
    assert (item.impath, item.label) == (batch["impath"][3], int(batch["label"][3]))
    first = next(iter(dm.test_loader))
    assert first["index"].tolist() == list(range(18))


def test_the_last_batch(cfg):
    data = build_dataset(cfg).test  # 18 items

    def sizes(**options):
        loader = build_data_loader(cfg, data_source=data, tfm=tfm, **options)
        return [len(batch["label"]) for batch in loader]

    tfm = lambda image: torch.zeros(1)  # noqa: E731
    assert sizes(batch_size=8, is_train=True) == [8, 8]
    assert sizes(batch_size=8, is_train=False) == [8, 8, 2]
    assert sizes(batch_size=32, is_train=True) == [18]
    with pytest.raises(ValueError, match="empty"):
        build_data_loader(cfg, data_source=[], tfm=tfm)


def test_wrapper_images(cfg):
    data = build_dataset(cfg).test
    tfm = lambda image: torch.zeros(1)  # noqa: E731
    cfg.DATALOADER.K_TRANSFORMS = 3
    assert len(DatasetWrapper(cfg, data, transform=tfm, is_train=True)[0]["img"]) == 3
    assert torch.is_tensor(
        DatasetWrapper(cfg, data, transform=tfm, is_train=False)[0]["img"]
    )
    with pytest.raises(ValueError, match="K_TRANSFORMS"):
        DatasetWrapper(cfg, data, is_train=True)
    cfg.DATALOADER.K_TRANSFORMS = 1
    cfg.DATALOADER.RETURN_IMG0 = True
    item = DatasetWrapper(cfg, data, transform=[tfm, tfm], is_train=True)[1]
    assert {"img", "img2", "img0"} <= set(item) and item["index"] == 1
    assert item["img0"].shape == (3, 8, 8)
    assert isinstance(DatasetWrapper(cfg, data)[0]["img"], Image.Image)
