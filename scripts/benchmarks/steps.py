"""The steps that `scripts.benchmarks.training` measures: ours, the bare image tower's
(the floor), and the naive way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import partial

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from datasets.catalog.entries import entries
from datasets.catalog.names import class_names
from prompting.backbones.loading import load_backbone
from prompting.deep import IVLPPrompt, MaPLePrompt
from prompting.model import PromptedCLIP
from prompting.prompts import Prompt, TextPrompt, VisualPrompt
from prompting.shape import clip_shape
from prompting.tokens import (
    TokenBatch,
    clip_tokenizer,
    tokenize_prompts,
    tokenize_sentences,
)
from prompting.unified import UnifiedPrompt
from trainers import losses

Step = Callable[[], None]
Autocast = Callable[[], AbstractContextManager]

# of the terms of a method's loss
WEIGHTS = {"PromptSRC": {"text_l1": 25.0, "image_l1": 10.0, "kl": 1.0}}
AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast_of(device: str, precision: str) -> Autocast:
    """Return a function that makes the context in which a step computes."""
    kind = device.split(":")[0]
    return partial(
        torch.autocast, kind, AUTOCAST[precision], enabled=precision != "fp32"
    )


def random_clip(architecture: str) -> nn.Module:
    """Return a frozen CLIP with random weights, or the pocket model."""
    if architecture == "pocket":
        return load_backbone("pocket").clip
    return (
        open_clip.create_model(architecture, pretrained=None)
        .eval()
        .requires_grad_(False)
    )


def source_names(count: int) -> list[str]:
    """Return the first `count` of the 2,191 class names of the 11 source sets,
    ImageNet's first.

    Raises:
        ValueError: there are not so many.
    """
    names = list(class_names("ImageNet"))
    for entry in entries().values():
        if entry.suite == "coop" and entry.name != "ImageNet":
            names += class_names(entry.name)
    if not 1 <= count <= len(names):
        raise ValueError(
            f"--classes {count}: the source sets have {len(names)} classes"
        )
    return names[:count]


def prompt_of(method: str, clip: nn.Module, n_ctx: int, position: str) -> Prompt:
    """Return a fresh prompt: text (CoOp), deep visual (VPT), or both (UPT, MaPLe,
    PromptSRC), of `n_ctx` vectors each.

    Those of MaPLe and PromptSRC are in three quarters of the blocks, as published.
    """
    shape = clip_shape(clip)
    if method in ("MaPLe", "PromptSRC"):
        text_layers, image_layers = (
            shape.text_layers * 3 // 4,
            shape.image_layers * 3 // 4,
        )
        if method == "MaPLe":
            return MaPLePrompt(
                n_ctx,
                shape.text_width,
                shape.image_width,
                min(text_layers, image_layers),
            )
        return IVLPPrompt(
            n_ctx, shape.text_width, text_layers, n_ctx, shape.image_width, image_layers
        )
    if method == "VPT":
        return VisualPrompt(
            n_ctx, shape.image_width, shape.image_layers, shape.patch_size
        )
    text = TextPrompt(n_ctx, shape.text_width, position=position)
    if method == "CoOp":
        return text
    visual = VisualPrompt(
        n_ctx, shape.image_width, shape.image_layers, shape.patch_size
    )
    return UnifiedPrompt(text, visual)


def our_step(
    clip: nn.Module,
    prompt: Prompt,
    images: Tensor,
    labels: Tensor,
    names: list[str],
    autocast: Autocast,
    weights: Mapping[str, float] | None = None,
) -> Step:
    """Return a step as training does it; image features of an unprompted tower, and all
    frozen ones, are constants.

    weights: of the terms of the loss beside cross-entropy.
    """
    model = PromptedCLIP(clip, prompt)
    groups, sizes = torch.zeros_like(labels), labels.new_tensor([len(names)])
    frozen = []
    if weights:
        plain = PromptedCLIP(clip)
        frozen.append((plain.encode_images(images), plain.encode_classes(names)))
    optimiser = torch.optim.SGD(prompt.parameters(), lr=0.002)
    cached = None if model.has_visual_prompt else model.encode_images(images)

    def step() -> None:
        with autocast():
            contexts = model.contexts()
            features = cached
            if features is None:
                features = model.encode_images(images, contexts)
            classes = model.encode_classes(names, contexts=contexts)
            outputs = losses.build_outputs(
                model, features, classes, labels[:, None], groups, sizes, frozen
            )
            loss = losses.total(outputs, weights or {})
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def floor_step(clip: nn.Module, n_ctx: int, images: Tensor, autocast: Autocast) -> Step:
    """Return a step of the bare image tower with deep prompts, forward and backward, in
    open_clip's own blocks.
    """
    visual = clip.visual
    layers = len(visual.transformer.resblocks)
    width = visual.transformer.width
    tokens = torch.randn(
        layers, 1, n_ctx, width, device=images.device, requires_grad=True
    )

    def step() -> None:
        with autocast():
            features = prompted_tower(visual, images, tokens)
            features.float().sum().backward()

    return step


def naive_step(
    clip: nn.Module,
    prompt: Prompt,
    images: Tensor,
    labels: Tensor,
    names: list[str],
    autocast: Autocast,
    weights: Mapping[str, float] | None = None,
) -> Step:
    """Return a step of both towers, with all classes at once in texts as long as the
    longest.

    With `weights` texts are as long as the tower takes, and frozen features are
    computed in each step, as published code does.
    """
    batch = longest_batch(
        clip, prompt, names, full_length=bool(weights) or prompt.visual_before_norm
    )
    length = clip.positional_embedding.shape[0]
    sentences = tokenize_sentences(
        clip_tokenizer(), plain_sentences(names), length, False, 10**9
    )
    model = PromptedCLIP(clip, prompt)
    groups, sizes = torch.zeros_like(labels), labels.new_tensor([len(names)])

    def step() -> None:
        prompt.zero_grad()
        contexts = prompt.contexts()
        with autocast():
            classes = F.normalize(
                prompted_text_tower(clip, batch, contexts.text), dim=-1
            )
            if contexts.visual is None:
                features = clip.encode_image(images)
            else:
                tokens = contexts.visual.unsqueeze(1)
                features = prompted_tower(
                    clip.visual, images, tokens, prompt.visual_before_norm
                )
            features = F.normalize(features, dim=-1)
            frozen = []
            if weights:
                with torch.no_grad():
                    plain = prompted_text_tower(
                        clip, sentences[0].to(images.device), None
                    )
                    frozen.append(
                        (
                            clip.encode_image(images, normalize=True),
                            F.normalize(plain, dim=-1),
                        )
                    )
            outputs = losses.build_outputs(
                model, features, classes, labels[:, None], groups, sizes, frozen
            )
            loss = losses.total(outputs, weights or {})
        loss.backward()

    return step


def prompted_text_tower(
    clip: nn.Module, batch: TokenBatch, contexts: Tensor | None
) -> Tensor:
    """Return text features (C, d) of sequences with contexts (layers, n_ctx, width) in
    their slots, padding included.
    """
    x = clip.token_embedding(batch.ids)
    length = x.shape[1]
    mask = clip.attn_mask[:length, :length]
    layers = 0 if contexts is None else len(contexts)
    for i, block in enumerate(clip.transformer.resblocks):
        if i < layers:
            filled = batch.slots.sum(-1, keepdim=True)
            x = x * (1 - filled) + batch.slots @ contexts[i]
        if i == 0:
            x = x + clip.positional_embedding[:length]
        x = block(x, attn_mask=mask)
    x = clip.ln_final(x)
    return x[torch.arange(len(x)), batch.ends] @ clip.text_projection


def prompted_tower(
    visual: nn.Module, images: Tensor, tokens: Tensor, before_norm: bool = False
) -> Tensor:
    """Return image features (B, d) with deep prompts (layers, 1, n_ctx, width), written
    as the paper's equation 3 reads.

    before_norm: those of the first layer pass ln_pre.
    """
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    start = visual.class_embedding.expand(len(x), 1, -1)
    x = torch.cat([start, x], dim=1) + visual.positional_embedding
    cls, patches = visual.ln_pre(x).split([1, x.shape[1] - 1], dim=1)
    n_ctx = tokens.shape[2]
    for i, block in enumerate(visual.transformer.resblocks):
        if i < len(tokens):
            prompt = tokens[i].expand(len(cls), -1, -1)
            if i == 0 and before_norm:
                prompt = visual.ln_pre(prompt)
        x = block(torch.cat([cls, prompt, patches], dim=1))
        cls, prompt, patches = x[:, :1], x[:, 1 : 1 + n_ctx], x[:, 1 + n_ctx :]
    return visual.ln_post(cls[:, 0]) @ visual.proj


def longest_batch(
    clip: nn.Module, prompt: Prompt, names: list[str], full_length: bool = False
) -> TokenBatch:
    """Return all classes in one batch, padded to the longest, or to all positions of
    the tower: the template's words, or slots for the text context.
    """
    text = prompt.contexts().text
    tokenizer = clip_tokenizer()

    def batches(length: int, trim_padding: bool) -> list[TokenBatch]:
        if text is None:
            return tokenize_sentences(
                tokenizer,
                plain_sentences(names),
                length,
                trim_padding,
                max_tokens=10**9,
            )
        return tokenize_prompts(
            tokenizer,
            names,
            text.shape[-2],
            prompt.position,
            length,
            trim_padding,
            max_tokens=10**9,
        )

    most = clip.positional_embedding.shape[0]
    longest = most
    if not full_length:
        longest = max(batch.ids.shape[1] for batch in batches(most, True))
    (batch,) = batches(longest, False)
    return batch.to(clip.logit_scale.device)


def plain_sentences(names: list[str]) -> list[str]:
    """Return the sentences of class names without a text context."""
    return [f"a photo of a {name.replace('_', ' ')}." for name in names]
