"""The costs of models of the real sizes: parameters and the time of a training step, on
random weights.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from toolkit.common.structured import read_json, write_json

log = logging.getLogger(__name__)

VECTORS = {"CoOp": 16, "VPT": 16, "UPT": 4}
BATCH, CLASSES, STEPS = 2, 10, 3


def measured(backbones: Sequence[str], path: Path) -> list[dict]:
    """Return for each backbone and method: parameters (all, trained) and seconds an
    image of a step.

    path: a JSON file that keeps the measured values.
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
    """Measure steps of a batch, forward and backward in float32, among a few classes."""
    import torch

    from prompting.backbones.names import ALIASES
    from prompting.model import count_parameters
    from scripts.benchmarks import steps

    clip = steps.random_clip(ALIASES.get(backbone, backbone))
    size = clip.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    images = torch.randn(BATCH, 3, height, width)
    labels = torch.zeros(BATCH, dtype=torch.long)
    names = steps.source_names(CLASSES)
    rows = []
    for method, n_ctx in VECTORS.items():
        prompt = steps.prompt_of(method, clip, n_ctx, "end")
        step = steps.our_step(clip, prompt, images, labels, names, nullcontext)
        counts = count_parameters(clip, prompt)
        row = {
            "backbone": backbone,
            "method": method,
            "parameters": counts["num_backbone_params"],
            "trained": counts["num_trainable_params"],
            "seconds_per_image": steps.seconds(step, STEPS, "cpu") / BATCH,
            "batch": BATCH,
            "classes": CLASSES,
            "threads": torch.get_num_threads(),
        }
        rows.append(row)
    return rows
