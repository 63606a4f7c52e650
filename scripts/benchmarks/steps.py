"""The steps that `scripts.benchmarks.training` measures: ours, the bare image tower's (the floor), and the naive way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets.catalog.entries import entries
from datasets.catalog.names import class_names
from prompting.backbones.loading import load_backbone
from prompting.model import PromptedCLIP
from prompting.prompts import Prompt, TextPrompt, VisualPrompt
from prompting.shape import clip_shape
from prompting.tokens import TokenBatch, clip_tokenizer, tokenize_prompts, tokenize_sentences
from prompting.unified import UnifiedPrompt

Step = Callable[[], None]
Autocast = Callable[[], AbstractContextManager]

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast_of(device: str, precision: str) -> Autocast:
    """Return a function that makes the context in which a step computes."""
    kind = device.split(":")[0]
    return partial(torch.autocast, kind, AUTOCAST[precision], enabled=precision != "fp32")


def random_clip(architecture: str) -> nn.Module:
    """Return a frozen CLIP with random weights, or the pocket model."""
    if architecture == "pocket":
        return load_backbone("pocket").clip
    return open_clip.create_model(architecture, pretrained=None).eval().requires_grad_(False)


def source_names(count: int) -> list[str]:
    """Return the first `count` of the 2,191 class names of the 11 source sets, ImageNet's first.

    Raises:
        ValueError: there are not so many.
    """
    names = list(class_names("ImageNet"))
    for entry in entries().values():
        if entry.suite == "coop" and entry.name != "ImageNet":
            names += class_names(entry.name)
    if not 1 <= count <= len(names):
        raise ValueError(f"--classes {count}: the source sets have {len(names)} classes")
    return names[:count]


def prompt_of(method: str, clip: nn.Module, n_ctx: int, position: str) -> Prompt:
    """Return a fresh prompt: text (CoOp), deep visual (VPT), or both (UPT), of `n_ctx` vectors each."""
    shape = clip_shape(clip)
    if method == "VPT":
        return VisualPrompt(n_ctx, shape.image_width, shape.image_layers, shape.patch_size)
    text = TextPrompt(n_ctx, shape.text_width, position=position)
    if method == "CoOp":
        return text
    visual = VisualPrompt(n_ctx, shape.image_width, shape.image_layers, shape.patch_size)
    return UnifiedPrompt(text, visual)


def our_step(
    clip: nn.Module, prompt: Prompt, images: Tensor, labels: Tensor, names: list[str], autocast: Autocast
) -> Step:
    """Return a step as training does it; image features of an unprompted tower are constants."""
    model = PromptedCLIP(clip, prompt)
    optimiser = torch.optim.SGD(prompt.parameters(), lr=0.002)
    cached = None if model.has_visual_prompt else model.encode_images(images)

    def step() -> None:
        with autocast():
            contexts = model.contexts()
            features = cached
            if features is None:
                features = model.encode_images(images, contexts)
            classes = model.encode_classes(names, contexts=contexts)
            loss = F.cross_entropy(model.logits(features, classes), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def floor_step(clip: nn.Module, n_ctx: int, images: Tensor, autocast: Autocast) -> Step:
    """Return a step of the bare image tower with deep prompts, forward and backward, in open_clip's own blocks."""
    visual = clip.visual
    layers = len(visual.transformer.resblocks)
    width = visual.transformer.width
    tokens = torch.randn(layers, 1, n_ctx, width, device=images.device, requires_grad=True)

    def step() -> None:
        with autocast():
            features = prompted_tower(visual, images, tokens)
            features.float().sum().backward()

    return step


def naive_step(
    clip: nn.Module, prompt: Prompt, images: Tensor, labels: Tensor, names: list[str], autocast: Autocast
) -> Step:
    """Return a step of both towers, with all classes at once in texts as long as the longest."""
    batch = longest_batch(clip, prompt, names)

    def step() -> None:
        prompt.zero_grad()
        contexts = prompt.contexts()
        with autocast():
            context = None if contexts.text is None else contexts.text[0]
            classes = F.normalize(prompted_text_tower(clip, batch, context), dim=-1)
            if contexts.visual is None:
                features = clip.encode_image(images)
            else:
                features = prompted_tower(clip.visual, images, contexts.visual.unsqueeze(1))
            features = F.normalize(features, dim=-1)
            logits = clip.logit_scale.exp() * features @ classes.T
            loss = F.cross_entropy(logits, labels)
        loss.backward()

    return step


def prompted_text_tower(clip: nn.Module, batch: TokenBatch, context: Tensor | None) -> Tensor:
    """Return text features (C, d) of sequences with the context (n_ctx, width) in their slots, padding included."""
    x = clip.token_embedding(batch.ids)
    length = x.shape[1]
    if context is not None:
        filled = batch.slots.sum(-1, keepdim=True)
        x = x * (1 - filled) + batch.slots @ context
    x = x + clip.positional_embedding[:length]
    mask = clip.attn_mask[:length, :length]
    x = clip.ln_final(clip.transformer(x, attn_mask=mask))
    return x[torch.arange(len(x)), batch.ends] @ clip.text_projection


def prompted_tower(visual: nn.Module, images: Tensor, tokens: Tensor) -> Tensor:
    """Return image features (B, d) with deep prompts (layers, 1, n_ctx, width), written as the paper's equation 3 reads."""
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    start = visual.class_embedding.expand(len(x), 1, -1)
    x = torch.cat([start, x], dim=1) + visual.positional_embedding
    cls, patches = visual.ln_pre(x).split([1, x.shape[1] - 1], dim=1)
    for layer, block in zip(tokens, visual.transformer.resblocks, strict=True):
        prompt = layer.expand(len(cls), -1, -1)
        x = block(torch.cat([cls, prompt, patches], dim=1))
        cls = x[:, :1]
        patches = x[:, 1 + prompt.shape[1] :]
    return visual.ln_post(cls[:, 0]) @ visual.proj


def longest_batch(clip: nn.Module, prompt: Prompt, names: list[str]) -> TokenBatch:
    """Return all classes in one batch, padded to the longest: the template's words, or slots for the text context."""
    text = prompt.contexts().text
    tokenizer = clip_tokenizer()

    def batches(length: int, cut: bool) -> list[TokenBatch]:
        if text is None:
            sentences = [f"a photo of a {name.replace('_', ' ')}." for name in names]
            return tokenize_sentences(tokenizer, sentences, length, cut, max_tokens=10**9)
        return tokenize_prompts(tokenizer, names, text.shape[-2], prompt.position, length, cut, max_tokens=10**9)

    most = clip.positional_embedding.shape[0]
    longest = max(batch.ids.shape[1] for batch in batches(most, True))
    (batch,) = batches(longest, False)
    return batch.to(clip.logit_scale.device)
