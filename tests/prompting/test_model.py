"""The prompted CLIP against plain CLIP and against sequences assembled by hand."""

import shutil

import pytest
import torch
import torch.nn.functional as F

import prompting.model
from prompting import (
    Contexts,
    IVLPPrompt,
    MaPLePrompt,
    Prompt,
    PromptedCLIP,
    TextPrompt,
    UnifiedPrompt,
    VisualPrompt,
    count_parameters,
    words_to_context,
)
from prompting.tokens import clip_tokenizer, tokenize_prompts
from tests.prompting.tiny import random_images, tiny_clip

CLASSES = ["cat", "St. Bernard", "no car.", "hot_air balloon", "what?!"]
TOKENIZER = clip_tokenizer()


def text_prompt(position="middle", n_ctx=5, classes=None):
    prompt = TextPrompt(n_ctx, 32, classes, position)
    torch.nn.init.normal_(
        prompt.ctx, std=0.5, generator=torch.Generator().manual_seed(1)
    )
    return prompt


def visual_prompt(layers=2, n_ctx=3):
    return VisualPrompt(n_ctx, 64, layers, patch_size=8)


def unified_prompt(theta="attention"):
    return UnifiedPrompt(
        text_prompt(n_ctx=2), visual_prompt(), dim=16, heads=2, theta=theta
    )


def by_hand(clip, ctx, position, name):
    """Return the text feature of one class by the definition: full length, placeholders
    replaced, then split and permuted.
    """
    n_ctx = len(ctx)
    name = name.replace("_", " ")
    ids = TOKENIZER([" ".join(["X"] * n_ctx) + " " + name + "."], context_length=77)
    words = len(TOKENIZER.encode(name))
    embedded = clip.token_embedding(ids)[0]
    start, rest = embedded[:1], embedded[1 + n_ctx :]
    half = n_ctx // 2
    parts = {
        "end": [start, ctx, rest],
        "middle": [start, ctx[:half], rest[:words], ctx[half:], rest[words:]],
        "front": [start, rest[:words], ctx, rest[words:]],
    }
    x = torch.cat(parts[position])[None] + clip.positional_embedding
    x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask))
    return F.normalize(x[0, ids.argmax()] @ clip.text_projection, dim=-1)


@pytest.mark.parametrize("position", ["front", "middle", "end"])
@pytest.mark.parametrize("n_ctx", [1, 4, 5])
def test_positions(position, n_ctx):
    clip, prompt = tiny_clip(), text_prompt(position, n_ctx)
    features = PromptedCLIP(clip, prompt).encode_classes(CLASSES)
    expected = torch.stack(
        [by_hand(clip, prompt.ctx, position, name) for name in CLASSES]
    )
    torch.testing.assert_close(features, expected, atol=2e-6, rtol=0)


def test_class_specific_contexts():
    clip, prompt = tiny_clip(), text_prompt(classes=5)
    model = PromptedCLIP(clip, prompt)
    expected = torch.stack(
        [by_hand(clip, prompt.ctx[i], "middle", name) for i, name in enumerate(CLASSES)]
    )
    torch.testing.assert_close(
        model.encode_classes(CLASSES), expected, atol=2e-6, rtol=0
    )
    rows = torch.tensor([3, 1])
    some = model.encode_classes([CLASSES[3], CLASSES[1]], rows=rows)
    torch.testing.assert_close(some, expected[rows], atol=2e-6, rtol=0)
    with pytest.raises(ValueError, match="contexts for 5 classes, 2 are given"):
        model.encode_classes(CLASSES[:2])


@pytest.mark.parametrize("position", ["front", "middle", "end"])
@pytest.mark.parametrize(
    "savings",
    [
        {"trim_padding": False},
        {"share_prefix": False},
        {"max_tokens": 30},
        {"max_tokens": 30, "max_cached_classes": 3},
        {"max_cached_classes": 0},
    ],
)
def test_savings_are_exact(position, savings):
    clip, prompt = tiny_clip().double(), text_prompt(position).double()
    results = []
    for arguments in ({"trim_padding": False, "share_prefix": False}, {}, savings):
        features = PromptedCLIP(clip, prompt, **arguments).encode_classes(CLASSES)
        (features * torch.arange(features.numel()).view_as(features)).sum().backward()
        results.append((features.detach(), prompt.ctx.grad.clone()))
        prompt.ctx.grad = None
    for features, gradient in results[1:]:
        torch.testing.assert_close(features, results[0][0], atol=1e-12, rtol=0)
        torch.testing.assert_close(gradient, results[0][1], atol=1e-8, rtol=1e-10)


class DeepText(Prompt):
    """Text vectors for both blocks, with the class name anywhere."""

    def __init__(self, position):
        super().__init__()
        self.text = torch.nn.Parameter(
            torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))
        )
        self.position = position

    def contexts(self):
        return Contexts(text=self.text)


def deep_by_hand(clip, text, position, name):
    """Return the result of `by_hand`, with each block's vectors put in the positions of
    those before it.
    """
    n_ctx = text.shape[1]
    before = {"front": 0, "middle": n_ctx // 2, "end": n_ctx}[position]
    words = len(TOKENIZER.encode(name.replace("_", " ")))
    positions = torch.tensor(
        [1 + k if k < before else 1 + k + words for k in range(n_ctx)]
    )
    ids = TOKENIZER(
        [" ".join(["X"] * n_ctx) + " " + name.replace("_", " ") + "."],
        context_length=77,
    )
    embedded = clip.token_embedding(ids)[0]
    order = [0, *positions.tolist()]
    x = embedded.new_zeros(77, 32)
    x = x.index_put((positions,), text[0])
    rest = torch.tensor([place for place in range(77) if place not in order[1:]])
    x = x.index_put((rest,), torch.cat([embedded[:1], embedded[1 + n_ctx :]]))
    x = (x + clip.positional_embedding)[None]
    for i, block in enumerate(clip.transformer.resblocks):
        if i:
            x = x.index_put((torch.tensor([0]), positions), text[i])
        x = block(x, attn_mask=clip.attn_mask)
    return F.normalize(clip.ln_final(x)[0, ids.argmax()] @ clip.text_projection, dim=-1)


@pytest.mark.parametrize("position", ["front", "middle", "end"])
@pytest.mark.parametrize(
    "savings",
    [{}, {"share_prefix": False}, {"trim_padding": False}, {"max_cached_classes": 0}],
)
def test_deep_text_contexts_are_replaced_before_each_block(position, savings):
    clip, prompt = tiny_clip().double(), DeepText(position).double()
    expected = torch.stack(
        [deep_by_hand(clip, prompt.text, position, name) for name in CLASSES]
    )
    weights = torch.arange(expected.numel()).view_as(expected)
    (wanted,) = torch.autograd.grad((expected * weights).sum(), prompt.text)
    features = PromptedCLIP(clip, prompt, **savings).encode_classes(CLASSES)
    torch.testing.assert_close(features, expected, atol=1e-12, rtol=0)
    (gradient,) = torch.autograd.grad((features * weights).sum(), prompt.text)
    torch.testing.assert_close(gradient, wanted, atol=1e-8, rtol=1e-10)


def test_the_shared_beginning_of_deep_contexts_is_computed_once(monkeypatch):
    calls = []
    original = prompting.model.encode_prefix
    monkeypatch.setattr(
        prompting.model,
        "encode_prefix",
        lambda *args: calls.append(1) or original(*args),
    )
    PromptedCLIP(tiny_clip(), DeepText("end"), max_tokens=1).encode_classes(CLASSES)
    assert calls == [1]


def test_words_between_the_context_and_the_name_are_fixed():
    prompt = IVLPPrompt(2, 32, 1, 0, 0, 0, fixed_words="of a")
    features = PromptedCLIP(tiny_clip(), prompt).encode_classes(["cat", "red_brick"])
    for k, name in enumerate(("of a cat", "of a red brick")):
        expected = by_hand(tiny_clip(), prompt.text[0], "end", name)
        torch.testing.assert_close(features[k], expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("image", ["vit", "resnet"])
def test_without_prompt_it_is_plain_clip(image):
    clip, images = tiny_clip(image), random_images()
    with torch.no_grad():
        ids = TOKENIZER(
            [f"a photo of a {name.replace('_', ' ')}." for name in CLASSES],
            context_length=77,
        )
        x, t = (
            clip.encode_image(images, normalize=True),
            clip.encode_text(ids, normalize=True),
        )
        expected = clip.logit_scale.exp() * x @ t.T
    logits = PromptedCLIP(clip)(images, CLASSES)
    torch.testing.assert_close(logits, expected, atol=2e-5, rtol=0)
    assert not logits.requires_grad


def test_templates_are_averaged():
    model = PromptedCLIP(tiny_clip(), visual_prompt())
    a, b = (
        model.encode_classes(CLASSES, ["a {}."]),
        model.encode_classes(CLASSES, ["the {} of {}"]),
    )
    both = model.encode_classes(CLASSES, ["a {}.", "the {} of {}"])
    torch.testing.assert_close(both, F.normalize(a + b, dim=-1))
    with pytest.raises(ValueError, match="'a photo' has no {}"):
        model.encode_classes(CLASSES, ["a photo"])


def test_constant_class_features_are_kept_and_dropped():
    model = PromptedCLIP(tiny_clip(), visual_prompt())
    with torch.inference_mode():
        first = model.encode_classes(CLASSES)
    assert model.encode_classes(list(CLASSES)) is first
    loss = model(random_images(), CLASSES).sum()
    loss.backward()
    assert model.prompt.embeddings.grad.abs().sum() > 0
    other = tiny_clip(seed=1).state_dict()
    model.load_state_dict(
        {
            **model.state_dict(),
            **{f"clip.{name}": value for name, value in other.items()},
        }
    )
    assert not torch.allclose(model.encode_classes(CLASSES), first)
    assert model.double().encode_classes(CLASSES).dtype == torch.float64


def test_class_features_are_kept_of_so_many_classes_only(monkeypatch):
    monkeypatch.setattr("prompting.model.MAX_CLASS_FEATURES", 2 * len(CLASSES))
    model = PromptedCLIP(tiny_clip(), visual_prompt())
    first = model.encode_classes(CLASSES)
    for number in range(10):
        model.encode_classes([f"{name} {number}" for name in CLASSES])
    again = model.encode_classes(CLASSES)
    assert again is not first
    torch.testing.assert_close(again, first)
    assert model._class_features.size == 2 * len(CLASSES)


def test_text_prompt_follows_its_values():
    model = PromptedCLIP(tiny_clip(), text_prompt())
    before = model.encode_classes(CLASSES).detach()
    with torch.no_grad():
        model.prompt.ctx += 1.0
    assert not torch.allclose(model.encode_classes(CLASSES), before)


def visual_by_hand(clip, images, tokens):
    """Return the output of open_clip's own modules, with the tokens inserted and
    replaced by the definition.
    """
    visual, count = clip.visual, tokens.shape[1]
    x = visual._embeds(images)
    x = torch.cat([x[:, :1], tokens[0].expand(len(x), -1, -1), x[:, 1:]], dim=1)
    for i, block in enumerate(visual.transformer.resblocks):
        if 0 < i < len(tokens):
            x = torch.cat(
                [x[:, :1], tokens[i].expand(len(x), -1, -1), x[:, 1 + count :]], dim=1
            )
        x = block(x)
    return F.normalize(visual.ln_post(x[:, 0]) @ visual.proj, dim=-1)


@pytest.mark.parametrize("layers", [1, 2])
def test_visual_prompts(layers):
    clip, images, prompt = tiny_clip(), random_images(), visual_prompt(layers)
    model = PromptedCLIP(clip, prompt)
    features = model.encode_images(images)
    torch.testing.assert_close(
        features, visual_by_hand(clip, images, prompt.tokens()), atol=1e-6, rtol=0
    )
    clip.set_grad_checkpointing()
    torch.testing.assert_close(model.encode_images(images), features, atol=0, rtol=0)


def test_shallow_and_deep_differ():
    shallow, deep = visual_prompt(1), visual_prompt(2)
    deep.embeddings.data.copy_(shallow.embeddings.data)
    clip, images = tiny_clip(), random_images()
    difference = PromptedCLIP(clip, shallow).encode_images(images) - PromptedCLIP(
        clip, deep
    ).encode_images(images)
    assert difference.abs().max() > 1e-4


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: None, []),
        (text_prompt, ["prompt.ctx"]),
        (visual_prompt, ["prompt.embeddings", "prompt.embeddings_deep"]),
        (
            lambda: unified_prompt("identity"),
            [
                "prompt.text.ctx",
                "prompt.visual.embeddings",
                "prompt.visual.embeddings_deep",
            ],
        ),
    ],
)
def test_only_the_prompt_trains(make, names):
    model = PromptedCLIP(tiny_clip().requires_grad_(True), make()).train()
    trained = [name for name, value in model.named_parameters() if value.requires_grad]
    assert trained == names
    assert not model.clip.training
    if names:
        model(random_images(), CLASSES).sum().backward()
        assert all(
            parameter.grad is not None for parameter in model.prompt.parameters()
        )
    assert all(parameter.grad is None for parameter in model.clip.parameters())


def test_unified_prompt_reaches_both_towers():
    model = PromptedCLIP(tiny_clip(), unified_prompt())
    assert model.has_text_prompt and model.has_visual_prompt
    calls = []
    original = model.prompt.contexts
    model.prompt.contexts = lambda: calls.append(1) or original()
    model(random_images(), CLASSES).sum().backward()
    assert len(calls) == 1
    assert all(
        parameter.grad.abs().sum() > 0
        for parameter in model.prompt.mixer.parameters()
        if parameter.dim() > 1
    )


def test_resnet_takes_text_prompts_only():
    clip = tiny_clip("resnet")
    model = PromptedCLIP(clip, text_prompt()).train()
    before = {name: value.clone() for name, value in clip.state_dict().items()}
    model(random_images(), CLASSES).sum().backward()
    assert model.prompt.ctx.grad.abs().sum() > 0
    assert all(
        torch.equal(value, before[name]) for name, value in clip.state_dict().items()
    )
    for prompt in (visual_prompt(), unified_prompt(), MaPLePrompt(2, 32, 64, 2)):
        with pytest.raises(
            ValueError,
            match="visual prompts need a vision transformer: .* ModifiedResNet",
        ):
            PromptedCLIP(clip, prompt)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (lambda: TextPrompt(4, 48), "text prompt is 48 wide, the text tower 32"),
        (lambda: TextPrompt(75, 32), "n_ctx 75 leaves no room"),
        (
            lambda: VisualPrompt(4, 48, 2, 8),
            "visual prompt is 48 wide, the image tower 64",
        ),
        (
            lambda: VisualPrompt(4, 64, 3, 8),
            r"has 3 layers; the image tower takes 2 \(deep\)",
        ),
        (
            lambda: IVLPPrompt(2, 32, 3, 2, 64, 2),
            "the text prompt has 3 layers; the text tower has 2",
        ),
        (lambda: MaPLePrompt(2, 32, 48, 2), "visual prompt is 48 wide"),
    ],
)
def test_prompts_that_do_not_fit(prompt, message):
    with pytest.raises(ValueError, match=message):
        PromptedCLIP(tiny_clip(), prompt())


def test_bad_inputs():
    model = PromptedCLIP(tiny_clip(context_length=16), unified_prompt())
    with pytest.raises(ValueError, match="list of at least one name"):
        model.encode_classes("cat")
    with pytest.raises(ValueError, match="list of at least one name"):
        model.encode_classes([])
    long = "one two three four five six seven eight nine ten eleven twelve"
    with pytest.raises(
        ValueError,
        match=f"'{long}' with 2 context vectors takes 17 tokens; .* at most 16",
    ):
        model.encode_classes(["cat", long])
    with pytest.raises(
        ValueError,
        match=r"images of \(24, 24\) pixels; this image tower takes \(32, 32\)",
    ):
        model.encode_images(random_images(size=24))


def test_a_prompt_of_ones_own():
    class Mean(Prompt):
        kind = "mean"

        def __init__(self):
            super().__init__()
            self.vector = torch.nn.Parameter(torch.randn(32))

        def contexts(self):
            return Contexts(text=self.vector.expand(3, -1))

    model = PromptedCLIP(tiny_clip(), Mean())
    assert model.has_text_prompt and not model.has_visual_prompt
    expected = by_hand(model.clip, model.prompt.vector.expand(3, -1), "end", "cat")
    torch.testing.assert_close(
        model.encode_classes(["cat"])[0], expected, atol=2e-6, rtol=0
    )


def test_autocast_keeps_prompts_and_logits_in_float32():
    model, images = PromptedCLIP(tiny_clip(), unified_prompt()), random_images()
    exact = model(images, CLASSES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(images, CLASSES)
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, exact, atol=0.3, rtol=0)
    logits.sum().backward()
    assert all(
        parameter.grad.dtype == torch.float32 for parameter in model.prompt.parameters()
    )


def test_words_to_context_counts_tokens():
    clip = tiny_clip()
    context = words_to_context(clip, TOKENIZER, "a_photo of a")
    assert context.shape == (4, 32) and not context.requires_grad
    assert (
        words_to_context(clip, TOKENIZER, "photomicrograph").shape[0]
        == len(TOKENIZER.encode("photomicrograph"))
        > 1
    )
    prompted = PromptedCLIP(
        clip, TextPrompt(4, 32, position="end", init=context)
    ).encode_classes(CLASSES)
    torch.testing.assert_close(
        prompted, PromptedCLIP(clip).encode_classes(CLASSES), atol=2e-6, rtol=0
    )
    with pytest.raises(ValueError, match="no tokens"):
        words_to_context(clip, TOKENIZER, " ")


def test_count_parameters():
    clip = tiny_clip()
    backbone = sum(parameter.numel() for parameter in clip.parameters())
    visual = sum(parameter.numel() for parameter in clip.visual.parameters())
    assert count_parameters(clip, text_prompt()) == {
        "num_trainable_params": 160,
        "num_params": backbone + 160,
        "num_visual_params": visual,
        "num_backbone_params": backbone,
    }
    assert count_parameters(clip)["num_trainable_params"] == 0


def test_only_classes_beyond_those_kept_are_computed_again(monkeypatch):
    seen = []
    original = prompting.model.encode_tokens

    def counted(clip, batch, ctx, *others):
        seen.append(tuple(batch.rows.tolist()))
        return original(clip, batch, ctx, *others)

    monkeypatch.setattr(prompting.model, "encode_tokens", counted)
    # a class a batch
    model = PromptedCLIP(tiny_clip(), text_prompt(), max_tokens=1, max_cached_classes=2)
    model.encode_classes(CLASSES).sum().backward()
    again = [rows for rows in seen if seen.count(rows) == 2]
    once = [rows for rows in seen if seen.count(rows) == 1]
    assert once == seen[:2]
    assert set(again) == set(seen[2:]) and len(set(again)) == len(CLASSES) - 2


def test_equal_lengths_share_a_batch_and_no_batch_is_larger_than_asked():
    names = ["cat"] * 400 + ["a very long name of some rare animal"] * 3
    batches = tokenize_prompts(TOKENIZER, names, 4, "middle", 77, max_tokens=512)
    assert sorted(row for batch in batches for row in batch.rows.tolist()) == list(
        range(403)
    )
    sizes = [batch.ids[:, batch.prefix :].numel() for batch in batches]
    assert max(sizes) <= 512
    needed = sum(int((batch.ends - batch.prefix + 1).sum()) for batch in batches)
    # no padding: the long names came last, in another batch
    assert sum(sizes) == needed


@pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch.compile needs a C++ compiler"
)
@pytest.mark.long
def test_a_compiled_image_tower_gives_the_same_features_and_gradients():
    clip, prompt, images = tiny_clip(), visual_prompt(), random_images()
    results = []
    for compiled in (False, True):
        model = PromptedCLIP(clip, prompt)
        features = (model.compile_image_tower() if compiled else model).encode_images(
            images
        )
        (features * torch.arange(features.numel()).view_as(features)).sum().backward()
        results.append((features.detach(), prompt.embeddings.grad.clone()))
        prompt.zero_grad()
    torch.testing.assert_close(results[1][0], results[0][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(results[1][1], results[0][1], atol=1e-4, rtol=1e-4)
