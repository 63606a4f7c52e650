"""What models of the real sizes cost: parameters and the time of a training step, on random weights."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from toolkit.common.structured import read_json, write_json

log = logging.getLogger(__name__)

METHODS = ("CoOp", "VPT", "UPT")
BATCH, CLASSES, STEPS = 2, 10, 3


def measured(backbones: Sequence[str], path: Path) -> list[dict]:
    """Return for each backbone and method: parameters (all, trained) and seconds an image of a step.

    path: a JSON file that keeps what was measured.
    """
    rows = read_json(path) if path.is_file() else []
    known = {row["backbone"] for row in rows}
    for backbone in backbones:
        if backbone not in known:
            log.info("cost of %s, random weights", backbone)
            rows += _measure(backbone)
            write_json(path, rows, indent=1)
    return [row for row in rows if row["backbone"] in backbones]


def _measure(backbone: str) -> list[dict]:
    import open_clip
    import torch

    from prompting.backbones.loading import ALIASES
    from prompting.model import PromptedCLIP, count_parameters
    from prompting.prompts import TextPrompt, VisualPrompt
    from prompting.shape import clip_shape
    from prompting.tokens import clip_tokenizer
    from prompting.unified import UnifiedPrompt

    config = open_clip.get_model_config(ALIASES.get(backbone, backbone))
    clip = open_clip.CLIP(**config).float().eval().requires_grad_(False)
    shape = clip_shape(clip)

    def visual(length: int) -> VisualPrompt:
        return VisualPrompt(length, shape.image_width, shape.image_layers, shape.patch_size)

    prompts = {
        "CoOp": TextPrompt(16, shape.text_width),
        "VPT": visual(16),
        "UPT": UnifiedPrompt(TextPrompt(4, shape.text_width), visual(4)),
    }
    rows = []
    for method in METHODS:
        model = PromptedCLIP(clip, prompts[method], clip_tokenizer())
        counts = count_parameters(clip, prompts[method])
        row = {
            "backbone": backbone,
            "method": method,
            "parameters": counts["num_backbone_params"],
            "trained": counts["num_trainable_params"],
            "seconds_per_image": _seconds_per_image(model),
            "batch": BATCH,
            "classes": CLASSES,
            "threads": torch.get_num_threads(),
        }
        rows.append(row)
    return rows


def _seconds_per_image(model) -> float:
    """Return the median over steps of a batch, forward and backward in float32; the first step is left out."""
    import torch

    size = model.clip.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    images = torch.randn(BATCH, 3, height, width, generator=torch.Generator().manual_seed(0))
    names = [f"class number {k}" for k in range(CLASSES)]
    constant = None
    if not model.has_visual_prompt:  # as in training: a constant tower's features are computed once
        with torch.no_grad():
            constant = model.encode_images(images)
    seconds = []
    for _ in range(STEPS + 1):
        began = time.perf_counter()
        features = constant
        if features is None:
            features = model.encode_images(images)
        loss = model.logits(features, model.encode_classes(names)).logsumexp(1).sum()
        loss.backward()
        seconds.append((time.perf_counter() - began) / BATCH)
    return statistics.median(seconds[1:])
