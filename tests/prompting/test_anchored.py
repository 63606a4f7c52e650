"""Prompts that are used together with zero-shot CLIP."""

import pytest
import torch
from tiny import random_images, tiny_clip

from prompting.anchored import AnchoredPrompt
from prompting.checkpoints.prompt_files import load_prompts, load_state, save_prompts
from prompting.model import PromptedCLIP
from prompting.name_aware import TCPPrompt
from prompting.prompts import TextPrompt, VisualPrompt
from prompting.shape import clip_shape

NAMES = ["cat", "dog", "bird"]
TEMPLATES = ["a photo of a {}.", "a drawing of a {}."]


@pytest.fixture(scope="module")
def clip():
    return tiny_clip()


@pytest.fixture(scope="module")
def images():
    return random_images(5)


def bases(clip):
    shape = clip_shape(clip)
    torch.manual_seed(0)
    visual = VisualPrompt(2, shape.image_width, shape.image_layers, shape.patch_size)
    return {"visual": visual, "text": TextPrompt(2, shape.text_width)}


def logits(model, images):
    with torch.no_grad():
        contexts = model.contexts()
        classes = model.encode_classes(NAMES, TEMPLATES, contexts)
        return model.logits(model.encode_images(images, contexts), classes)


@pytest.mark.parametrize("kind", ["visual", "text"])
def test_logits_are_the_weighted_mean_of_both_models(clip, images, kind):
    base = bases(clip)[kind]
    prompt = AnchoredPrompt(base)
    prompt.weight.fill_(0.3)
    both = PromptedCLIP(clip, prompt).eval()
    prompted = logits(PromptedCLIP(clip, base).eval(), images)
    zero_shot = logits(PromptedCLIP(clip).eval(), images)
    torch.testing.assert_close(
        logits(both, images), 0.3 * prompted + 0.7 * zero_shot, rtol=1e-5, atol=1e-5
    )
    assert both.feature_dim() == clip_shape(clip).embed_dim * (
        2 if kind == "visual" else 1
    )


def test_words_and_scale_are_those_of_the_base(clip, images):
    base = TCPPrompt(2, 32, 16, 1, fixed_words="a", last_words=", a pet.")
    base.logit_scale = 2.0
    plain = PromptedCLIP(clip, base).eval()
    both = PromptedCLIP(clip, AnchoredPrompt(base)).eval()
    torch.testing.assert_close(logits(both, images), logits(plain, images))


def test_training_sees_the_prompted_model_alone(clip, images):
    base = bases(clip)["visual"]
    prompt = AnchoredPrompt(base)
    prompt.weight.fill_(0.3)
    model = PromptedCLIP(clip, prompt).train()
    torch.testing.assert_close(
        logits(model, images), logits(PromptedCLIP(clip, base), images)
    )


def test_class_features_begin_as_those_of_zero_shot_and_move_by_the_offsets(clip):
    dim = clip_shape(clip).embed_dim
    prompt = AnchoredPrompt(bases(clip)["visual"], len(NAMES), dim)
    model = PromptedCLIP(clip, prompt).eval()
    plain = PromptedCLIP(clip).eval().encode_classes(NAMES, TEMPLATES)
    torch.testing.assert_close(
        model.encode_classes(NAMES, TEMPLATES), plain, rtol=0, atol=1e-7
    )
    with torch.no_grad():
        prompt.class_offsets[1, 0] = 0.5
    moved = torch.nn.functional.normalize(plain + prompt.class_offsets, dim=-1)
    torch.testing.assert_close(model.encode_classes(NAMES, TEMPLATES), moved)
    swapped = model.encode_classes(["dog", "cat"], TEMPLATES, rows=torch.tensor([1, 0]))
    torch.testing.assert_close(swapped, moved[[1, 0]])
    with pytest.raises(ValueError, match="holds contexts for 3 classes, 2 are given"):
        model.encode_classes(["cat", "dog"], TEMPLATES)


def test_a_file_keeps_offsets_and_weight(clip, tmp_path):
    prompt = AnchoredPrompt(bases(clip)["visual"], 3, clip_shape(clip).embed_dim)
    with torch.no_grad():
        prompt.class_offsets.normal_()
    prompt.weight.fill_(0.75)
    save_prompts(tmp_path / "prompts.safetensors", prompt, {"method": "APT"})
    loaded, _ = load_prompts(tmp_path / "prompts.safetensors")
    assert float(loaded.weight) == 0.75
    assert torch.equal(loaded.class_offsets, prompt.class_offsets)


def test_a_prompt_without_offsets_starts_one_with_them(clip):
    source = AnchoredPrompt(bases(clip)["visual"])
    target = AnchoredPrompt(bases(clip)["visual"], 3, clip_shape(clip).embed_dim)
    load_state(target, source.state_dict())
    assert torch.equal(target.base.embeddings, source.base.embeddings)
    assert not target.class_offsets.any()


def test_offsets_of_another_backbone_are_refused(clip):
    prompt = AnchoredPrompt(bases(clip)["visual"], 3, clip_shape(clip).embed_dim + 1)
    with pytest.raises(ValueError, match="class offsets are"):
        PromptedCLIP(clip, prompt)
