"""Constants of training are computed once."""

import pytest
import torch

import prompting.model
import trainers.base
import trainers.features.store

THREE = "toy-shapes,toy-scenes,toy-pets"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch, tmp_path):
    """Forget features of other tests."""
    monkeypatch.setenv("MVLPT_CACHE", str(tmp_path / "cache"))
    trainers.features.store.get_backbone.cache_clear()


@pytest.fixture
def images_seen(stubs, monkeypatch):
    """Return the number of images in each call of the plain image tower."""
    clip, calls = stubs["pocket"].clip, []
    original = clip.encode_image
    monkeypatch.setattr(
        clip,
        "encode_image",
        lambda images, *a, **k: (calls.append(len(images)), original(images, *a, **k))[
            1
        ],
        raising=False,
    )
    return calls


@pytest.fixture
def sentences_seen(monkeypatch):
    """Return the number of sequences in each call of the text tower."""
    calls = []
    original = prompting.model.encode_tokens
    monkeypatch.setattr(
        prompting.model,
        "encode_tokens",
        lambda clip, batch, *a, **k: (
            calls.append(len(batch.ids)),
            original(clip, batch, *a, **k),
        )[1],
    )
    return calls


@pytest.mark.parametrize(("name", "tasks"), [("CoOp", "toy-pets"), ("MCoOp", THREE)])
def test_every_image_passes_an_unprompted_tower_once(build, images_seen, name, tasks):
    trainer = build(name, tasks, "OPTIM.MAX_EPOCH", 4)
    trainer.train()
    sizes = {split: len(dataset) for split, dataset in trainer.sets.items()}
    assert sum(images_seen) == sizes["train"] + sizes["val"] + sizes["test"]


def test_runs_in_one_process_share_what_the_backbone_gives(
    build, images_seen, tmp_path
):
    build("CoOp", "toy-shapes", shots=2, seed=5, out=tmp_path / "a").train()
    before = len(images_seen)
    build(
        "CoOp",
        "toy-shapes",
        "TRAINER.MVLPT.COOP.N_CTX",
        2,
        shots=2,
        seed=5,
        out=tmp_path / "b",
    ).train()
    assert len(images_seen) == before


def test_the_first_run_of_a_process_draws_the_same_prompt_as_later_ones(
    build, monkeypatch, stubs, tmp_path
):
    def load_backbone(name, pretrained=None, device="cpu"):
        torch.randn(100)  # as building a model does
        return stubs[name]

    monkeypatch.setattr(trainers.features.store, "load_backbone", load_backbone)
    prompts = [
        build("UPT", "toy-shapes", out=tmp_path / str(k)).model.prompt for k in range(2)
    ]
    one, other = (prompt.state_dict() for prompt in prompts)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_another_draw_is_not_mistaken_for_a_known_one(build):
    features = {}
    for seed in (0, 1):
        trainer = build("CoOp", "toy-shapes", shots=2, seed=seed)
        trainer._prepare_training()
        dataset = trainer.sets["train"]
        features[seed] = [sample.key for sample in dataset.samples]
        images = torch.stack([dataset[row]["img"] for row in range(len(dataset))])
        known = trainer.train_loader_x.dataset.features[list(range(len(dataset)))]
        assert torch.allclose(known, trainer.model.encode_images(images), atol=1e-6)
    assert features[0] != features[1]


def test_another_preprocessing_is_not_mistaken_for_a_known_one(build):
    found = []
    for mean in (0.5, 0.1):
        opts = [
            "INPUT.FROM_BACKBONE",
            "False",
            "INPUT.SIZE",
            "[32, 32]",
            "INPUT.PIXEL_MEAN",
            f"[{mean}, {mean}, {mean}]",
        ]
        found.append(build("CoOp", "toy-shapes", *opts).predict("test")["toy-shapes"])
    assert not torch.allclose(*found, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "tasks", "classes"), [("VPT", "toy-shapes", 3), ("MVPT", THREE, 10)]
)
def test_every_class_passes_an_unprompted_text_tower_once(
    build, sentences_seen, name, tasks, classes
):
    trainer = build(
        name, tasks, "OPTIM.MAX_EPOCH", 3, "DATALOADER.TRAIN_X.BATCH_SIZE", 2
    )
    trainer.train()
    assert sum(sentences_seen) == classes


def test_visual_prompts_leave_the_plain_image_tower_alone(build, images_seen):
    build("VPT", "toy-shapes").train()
    assert images_seen == []


@pytest.mark.parametrize(
    ("name", "key", "vectors", "times"),
    [
        ("VPT", "TRAINER.MVLPT.VPT.N_CTX", 40, 3),
        ("UPT", "TRAINER.MVLPT.VPT.N_CTX", 17, 2),
        ("MaPLe", "TRAINER.MAPLE.N_CTX", 20, 2),
        ("VPT", "TRAINER.MVLPT.VPT.N_CTX", 16, 0),
    ],
)
def test_more_vectors_than_an_image_has_tokens_are_reported(
    build, caplog, name, key, vectors, times
):
    build(name, "toy-shapes", key, vectors)._prepare_training()
    said = [record.getMessage() for record in caplog.records]
    said = [line for line in said if "visual vectors" in line]
    expected = (
        f"{vectors} visual vectors beside the 16 tokens of an image: a step takes at "
        f"least {times} times as long as without"
    )
    assert said == [expected] * bool(times)


@pytest.mark.parametrize("space", ["task", "union"])
def test_features_in_the_place_of_images_learn_the_same_prompt(
    build, monkeypatch, tmp_path, space
):
    kept = build("MCoOp", THREE, "MULTITASK.LABEL_SPACE", space, out=tmp_path / "kept")
    kept.train()
    assert kept.cached

    original = trainers.base.PromptTrainer._prepare_training

    def from_images(self):
        original(self)
        self.cached = False
        self.train_loader_x = self._loader(self.sets["train"], self.sampler)

    monkeypatch.setattr(trainers.base.PromptTrainer, "_prepare_training", from_images)
    anew = build("MCoOp", THREE, "MULTITASK.LABEL_SPACE", space, out=tmp_path / "anew")
    anew.train()
    assert not anew.cached
    assert torch.allclose(kept.model.prompt.ctx, anew.model.prompt.ctx, atol=1e-6)
    for task, values in kept.predict("test").items():
        assert torch.allclose(values, anew.predict("test")[task], atol=1e-5)


def test_augmented_images_are_not_replaced_by_features(build, images_seen):
    trainer = build(
        "CoOp",
        "toy-pets",
        "INPUT.TRANSFORMS",
        '["random_resized_crop", "random_flip", "normalize"]',
        "OPTIM.MAX_EPOCH",
        3,
    )
    trainer.train()
    sizes = {split: len(dataset) for split, dataset in trainer.sets.items()}
    assert not trainer.cached
    assert sum(images_seen) == 3 * sizes["train"] + sizes["val"] + sizes["test"]


def test_worker_processes_read_the_same_images(build, tmp_path):
    prompts = []
    for workers in (0, 1):
        trainer = build(
            "VPT",
            "toy-pets",
            "DATALOADER.NUM_WORKERS",
            workers,
            "DATALOADER.TEST.BATCH_SIZE",
            2,
            out=tmp_path / str(workers),
        )
        trainer.train()
        prompts.append(trainer.model.prompt.embeddings)
    assert torch.equal(*prompts)
