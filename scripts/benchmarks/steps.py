"""The steps that are measured: ours, the bare image tower's (the floor), the naive."""

import statistics
import time
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
    plain_name,
    tokenize_prompts,
    tokenize_sentences,
)
from prompting.unified import UnifiedPrompt
from trainers import losses

Step = Callable[[], None]
Autocast = Callable[[], AbstractContextManager]

# of the terms of a method's loss
WEIGHTS = {"PromptSRC": {"text_l1": 25.0, "image_l1": 10.0, "kl": 1.0}}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def autocast_of(device: str, precision: str) -> Autocast:
    kind = device.split(":")[0]
    dtype = AUTOCAST[precision]
    return partial(torch.autocast, kind, dtype, enabled=dtype is not None)


def random_clip(architecture: str) -> nn.Module:
    """Return a frozen CLIP with random weights, or the pocket model."""
    if architecture == "pocket":
        return load_backbone("pocket").clip
    clip = open_clip.create_model(architecture, pretrained=None)
    return clip.eval().requires_grad_(False)


def image_size(clip: nn.Module) -> tuple[int, int]:
    """Return the height and width of the images that a CLIP takes."""
    size = clip.visual.image_size
    return size if isinstance(size, tuple) else (size, size)


def source_names(count: int) -> list[str]:
    """Return the first `count` of the 2,191 class names of the 11 source sets,
    ImageNet's first; ValueError if there are not so many.
    """
    names = list(class_names("ImageNet"))
    for entry in entries().values():
        if entry.suite == "coop" and entry.name != "ImageNet":
            names += class_names(entry.name)
    if not 1 <= count <= len(names):
        most = f"the source sets have {len(names)} classes"
        raise ValueError(f"--classes {count}: {most}")
    return names[:count]


def prompt_of(
    method: str, clip: nn.Module, n_ctx: int, position: str = "end"
) -> Prompt:
    """Return a fresh prompt of `n_ctx` vectors; those of MaPLe and PromptSRC are in
    three quarters of the blocks, as published.
    """
    shape = clip_shape(clip)
    text, image = shape.text_width, shape.image_width
    text_layers = shape.text_layers * 3 // 4
    image_layers = shape.image_layers * 3 // 4
    if method == "MaPLe":
        return MaPLePrompt(n_ctx, text, image, min(text_layers, image_layers))
    if method == "PromptSRC":
        return IVLPPrompt(n_ctx, text, text_layers, n_ctx, image, image_layers)
    if method == "CoOp":
        return TextPrompt(n_ctx, text, position=position)
    visual = VisualPrompt(n_ctx, image, shape.image_layers, shape.patch_size)
    if method == "VPT":
        return visual
    return UnifiedPrompt(TextPrompt(n_ctx, text, position=position), visual)


def seconds(
    step: Step, rounds: int, device: str, clock: str = "wall", warm: bool = True
) -> float:
    """Return the median time of a step, after one that does not count if `warm`."""
    is_gpu = device.startswith("cuda")
    now = CLOCKS[clock]
    times = []
    if warm:
        step()
    for _ in range(rounds):
        if is_gpu:
            torch.cuda.synchronize()
        start = now()
        step()
        if is_gpu:
            torch.cuda.synchronize()
        times.append(now() - start)
    return statistics.median(times)


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
    frozen ones, are constants. `weights` are of the loss's other terms.
    """
    model = PromptedCLIP(clip, prompt)
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
            loss = _loss(model, features, classes, labels, frozen, weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def floor_step(clip: nn.Module, n_ctx: int, images: Tensor, autocast: Autocast) -> Step:
    """Return a step of the bare image tower with deep prompts in open_clip's blocks."""
    tower = clip.visual.transformer
    shape = len(tower.resblocks), 1, n_ctx, tower.width
    tokens = torch.randn(shape, device=images.device, requires_grad=True)

    def step() -> None:
        with autocast():
            features = prompted_tower(clip.visual, images, tokens)
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
    longest; with `weights` as published code does it: texts as long as the tower takes,
    and frozen features computed in each step.
    """
    before_norm = prompt.visual_before_norm
    batch = longest_batch(clip, prompt, names, bool(weights) or before_norm)
    sentences = longest_batch(clip, None, names, True)
    model = PromptedCLIP(clip, prompt)

    def step() -> None:
        prompt.zero_grad()
        contexts = prompt.contexts()
        with autocast():
            classes = prompted_text_tower(clip, batch, contexts.text)
            if contexts.visual is None:
                features = clip.encode_image(images)
            else:
                tokens = contexts.visual.unsqueeze(1)
                features = prompted_tower(clip.visual, images, tokens, before_norm)
            features = F.normalize(features, dim=-1)
            frozen = []
            if weights:
                with torch.no_grad():
                    plain = clip.encode_image(images, normalize=True)
                    frozen.append((plain, prompted_text_tower(clip, sentences, None)))
            loss = _loss(model, features, classes, labels, frozen, weights)
        loss.backward()

    return step


def _loss(
    model: PromptedCLIP,
    features: Tensor,
    classes: Tensor,
    labels: Tensor,
    frozen: list[tuple[Tensor, Tensor]],
    weights: Mapping[str, float] | None,
) -> Tensor:
    groups = torch.zeros_like(labels)
    sizes = labels.new_tensor([len(classes)])
    outputs = losses.build_outputs(
        model, features, classes, labels[:, None], groups, sizes, frozen
    )
    return losses.total(outputs, weights or {})


def prompted_text_tower(
    clip: nn.Module, batch: TokenBatch, contexts: Tensor | None
) -> Tensor:
    """Return normalised text features (C, d) of sequences with contexts (layers, n_ctx,
    width) in their slots, padding included.
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
    features = x[torch.arange(len(x)), batch.ends] @ clip.text_projection
    return F.normalize(features, dim=-1)


def prompted_tower(
    visual: nn.Module, images: Tensor, tokens: Tensor, before_norm: bool = False
) -> Tensor:
    """Return image features (B, d) with deep prompts (layers, 1, n_ctx, width), written
    as the paper's equation 3 reads. before_norm: those of the first layer pass ln_pre.
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
        cls = x[:, :1]
        prompt = x[:, 1 : 1 + n_ctx]
        patches = x[:, 1 + n_ctx :]
    return visual.ln_post(cls[:, 0]) @ visual.proj


def longest_batch(
    clip: nn.Module, prompt: Prompt | None, names: list[str], full_length: bool
) -> TokenBatch:
    """Return all classes in one batch, padded to the longest, or to all positions of
    the tower: the template's words, or slots for the prompt's text context.
    """
    text = prompt.contexts().text if prompt else None
    if text is None:
        sentences = [f"a photo of a {plain_name(name)}." for name in names]
        tokenize = partial(tokenize_sentences, clip_tokenizer(), sentences)
    else:
        n_ctx, position = text.shape[-2], prompt.position
        tokenize = partial(tokenize_prompts, clip_tokenizer(), names, n_ctx, position)
    length = clip.positional_embedding.shape[0]
    if not full_length:
        length = max(batch.ids.shape[1] for batch in tokenize(length))
    (batch,) = tokenize(length, False, max_tokens=10**9)
    return batch.to(clip.logit_scale.device)
