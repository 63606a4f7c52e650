"""Many prompts over one pass of each task's images."""

import numpy as np
import pytest
import torch
from run_files import read

import trainers.features.store
from prompting.prompts import TextPrompt, VisualPrompt
from prompting.unified import UnifiedPrompt
from trainers.engine import scoring
from trainers.engine.scoring import score_prompts

TASKS = ["toy-shapes", "toy-scenes", "toy-marks", "toy-pets"]
METHODS = ["CoOp", "VPT", "UPT"]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch, tmp_path):
    """Forget features of other tests."""
    monkeypatch.setenv("MVLPT_CACHE", str(tmp_path / "cache"))
    trainers.features.store.get_backbone.cache_clear()


@pytest.fixture(scope="module")
def learned(main, tmp_path_factory):
    """Return a run of each method on another task: {method: folder}."""
    out = tmp_path_factory.mktemp("runs")
    for method, task in zip(METHODS, TASKS[:3], strict=True):
        command = (
            f"--trainer {method} --dataset {task} --shots 3 --output-dir {out}/{method}"
        )
        assert main(f"{command} OPTIM.MAX_EPOCH 1") == 0
    return {method: out / method for method in METHODS}


@pytest.fixture
def cfg(build):
    return build("ZeroshotCLIP", "toy-shapes").cfg


@pytest.fixture
def images_read(monkeypatch):
    """Return the paths of decoded images, in order."""
    import datasets.multitask as multitask

    seen, original = [], multitask.read_image
    monkeypatch.setattr(
        multitask,
        "read_image",
        lambda path, *others: (seen.append(path), original(path))[1],
    )
    return seen


def prompts(seed: int = 0) -> dict:
    """Return a prompt of each kind with values that matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = {
            "text": TextPrompt(4, 32),
            "visual": VisualPrompt(2, 64, 2, 8),
            "unified": UnifiedPrompt(TextPrompt(2, 32), VisualPrompt(2, 64, 2, 8), 48),
        }
        for prompt in made.values():
            for value in prompt.parameters():
                value.data.normal_(std=0.5)
    return made


def test_scores_are_those_of_each_run_evaluated_on_each_task(
    learned, cfg, main, tmp_path
):
    scores = score_prompts([*learned.values(), None], cfg, TASKS)
    expected = []
    for method, folder in learned.items():
        row = []
        for task in TASKS:
            out = tmp_path / f"{method}-{task}"
            command = (
                f"--trainer {method} --dataset {task} --shots 0 --eval-only "
                f"--model-dir {folder}"
            )
            assert main(f"{command} --output-dir {out}") == 0
            row.append(read(out / "results.json")[0]["score"])
        expected.append(row)
    assert (
        main(
            f"--trainer ZeroshotCLIP --dataset {','.join(TASKS)} --shots 0 "
            f"--output-dir {tmp_path}"
        )
        == 0
    )
    expected.append([record["score"] for record in read(tmp_path / "results.json")])
    assert scores.shape == (4, 4) and np.abs(scores - expected).max() < 1e-6
    recorded = [
        read(folder / "results.json")[0]["score"] for folder in learned.values()
    ]
    assert np.abs(np.diag(scores)[:3] - recorded).max() < 1e-6
    assert len(np.unique(scores.round(3))) > 4  # the prompts do differ


def test_prompts_give_the_same_scores_alone_and_together(cfg):
    given = list(prompts().values())
    together = score_prompts(given, cfg, TASKS)
    assert np.array_equal(
        together,
        np.concatenate([score_prompts([prompt], cfg, TASKS) for prompt in given]),
    )
    assert np.array_equal(together[::-1], score_prompts(given[::-1], cfg, TASKS))


def test_images_are_read_once_for_all_prompts(cfg, images_read, stubs, monkeypatch):
    clip, encoded = stubs["pocket"].clip, []
    original = clip.encode_image
    monkeypatch.setattr(
        clip,
        "encode_image",
        lambda x: (encoded.append(len(x)), original(x))[1],
        raising=False,
    )
    given = [*prompts(0).values(), *prompts(1).values(), None]
    first = score_prompts(given, cfg, TASKS)
    assert len(images_read) == len(set(images_read)) == sum(encoded) == 9 + 8 + 6 + 9
    trainers.features.store.get_backbone.cache_clear()
    assert np.array_equal(score_prompts(given, cfg, TASKS), first)
    # read for the visual prompts, features from their files
    assert len(images_read) == 2 * 32 and sum(encoded) == 32
    trainers.features.store.get_backbone.cache_clear()
    assert np.array_equal(
        score_prompts([given[0], given[-1]], cfg, TASKS), first[[0, -1]]
    )
    assert len(images_read) == 2 * 32


def test_class_features_are_computed_once_for_each_prompt_and_task(cfg, monkeypatch):
    import prompting.model

    sentences, original = [], prompting.model.encode_tokens
    monkeypatch.setattr(
        prompting.model,
        "encode_tokens",
        lambda clip, batch, *a, **k: (
            sentences.append(len(batch.ids)),
            original(clip, batch, *a, **k),
        )[1],
    )
    texts = [prompts(seed)["text"] for seed in range(3)]
    visuals = [prompts(seed)["visual"] for seed in range(3)]
    score_prompts([*texts, *visuals], cfg, TASKS)
    classes = 3 + 4 + 2 + 3
    assert sum(sentences) == (3 + 1) * classes  # visual prompts share theirs


def test_a_run_with_other_images_is_refused(learned, build):
    other = build("ZeroshotCLIP", "toy-shapes", "DATASET.CENTER_CROP", "True").cfg
    with pytest.raises(
        ValueError, match=r"CoOp was run with another DATASET\.CENTER_CROP"
    ):
        score_prompts([learned["CoOp"]], other, TASKS)


def test_a_prompt_of_another_width_is_refused(cfg, tmp_path):
    from prompting import save_prompts

    save_prompts(tmp_path / "wide.safetensors", TextPrompt(2, 48))
    with pytest.raises(
        ValueError,
        match=r"wide\.safetensors: the text prompt is 48 wide, the text tower 32",
    ):
        score_prompts([tmp_path / "wide.safetensors"], cfg, TASKS)


def test_class_specific_prompts_serve_their_own_classes_only(cfg):
    prompt = TextPrompt(2, 32, classes=3)
    assert score_prompts([prompt], cfg, ["toy-shapes", "toy-pets"]).shape == (1, 2)
    with pytest.raises(
        ValueError,
        match="toy-marks: the prompt holds contexts for 3 classes, 2 are given",
    ):
        score_prompts([prompt], cfg, ["toy-marks"])


def test_a_task_without_images_is_refused(build):
    cfg = build("ZeroshotCLIP", "toy-shapes", shots=0).cfg
    with pytest.raises(ValueError, match="toy-shapes has no val images"):
        score_prompts([None], cfg, ["toy-shapes"], split="val")


def test_keys_that_must_agree_exist(cfg):
    from trainers.engine.config import flatten

    keys = [key for key, _ in flatten(cfg)]
    assert all(any(key.startswith(prefix) for key in keys) for prefix in scoring.SHARED)
