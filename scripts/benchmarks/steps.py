"""The steps that `scripts.benchmarks.training` measures: ours, the bare image tower's (the floor), and the naive way."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

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
COLUMNS = {
    "method": ("method", "{}"),
    "classes": ("classes", "{:,}"),
    "position": ("class token", "{}"),
    "precision": ("precision", "{}"),
    "floor_seconds": ("floor, s", "{:.3f}"),
    "step_seconds": ("step, s", "{:.3f}"),
    "ratio": ("step / floor", "{:.2f}"),
    "images_per_second": ("images/s", "{:.1f}"),
    "peak_gigabytes": ("peak memory, GB", "{:.2f}"),
    "naive_seconds": ("naive step, s", "{:.1f}"),
    "naive_ratio": ("naive / step", "{:.1f}"),
    "naive_peak_gigabytes": ("naive peak, GB", "{:.1f}"),
}


def case(
    method: str,
    classes: int,
    position: str,
    precision: str,
    architecture: str,
    device: str,
    batch_size: int,
    n_ctx: int,
    rounds: int,
    baseline: bool,
) -> dict:
    """Measure one case in this process: seconds a step (median of `rounds`), of the floor, and, if wanted, of the
    naive way; memory is the process's peak (CPU) or torch's (GPU) after the steps and before the other two."""
    torch.manual_seed(0)
    clip = random_clip(architecture).to(device)
    names = source_names(classes)
    size = clip.visual.image_size
    images = torch.randn(batch_size, 3, *(size if isinstance(size, tuple) else (size, size)), device=device)
    labels = torch.randint(len(names), (batch_size,), device=device)
    autocast = autocast_of(device, precision)
    prompt = prompt_of(method, clip, n_ctx, position).to(device)

    ours = seconds(our_step(clip, prompt, images, labels, names, autocast), rounds, device)
    result = {"peak_gigabytes": peak(device)}
    floor = seconds(floor_step(clip, n_ctx, images, autocast), rounds, device)
    result |= {"floor_seconds": floor, "step_seconds": ours, "ratio": ours / floor}
    result["images_per_second"] = batch_size / ours
    if baseline:
        naive = seconds(naive_step(clip, prompt, images, labels, names, autocast), 1, device, warm=False)
        result |= {"naive_seconds": naive, "naive_ratio": naive / ours, "naive_peak_gigabytes": peak(device)}
    asked = {"method": method, "classes": classes, "position": position, "precision": precision}
    asked |= {"architecture": architecture, "device": device, "batch_size": batch_size, "n_ctx": n_ctx}
    return asked | {"rounds": rounds} | {key: round(value, 4) for key, value in result.items()}


def autocast_of(device: str, precision: str) -> Autocast:
    """What makes the context in which a step computes."""
    return partial(torch.autocast, device.split(":")[0], AUTOCAST[precision], enabled=precision != "fp32")


def random_clip(architecture: str) -> nn.Module:
    """A frozen CLIP with random weights, or the pocket model."""
    if architecture == "pocket":
        return load_backbone("pocket").clip
    return open_clip.create_model(architecture, pretrained=None).eval().requires_grad_(False)


def source_names(count: int) -> list[str]:
    """The first `count` of the 2,191 class names of the 11 source sets, ImageNet's first. Raises ValueError beyond."""
    sets = sorted(
        (entry for entry in entries().values() if entry.suite == "coop"), key=lambda entry: entry.name != "ImageNet"
    )
    names = [name for entry in sets for name in class_names(entry.name)]
    if not 1 <= count <= len(names):
        raise ValueError(f"--classes {count}: the source sets have {len(names)} classes")
    return names[:count]


def prompt_of(method: str, clip: nn.Module, n_ctx: int, position: str) -> Prompt:
    """A fresh prompt: text (CoOp), deep visual (VPT), or both (UPT), of `n_ctx` vectors each."""
    shape = clip_shape(clip)
    text = TextPrompt(n_ctx, shape.text_width, position=position) if method != "VPT" else None
    visual = VisualPrompt(n_ctx, shape.image_width, shape.image_layers, shape.patch_size) if method != "CoOp" else None
    return UnifiedPrompt(text, visual) if text and visual else text or visual


def our_step(
    clip: nn.Module, prompt: Prompt, images: Tensor, labels: Tensor, names: list[str], autocast: Autocast
) -> Step:
    """A step as training does it; image features of an unprompted tower are constants."""
    model = PromptedCLIP(clip, prompt)
    optimiser = torch.optim.SGD(prompt.parameters(), lr=0.002)
    cached = None if model.has_visual_prompt else model.encode_images(images)

    def step() -> None:
        with autocast():
            contexts = model.contexts()
            features = model.encode_images(images, contexts) if cached is None else cached
            loss = F.cross_entropy(model.logits(features, model.encode_classes(names, contexts=contexts)), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def floor_step(clip: nn.Module, n_ctx: int, images: Tensor, autocast: Autocast) -> Step:
    """The bare image tower with deep prompts, forward and backward, in open_clip's own blocks."""
    visual, width = clip.visual, clip.visual.transformer.width
    tokens = torch.randn(len(visual.transformer.resblocks), 1, n_ctx, width, device=images.device, requires_grad=True)

    def step() -> None:
        with autocast():
            prompted_tower(visual, images, tokens).float().sum().backward()

    return step


def naive_step(
    clip: nn.Module, prompt: Prompt, images: Tensor, labels: Tensor, names: list[str], autocast: Autocast
) -> Step:
    """Both towers in every step, all classes at once in texts as long as the longest."""
    batch = longest_batch(clip, prompt, names)

    def step() -> None:
        prompt.zero_grad()
        contexts = prompt.contexts()
        with autocast():
            x = clip.token_embedding(batch.ids)
            if contexts.text is not None:
                x = x * (1 - batch.slots.sum(-1, keepdim=True)) + batch.slots @ contexts.text[0]
            x = x + clip.positional_embedding[: x.shape[1]]
            mask = clip.attn_mask[: x.shape[1], : x.shape[1]]
            x = clip.ln_final(clip.transformer(x, attn_mask=mask))
            classes = F.normalize(x[torch.arange(len(x)), batch.ends] @ clip.text_projection, dim=-1)
            if contexts.visual is None:
                features = clip.encode_image(images)
            else:
                features = prompted_tower(clip.visual, images, contexts.visual.unsqueeze(1))
            loss = F.cross_entropy(clip.logit_scale.exp() * F.normalize(features, dim=-1) @ classes.T, labels)
        loss.backward()

    return step


def prompted_tower(visual: nn.Module, images: Tensor, tokens: Tensor) -> Tensor:
    """Image features (B, d) with deep prompts (layers, 1, n_ctx, width), written as the paper's equation 3 reads."""
    x = visual.conv1(images).flatten(2).transpose(1, 2)
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1) + visual.positional_embedding
    cls, patches = visual.ln_pre(x).split([1, x.shape[1] - 1], dim=1)
    for layer, block in zip(tokens, visual.transformer.resblocks, strict=True):
        x = block(torch.cat([cls, layer.expand(len(cls), -1, -1), patches], dim=1))
        cls, patches = x[:, :1], x[:, 1 + layer.shape[1] :]
    return visual.ln_post(cls[:, 0]) @ visual.proj


def longest_batch(clip: nn.Module, prompt: Prompt, names: list[str]) -> TokenBatch:
    """All classes in one batch, padded to the longest prompt: the template's words, or slots for the text context."""
    text, length, tokenizer = prompt.contexts().text, clip.positional_embedding.shape[0], clip_tokenizer()

    def batches(length: int, cut: bool) -> list[TokenBatch]:
        if text is None:
            sentences = [f"a photo of a {name.replace('_', ' ')}." for name in names]
            return tokenize_sentences(tokenizer, sentences, length, cut, max_tokens=10**9)
        return tokenize_prompts(tokenizer, names, text.shape[-2], prompt.position, length, cut, max_tokens=10**9)

    longest = max(batch.ids.shape[1] for batch in batches(length, True))
    (batch,) = batches(longest, False)
    return batch.to(clip.logit_scale.device)


def seconds(step: Step, rounds: int, device: str, warm: bool = True) -> float:
    """The median time of a step."""
    times = []
    for _ in range(rounds + warm):
        start = time.perf_counter()
        step()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:] if warm else times)


def peak(device: str) -> float:
    """Peak memory so far in GB: torch's on a GPU, else the process's (NaN where the system does not tell)."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 1e9
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM")), float("nan"))
