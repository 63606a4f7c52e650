"""Loaders of images and features, and the store that encodes unknown images."""

import pickle

import numpy as np
import pytest
import tiny_world
import torch
from torch.utils.data import DataLoader, Subset, default_collate

import trainers.features.store
from datasets.multitask import MultitaskDataset
from datasets.task import Sample, Task
from prompting.model import PromptedCLIP
from prompting.prompts import VisualPrompt
from trainers.features.extraction import EncoderSettings, encode_images
from trainers.features.loaders import FeatureDataset, build_loader
from trainers.features.store import FeatureStore, LazyFeatures, LoadedBackbone

MEAN = STD = (0.5, 0.5, 0.5)


@pytest.fixture
def encoded(monkeypatch) -> list[int]:
    """Return a list of the number of images in each pass over a dataset."""
    passes, original = [], trainers.features.store.encode_images

    def count(models, dataset, settings):
        passes.extend([len(dataset)] if models else [])
        return original(models, dataset, settings)

    monkeypatch.setattr(trainers.features.store, "encode_images", count)
    return passes


@pytest.fixture
def tasks(tmp_path) -> list[Task]:
    """Return three tasks of 4, 0 and 3 test images."""
    rng, made = np.random.default_rng(0), []
    for name, count in (("a", 4), ("b", 0), ("c", 3)):
        samples = []
        for k in range(count):
            path = tmp_path / f"{name}{k}.png"
            path.write_bytes(tiny_world.noise_image(rng, (k % 2,)))
            samples.append(Sample(str(path), (k % 2,), path.name))
        made.append(
            type(name, (Task,), {"name": name})(["cat", "dog"], [], [], samples)
        )
    return made


@pytest.fixture
def backbone(stubs) -> LoadedBackbone:
    stub = stubs["pocket"]  # which may have computed its fingerprint already
    parts = (stub.name, stub.clip, stub.tokenizer, stub.preprocessing)
    return LoadedBackbone(*parts, stub.known_tokens)


def images(tasks, **options) -> MultitaskDataset:
    return MultitaskDataset(tasks, "test", 32, "bicubic", MEAN, STD, **options)


def expected(backbone, dataset) -> torch.Tensor:
    pixels = torch.stack([dataset[row]["img"] for row in range(len(dataset))])
    with torch.no_grad():
        return torch.nn.functional.normalize(backbone.clip.encode_image(pixels), dim=-1)


# -- loaders -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("name", ["CoOp", "MVPT"])
def test_validation_and_test_loaders_give_the_images_that_are_scored(
    build, name, split
):
    trainer = build(
        name,
        "toy-shapes" if name == "CoOp" else "toy-shapes,toy-pets",
        "DATALOADER.TEST.BATCH_SIZE",
        4,
    )
    loader = getattr(trainer, f"{split}_loader")
    assert isinstance(loader, DataLoader)
    batches = list(loader)
    count = len(trainer.sets[split])
    assert [len(batch["img"]) for batch in batches] == [4] * (count // 4) + (
        [count % 4] if count % 4 else []
    )
    images, labels = trainer.parse_batch_test(batches[0])
    assert images.shape == (min(count, 4), 3, 32, 32)
    assert labels.tolist() == trainer.sets[split].labels[:4, 0].tolist()
    features = torch.cat(
        [trainer.model.encode_images(batch["img"]) for batch in batches]
    )
    classes = trainer.model.encode_classes(trainer.tasks[0].classnames)
    rows = trainer.sets[split].rows(0)
    values = trainer.model.logits(features[: len(rows)], classes).softmax(1)
    assert torch.allclose(values, trainer.predict(split)["toy-shapes"], atol=1e-5)


def test_there_is_no_validation_loader_without_validation_images(build):
    trainer = build("ZeroshotCLIP", "toy-shapes", shots=0)
    assert trainer.val_loader is None and len(trainer.test_loader) == 1


def test_batches_are_those_of_stacked_items(tasks):
    dataset = images(tasks)
    for part, rows in ((dataset, range(7)), (Subset(dataset, [5, 1, 2]), (5, 1, 2))):
        (batch,) = build_loader(part, 10)
        wanted = default_collate([dataset[row] for row in rows])
        assert batch.keys() == wanted.keys() and batch["impath"] == wanted["impath"]
        assert all(
            torch.equal(batch[key], wanted[key])
            for key in ("img", "label", "labels", "task", "index")
        )
    batches = list(build_loader(dataset, 4, batch_sampler=[[6, 0], [3]]))
    assert [batch["index"].tolist() for batch in batches] == [[6, 0], [3]]


def test_few_images_and_features_are_read_in_this_process(tasks):
    dataset = images(tasks)
    features = FeatureDataset(dataset, [torch.zeros(7, 16)])
    workers = [
        build_loader(dataset, size, workers=2).num_workers for size in (1, 2, 100)
    ]
    assert workers == [2, 0, 0]
    assert build_loader(features, 1, workers=2).num_workers == 0
    state = torch.get_rng_state()
    list(build_loader(dataset, 1, workers=2))
    assert torch.equal(state, torch.get_rng_state())


def test_features_stand_for_images_and_views_take_turns(tasks):
    dataset, views = images(tasks), torch.randn(2, 7, 16)
    features = FeatureDataset(dataset, views)
    for epoch in range(3):
        features.set_epoch(epoch)
        (batch,) = build_loader(features, 7, batch_sampler=[[6, 0, 2]])
        assert torch.equal(batch["img"], views[epoch % 2][[6, 0, 2]])
        assert batch["task"].tolist() == [2, 0, 0] and batch["labels"].tolist() == [
            [0],
            [0],
            [0],
        ]


# -- the store ---------------------------------------------------------------------------------------------------


def test_features_of_a_dataset_are_those_of_its_images(tasks, backbone, encoded):
    dataset = images(tasks)
    store = FeatureStore(backbone, EncoderSettings(batch_size=2))
    features = store.features(dataset)
    assert torch.allclose(features, expected(backbone, dataset), atol=1e-6)
    assert encoded == [4, 3]
    # known by content
    assert torch.equal(store.features(images(tasks)), features) and encoded == [4, 3]
    assert torch.equal(store.features(images(tasks[2:])), features[4:]) and encoded == [
        4,
        3,
    ]


def test_stores_of_one_backbone_share_what_they_know_if_they_compute_alike(
    tasks, backbone, encoded
):
    dataset = images(tasks[:1])
    for settings, passes in (((2, 0), 1), ((2, 5), 1), ((3, 0), 2)):
        batch_size, workers = settings
        FeatureStore(
            backbone, EncoderSettings(batch_size=batch_size, workers=workers)
        ).features(dataset)
        assert len(encoded) == passes
    FeatureStore(
        backbone, EncoderSettings(precision=torch.bfloat16, batch_size=2)
    ).features(dataset)
    assert len(encoded) == 3
    for other in ({"crop": "squash"}, {"crop": "crop"}):
        FeatureStore(backbone, EncoderSettings(batch_size=2)).features(
            images(tasks[:1], **other)
        )
    assert len(encoded) == 4  # tasks crop by themselves


def test_lazy_features_wait_for_the_first_of_their_task(tasks, backbone, encoded):
    dataset = images(tasks)
    lazy = LazyFeatures(FeatureStore(backbone, EncoderSettings(batch_size=2)), dataset)
    wanted = expected(backbone, dataset)
    assert encoded == []
    assert torch.allclose(lazy[[5, 4]], wanted[[5, 4]], atol=1e-6) and encoded == [3]
    assert torch.allclose(lazy[[6, 1]], wanted[[6, 1]], atol=1e-6) and encoded == [3, 4]
    assert torch.equal(lazy.of_task(2), lazy.all()[4:]) and encoded == [3, 4]


def test_images_with_a_random_transform_have_no_constant_features(tasks, backbone):
    store = FeatureStore(backbone, EncoderSettings())
    with pytest.raises(ValueError, match="random transform have no constant features"):
        LazyFeatures(store, images(tasks, transform=lambda image: image))


def test_prompted_models_are_encoded_in_the_same_pass(tasks, backbone, encoded):
    prompts = [VisualPrompt(2, tiny_world.IMAGE_WIDTH, 1, 8) for _ in range(2)]
    models = [
        PromptedCLIP(backbone.clip, prompt, backbone.tokenizer) for prompt in prompts
    ]
    store, dataset = (
        FeatureStore(backbone, EncoderSettings(batch_size=2)),
        images(tasks),
    )
    first, others = store.of_task(dataset, 0, prompted=models)
    assert encoded == [4] and len(others) == 2
    again, same = store.of_task(dataset, 0, prompted=models)
    assert (
        encoded == [4, 4]
        and torch.equal(again, first)
        and all(map(torch.equal, same, others))
    )
    alone = [
        encode_images([model], Subset(dataset, range(4)), store.settings)[0]
        for model in models
    ]
    assert all(map(torch.equal, alone, others)) and not torch.allclose(*others)


def test_a_store_s_settings_are_plain_values():
    settings = EncoderSettings("cpu", torch.bfloat16, 4, 2)
    assert pickle.loads(pickle.dumps(settings)) == settings
