"""Prompts that are made from the name of a task: in the model and in predictions."""

import pytest
import torch

from prompting import PromptedCLIP, SoftCPTPrompt, TextPrompt
from prompting.backbones.backbone import Backbone, Preprocessing
from prompting.predict import Predictor
from prompting.tokens import clip_tokenizer
from tests.prompting.tiny import random_images, tiny_clip

CLASSES = ["cat", "red_brick", "moon"]


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


def prompt(**options) -> SoftCPTPrompt:
    """Return a prompt whose vectors are as large as the tokens of the stub."""
    torch.manual_seed(0)
    made = SoftCPTPrompt(3, 32, 16, task_n_ctx=2, **options)
    torch.nn.init.normal_(made.projection, std=0.5)
    return made


def name_features(clip, names: list[str], words: torch.Tensor) -> torch.Tensor:
    """Return features of names behind vectors, not normalised."""
    model = PromptedCLIP(clip, TextPrompt(len(words), 32, position="end"))
    batches = model._prompt_tokens(tuple(names), len(words))
    return model._encode_batches(batches, words.unsqueeze(0))


@torch.no_grad()
@pytest.mark.parametrize("position", ["front", "middle", "end"])
def test_the_vectors_are_a_product_with_the_feature_of_the_name(clip, position):
    made = prompt(position=position)
    feature = name_features(clip, ["land use"], made.task_ctx)
    plain = TextPrompt(3, 32, position=position)
    plain.ctx.data = (feature @ made.projection).reshape(3, 32)
    expected = PromptedCLIP(clip, plain).encode_classes(CLASSES)
    found = PromptedCLIP(clip, made).encode_classes(CLASSES, task="land_use")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    other = PromptedCLIP(clip, made).encode_classes(CLASSES, task="pets")
    assert (other - found).abs().max() > 1e-3


@torch.no_grad()
def test_vectors_may_depend_on_the_class_and_on_words_of_each_task(clip):
    made = prompt(tasks=["pets", "flags"], class_n_ctx=2, classes=3)
    task = name_features(clip, ["flags"], made.task_ctx[1])
    plain = TextPrompt(3, 32, classes=3, position="end")
    for row, name in enumerate(CLASSES):
        feature = name_features(clip, [name], made.class_ctx[row])
        vectors = torch.cat([feature, task], dim=1) @ made.projection
        plain.ctx.data[row] = vectors.reshape(3, 32)
    expected = PromptedCLIP(clip, plain).encode_classes(CLASSES)
    model = PromptedCLIP(clip, made)
    found = model.encode_classes(CLASSES, task="flags")
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    rows = torch.tensor([2, 0])
    part = model.encode_classes(["moon", "cat"], rows=rows, task="flags")
    torch.testing.assert_close(part, expected[rows], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="no words for the task 'cars'; it knows pets"):
        model.encode_classes(CLASSES, task="cars")


def test_all_parts_of_the_prompt_get_gradients(clip):
    made = prompt(class_n_ctx=2)
    model = PromptedCLIP(clip, made, max_cached_classes=1)
    model(random_images(2), CLASSES, "pets").log_softmax(1)[:, 0].sum().backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad.abs().sum() > 0, name


def test_a_prompt_without_its_task_or_of_another_width_is_refused(clip):
    with pytest.raises(ValueError, match="from the name of a task: give the task"):
        PromptedCLIP(clip, prompt()).encode_classes(CLASSES)
    with pytest.raises(ValueError, match="takes features 12 wide, the backbone's are"):
        PromptedCLIP(clip, SoftCPTPrompt(3, 32, 12))


def predictor(clip, known: dict, **options) -> Predictor:
    backbone = Backbone("stub", clip, clip_tokenizer(), Preprocessing(32))
    return Predictor(backbone, prompt(**options), {"classes": known})


def test_prediction_takes_the_name_of_the_only_task(clip):
    made = predictor(clip, {"pets": CLASSES})
    expected = made.model.encode_classes(["owl", "cat"], task="pets")
    assert torch.equal(made.class_features(["owl", "cat"]), expected)
    expected = made.model.encode_classes(CLASSES, task="pets")
    assert torch.equal(made.class_features(), expected)


def test_prediction_for_one_of_several_tasks_or_a_new_one(clip):
    made = predictor(clip, {"pets": CLASSES, "flags": ["x"]})
    several = r"several tasks: choose one \(--task\) of pets, flags$"
    with pytest.raises(ValueError, match=several):
        made.class_features(["owl"])
    for task in ("flags", "birds"):
        expected = made.model.encode_classes(["owl", "cat"], task=task)
        assert torch.equal(made.class_features(["owl", "cat"], task), expected)
    with pytest.raises(ValueError, match="was not learned on a task 'birds'"):
        made.class_features(task="birds")


def test_prediction_with_words_of_each_class(clip):
    made = predictor(clip, {"pets": CLASSES}, class_n_ctx=2, classes=3)
    found = made.class_features()
    part = made.class_features(["moon", "cat"])
    torch.testing.assert_close(part, found[[2, 0]], rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="'owl' is none of them"):
        made.class_features(["owl"])
