"""Many prompts on the same tasks: each task's images are read, decoded and, where the image tower holds no prompt,
encoded once for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datasets import Task, build_task
from prompting.checkpoints.foreign import read_prompt
from prompting.model import PromptedCLIP
from prompting.prompts import Prompt
from trainers.features.disk_cache import feature_cache
from trainers.features.extraction import autocast_dtype, class_features, encode, images_of, probabilities
from trainers.features.store import Frozen, device_of, frozen

from . import results
from .config import differences, load

# Keys that say how images and features are computed: prompts are scored together where their runs agree in these.
SHARED = (
    "MODEL.BACKBONE.",
    "INPUT.FROM_BACKBONE",
    "INPUT.SIZE",
    "INPUT.PIXEL_",
    "INPUT.INTERPOLATION",
    "DATASET.CENTER_CROP",
    "TRAINER.MVLPT.PREC",
)


def score_prompts(
    prompts: Sequence[Prompt | str | Path | None], cfg, tasks: Sequence[Task | str], split: str = "test"
) -> np.ndarray:
    """The official metric in percent, (P, T), of P prompts on T tasks: what an evaluation of each prompt on each task
    gives.

    prompts: prompt modules, folders of runs (or checkpoints, see `prompting.checkpoints.foreign.read_prompt`); None is plain CLIP
    with the tasks' templates. cfg: the configuration, whose backbone, INPUT.*, precision, data root and cache serve.
    Raises ValueError where a run's configuration computes features otherwise than `cfg`, and where a class-specific
    prompt does not fit a task.
    """
    columns = [scores for _, scores in scores_by_task(prompts, cfg, tasks, split)]
    return np.stack(columns, axis=1) if columns else np.empty((len(prompts), 0))


def scores_by_task(
    prompts: Sequence[Prompt | str | Path | None], cfg, tasks: Sequence[Task | str], split: str = "test"
) -> Iterator[tuple[Task, np.ndarray]]:
    """The columns of `score_prompts` one by one: a task and the scores (P,) on it."""
    device = torch.device(device_of(cfg))
    common = frozen(cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.PRETRAINED, device_of(cfg))
    models = [_model(prompt, cfg, common) for prompt in prompts]
    for task in tasks:
        task = build_task(cfg, task) if isinstance(task, str) else task
        images = images_of(cfg, [task], split, common.backbone.preprocessing)
        if not len(images):
            raise ValueError(f"{task.name} has no {split} images")
        targets, column, constant = images.targets(0), [], None
        for model, features in zip(models, _features(models, images, cfg, common, device), strict=True):
            if model.prompt is None or model.has_text_prompt:
                classes = _classes(model, task)
            else:  # the same for all prompts of the image tower
                classes = constant = _classes(model, task) if constant is None else constant
            column.append(results.score(task, targets, probabilities(model, features, classes)))
        yield task, np.array(column)


def _features(models: Sequence[PromptedCLIP], images, cfg, common: Frozen, device: torch.device) -> list[Tensor]:
    """Each model's image features (N, d), in one pass over the images."""
    visual = [model for model in models if model.has_visual_prompt]
    prompted: list[Tensor] = []
    plain = None
    if len(visual) < len(models):

        def one_pass(rows) -> Tensor:
            tower = PromptedCLIP(common.backbone.clip, None, common.backbone.tokenizer)
            first, *others = encode([tower, *visual], rows, cfg, device)
            prompted.extend(others)
            return first

        batch_size, precision = cfg.DATALOADER.TEST.BATCH_SIZE, autocast_dtype(cfg, device)
        plain = common.features(images, precision, batch_size, one_pass, feature_cache(cfg))
    if visual and not prompted:
        prompted = encode(visual, images, cfg, device)
    rest = iter(prompted)
    return [next(rest) if model.has_visual_prompt else plain for model in models]


def _model(prompt: Prompt | str | Path | None, cfg, common: Frozen) -> PromptedCLIP:
    """The prompted CLIP of a prompt, or of a run whose features are those of `cfg`."""
    name = "" if prompt is None or isinstance(prompt, Prompt) else str(prompt)
    if name:
        prompt = read_run(name, cfg)
    backbone = common.backbone
    try:
        return PromptedCLIP(backbone.clip, prompt, backbone.tokenizer).to(common.device).eval()
    except ValueError as error:
        raise ValueError(f"{name}: {error}" if name else str(error)) from None


def read_run(folder: str | Path, cfg) -> Prompt | None:
    """The prompt in a run's folder, None for plain CLIP. Raises ValueError where the run's configuration computes features
    otherwise than `cfg`, and FileNotFoundError."""
    stated = Path(folder) / "config.yaml"
    if stated.is_file():
        known = load(stated)
        other = [key for key in differences(known, cfg) if key.startswith(SHARED)]
        if other:
            raise ValueError(f"{folder} was run with another {', '.join(other)} than it is to be scored with")
        if known.TRAINER.NAME == "ZeroshotCLIP":
            return None
    return read_prompt(folder)[0]


def _classes(model: PromptedCLIP, task: Task) -> Tensor:
    try:
        return class_features(model, task)
    except ValueError as error:  # a class-specific context of other classes
        raise ValueError(f"{task.name}: {error}") from None
