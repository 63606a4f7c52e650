"""Prompt modules on their own: shapes, initial values, counts, θ, and the modules that
configurations describe.
"""

import json
import math

import pytest
import torch

from prompting import (
    IVLPPrompt,
    MaPLePrompt,
    SoftCPTPrompt,
    TCPPrompt,
    TextPrompt,
    UnifiedPrompt,
    VisualPrompt,
    build_prompt,
    prompt_from_reference,
)
from prompting.prompts import KIND_MODULES, PROMPT_KINDS


def unified(
    theta: str = "attention",
    dim: int = 128,
    heads: int = 1,
    layers: int = 1,
    classes: int | None = None,
):
    """Return a unified prompt of UPT's sizes on ViT-B/16 with four vectors."""
    text, visual = (
        TextPrompt(4, 512, classes),
        VisualPrompt(4, 768, layers=12, patch_size=16),
    )
    return UnifiedPrompt(text, visual, dim, heads, layers, theta)


def count(prompt):
    return sum(
        parameter.numel()
        for parameter in prompt.parameters()
        if parameter.requires_grad
    )


def test_trainable_counts_on_vit_b16():
    assert count(TextPrompt(16, 512)) == 8192
    assert count(VisualPrompt(16, 768, layers=12, patch_size=16)) == 147456
    assert count(VisualPrompt(16, 768, layers=1, patch_size=16)) == 12288
    assert count(unified("per-token")) == count(unified("attention")) == 566400
    assert count(unified("mlp")) == 566400 - 198272
    assert count(unified("identity")) == 2048 + 36864
    assert count(TextPrompt(16, 512, classes=10)) == 81920


def test_parameter_names():
    assert [name for name, _ in TextPrompt(2, 8).named_parameters()] == ["ctx"]
    assert [name for name, _ in VisualPrompt(2, 8, 3, 4).named_parameters()] == [
        "embeddings",
        "embeddings_deep",
    ]
    assert [name for name, _ in VisualPrompt(2, 8, 1, 4).named_parameters()] == [
        "embeddings"
    ]
    projected = VisualPrompt(2, 8, 3, 4, project=5)
    assert dict(projected.named_parameters())["embeddings_deep"].shape == (2, 2, 5)
    assert projected.contexts().visual.shape == (3, 2, 8)


@pytest.mark.parametrize(
    ("width", "patch", "bound"),
    [(768, 16, 0.0625), (768, 32, 0.0395), (1024, 14, 0.0610)],
)
def test_visual_prompts_start_uniform(width, patch, bound):
    prompt = VisualPrompt(64, width, layers=3, patch_size=patch)
    for values in (prompt.embeddings.detach(), prompt.embeddings_deep.detach()):
        assert values.abs().max().item() == pytest.approx(bound, abs=1e-4)
        assert values.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
        assert values.mean().abs() < 1e-3


def test_text_prompts_start_normal_or_from_words():
    assert TextPrompt(64, 512).ctx.std().item() == pytest.approx(0.02, rel=0.03)
    words = torch.randn(3, 8)
    assert torch.equal(TextPrompt(3, 8, init=words).ctx, words)
    specific = TextPrompt(3, 8, classes=5, init=words)
    assert torch.equal(specific.ctx, words.expand(5, 3, 8))
    with pytest.raises(
        ValueError, match=r"init has shape \(3, 8\); \(n_ctx, width\) is \(4, 8\)"
    ):
        TextPrompt(4, 8, init=words)


def perturbed(prompt):
    """Return how far each vector moves when the first text vector is perturbed: text
    (4,), visual (12, 4).
    """
    with torch.no_grad():
        before = prompt.contexts()
        before = before.text[0].clone(), before.visual.clone()
        prompt.text.ctx[0] += torch.randn(512)
        after = prompt.contexts()
        return (after.text[0] - before[0]).norm(dim=-1), (
            after.visual - before[1]
        ).norm(dim=-1)


def test_attention_mixes_all_tokens():
    text, visual = perturbed(unified("attention"))
    assert (text > 0).all() and (visual > 0).all()


@pytest.mark.parametrize("theta", ["per-token", "mlp", "identity"])
def test_other_thetas_keep_tokens_apart(theta):
    text, visual = perturbed(unified(theta))
    assert text[0] > 0.1
    assert text[1:].max() == 0 and visual.max() == 0


def test_per_token_is_the_blocks_value_path():
    prompt = unified("per-token", layers=1)
    block = prompt.mixer.resblocks[0]
    x = torch.randn(5, 128)
    with torch.no_grad():
        weight, bias = block.attn.in_proj_weight[256:], block.attn.in_proj_bias[256:]
        value = torch.nn.functional.linear(block.ln_1(x), weight, bias)
        y = x + block.attn.out_proj(value)
        h = block.mlp.c_fc(block.ln_2(y))
        expected = y + block.mlp.c_proj(h * torch.sigmoid(1.702 * h))
        torch.testing.assert_close(prompt.mixer(x), expected)


def test_identity_leaves_the_prompts_as_they_are():
    prompt = unified("identity")
    contexts = prompt.contexts()
    assert torch.equal(contexts.text[0], prompt.text.ctx)
    assert torch.equal(contexts.visual, prompt.visual.tokens())


def test_unified_class_specific_and_deeper_theta():
    prompt = unified("attention", dim=32, heads=4, layers=3, classes=2)
    contexts = prompt.contexts()
    assert contexts.text.shape == (1, 2, 4, 512) and contexts.visual.shape == (
        12,
        4,
        768,
    )
    assert (
        len(prompt.mixer.resblocks) == 3
        and prompt.mixer.resblocks[0].attn.num_heads == 4
    )
    (contexts.text.sum() + contexts.visual.sum()).backward()
    assert all(parameter.grad is not None for parameter in prompt.parameters())


def test_no_maps_where_widths_agree():
    prompt = UnifiedPrompt(TextPrompt(2, 16), VisualPrompt(2, 24, 2, 8), dim=16)
    names = {name.split(".")[0] for name, _ in prompt.named_parameters()}
    assert names == {"text", "visual", "visual_pre", "visual_post", "mixer"}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: unified(dim=128, heads=3), r"heads \(3\) must divide its dim \(128\)"),
        (
            lambda: unified("transformer"),
            "theta is 'transformer'; it is one of attention, per-token, mlp, identity",
        ),
        (
            lambda: TextPrompt(4, 8, position="start"),
            "position is 'start'; it is one of front, middle, end",
        ),
        (lambda: TextPrompt(0, 8), "n_ctx is 0"),
        (lambda: VisualPrompt(2, 8, 0, 16), "layers is 0"),
        (lambda: VisualPrompt(2, 8, 2, 16, dropout=1.0), "dropout is 1.0"),
        (
            lambda: build_prompt({"kind": "audio"}),
            "unknown kind of prompt 'audio'; known: anchored, .*ivlp, maple, mmrl, mmrlpp, softcpt, tcp, text, unified, visual",
        ),
        (lambda: build_prompt({"kind": "text", "n_ctx": 2}), "prompt lacks 'width'"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_dropout_only_in_training():
    prompt = VisualPrompt(8, 16, 2, 8, dropout=0.5)
    assert (prompt.train().contexts().visual == 0).any()
    assert torch.equal(prompt.eval().contexts().visual, prompt.tokens())


@pytest.mark.parametrize(
    "prompt",
    [
        TextPrompt(4, 8, position="front"),
        TextPrompt(4, 8, classes=3),
        VisualPrompt(4, 8, 3, 16, dropout=0.1, project=6),
        unified("per-token", dim=64, heads=2, layers=2),
        TextPrompt(4, 8, position="end", fixed_words="of a"),
        IVLPPrompt(4, 8, 3, 2, 6, 2, fixed_words="of a"),
        IVLPPrompt(4, 8, 3, 0, 0, 0),
        MaPLePrompt(2, 8, 6, 3),
        TCPPrompt(4, 8, 6, 2, last_words=", a bird"),
        SoftCPTPrompt(4, 8, 6),
        SoftCPTPrompt(4, 8, 6, 3, ["pets", "flags"], 2, 5, position="middle"),
    ],
)
def test_config_describes_the_module(prompt):
    config = json.loads(json.dumps(prompt.config()))
    twin = build_prompt(config)
    assert (
        type(twin) is type(prompt)
        and twin.config() == prompt.config()
        and twin.position == prompt.position
    )
    shapes = {name: value.shape for name, value in prompt.state_dict().items()}
    assert {name: value.shape for name, value in twin.state_dict().items()} == shapes


def reference_names(prompt, old: bool) -> dict:
    """Return the state of a unified prompt as the reference would store it."""
    names = {
        "text.ctx": "ctx",
        "visual.": "vpt_",
        "text_": "mvlpt_proj_ctx_coop_",
        "visual_": "mvlpt_proj_ctx_vpt_",
        "mixer.": "mvlpt_proj.",
    }
    state = {
        "token_prefix": torch.zeros(2, 1, 512),
        "token_suffix": torch.zeros(2, 72, 512),
    }
    for name, value in prompt.state_dict().items():
        ours = next(key for key in names if name.startswith(key))
        theirs = names[ours] + name[len(ours) :]
        state[theirs.replace("mvlpt_proj", "upt_proj") if old else theirs] = (
            value.half()
        )
    return state


@pytest.mark.parametrize("old", [False, True])
def test_reference_checkpoint(old):
    prompt = unified("per-token")
    loaded = prompt_from_reference(reference_names(prompt, old), position="end")
    assert isinstance(loaded, UnifiedPrompt)
    assert (loaded.theta, loaded.dim, loaded.layers, loaded.position) == (
        "per-token",
        128,
        1,
        "end",
    )
    for name, value in prompt.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float()), name


def test_reference_checkpoint_with_other_names_is_refused():
    with pytest.raises(ValueError, match="not the names.*meta_net.linear1.weight"):
        prompt_from_reference(
            {"ctx": torch.zeros(4, 8), "meta_net.linear1.weight": torch.zeros(1, 1)}
        )
    with pytest.raises(ValueError, match="neither ctx nor vpt_embeddings"):
        prompt_from_reference({"token_prefix": torch.zeros(1)})


def test_every_kind_is_known_when_a_prompt_is_read():
    """Find the modules of all kinds among those that `build_prompt` imports."""
    found = {cls.__module__ for cls in PROMPT_KINDS.values()}
    ours = {module for module in found if module.startswith("prompting.")}
    assert ours == {"prompting.prompts", *KIND_MODULES}
