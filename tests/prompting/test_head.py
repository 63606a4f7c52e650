"""Heads: class features that are moved, and biases."""

import pytest
import torch
from tiny import random_images, tiny_clip

from prompting.anchored import HeadPrompt
from prompting.checkpoints.prompt_files import load_prompts, save_prompts
from prompting.model import PromptedCLIP

NAMES = ["cat", "dog", "bird"]
TEMPLATES = ["a photo of a {}.", "a drawing of a {}."]


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


def head_of(clip, bias):
    torch.manual_seed(0)
    head = HeadPrompt(3, clip.text_projection.shape[1], bias)
    with torch.no_grad():
        for value in head.parameters():
            value.normal_(std=0.1)
    return head


def logits(model, rows=None):
    names = NAMES if rows is None else [NAMES[row] for row in rows]
    with torch.no_grad():
        classes = model.encode_classes(names, TEMPLATES, rows=rows)
        return model.logits(model.encode_images(random_images(5)), classes)


@pytest.mark.parametrize("bias", [True, False])
def test_a_new_head_is_zero_shot(clip, bias):
    head = HeadPrompt(3, clip.text_projection.shape[1], bias)
    torch.testing.assert_close(
        logits(PromptedCLIP(clip, head)), logits(PromptedCLIP(clip))
    )


@pytest.mark.parametrize("bias", [True, False])
def test_logits_are_those_of_the_head(clip, bias):
    head, plain = head_of(clip, bias), PromptedCLIP(clip)
    with torch.no_grad():
        weights = plain.encode_classes(NAMES, TEMPLATES) + head.class_offsets
        if bias:
            expected = plain.encode_images(random_images(5)) @ weights.T + head.bias
        else:
            expected = (
                plain.encode_images(random_images(5))
                @ torch.nn.functional.normalize(weights).T
            )
        expected = clip.logit_scale.exp() * expected
    model = PromptedCLIP(clip, head)
    torch.testing.assert_close(logits(model), expected)
    rows = torch.tensor([2, 0])
    torch.testing.assert_close(logits(model, rows), expected[:, rows])


def test_a_head_is_for_its_classes_and_its_backbone(clip):
    with pytest.raises(ValueError, match="3 classes, 2 are given"):
        PromptedCLIP(clip, head_of(clip, True)).encode_classes(NAMES[:2])
    with pytest.raises(ValueError, match="class offsets are 5 wide"):
        PromptedCLIP(clip, HeadPrompt(3, 5))


@pytest.mark.parametrize("bias", [True, False])
def test_a_stored_head_is_the_same(clip, tmp_path, bias):
    head = head_of(clip, bias)
    save_prompts(tmp_path / "prompts.safetensors", head, {"method": "GDA"})
    loaded, _ = load_prompts(tmp_path / "prompts.safetensors")
    assert (
        loaded.config()
        == head.config()
        == {
            "kind": "head",
            "classes": 3,
            "dim": head.class_offsets.shape[1],
            "bias": bias,
        }
    )
    for name, value in head.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
