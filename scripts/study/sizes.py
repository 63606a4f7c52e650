"""What models of the real sizes cost: parameters and the time of a training step, on random weights."""

from __future__ import annotations

import json
import logging
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

METHODS = ("CoOp", "VPT", "UPT")
BATCH, CLASSES, STEPS = 2, 10, 3


def measured(backbones: Sequence[str], path: Path) -> list[dict]:
    """For each backbone and method: parameters (all, trained) and seconds an image of a step; kept in a JSON file."""
    from trainers.engine.results import write_json

    rows = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    for backbone in backbones:
        if not any(row["backbone"] == backbone for row in rows):
            log.info("cost of %s, random weights", backbone)
            rows += _measure(backbone)
            write_json(path, rows)
    return [row for row in rows if row["backbone"] in backbones]


def _measure(backbone: str) -> list[dict]:
    """Median over some steps of a batch of images among `CLASSES` classes, forward and backward, in float32."""
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
    size = clip.visual.image_size
    size = size[0] if isinstance(size, tuple) else size
    names = [f"class number {k}" for k in range(CLASSES)]

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
        images = torch.randn(BATCH, 3, size, size, generator=torch.Generator().manual_seed(0))
        kept = None
        if not model.has_visual_prompt:  # as in training: a constant tower's features are computed once
            with torch.no_grad():
                kept = model.encode_images(images)
        seconds = []
        for _ in range(STEPS + 1):
            began = time.perf_counter()
            features = model.encode_images(images) if kept is None else kept
            loss = model.logits(features, model.encode_classes(names)).logsumexp(1).sum()
            loss.backward()
            seconds.append((time.perf_counter() - began) / BATCH)
        counts = count_parameters(clip, prompts[method])
        rows.append(
            {"backbone": backbone, "method": method, "parameters": counts["num_backbone_params"],
             "trained": counts["num_trainable_params"], "seconds_per_image": statistics.median(seconds[1:]),
             "batch": BATCH, "classes": CLASSES, "threads": torch.get_num_threads()}
        )  # fmt: skip
    return rows
