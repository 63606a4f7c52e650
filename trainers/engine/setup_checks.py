"""Checks of a configuration against its backbone and tasks, without a trainer."""

from __future__ import annotations

from prompting.model import PromptedCLIP
from prompting.prompts import Prompt
from trainers.features.builders import preprocessing_of, training_transform

from . import results
from .context import PromptSetup


def check_images(setup: PromptSetup) -> None:
    """Raise ValueError if INPUT.* or TEST.* do not fit the backbone or the tasks."""
    cfg, default = setup.cfg, setup.backbone.preprocessing
    size = preprocessing_of(cfg, default).size
    if size != default.size:
        name = results.backbone_name(cfg)
        raise ValueError(
            f"INPUT.SIZE is {size}, but {name} takes images of {default.size} x {default.size} pixels"
        )
    try:
        training_transform(cfg, default)
    except (TypeError, IndexError, ValueError) as error:
        raise ValueError(
            f"INPUT: no transforms {', '.join(cfg.INPUT.TRANSFORMS)} with these values: {error}"
        ) from None
    for task in setup.tasks:
        is_selected = cfg.DATASET.MULTITASK_EVALKEY in ("average", task.name)
        if cfg.TEST.SPLIT == "val" and not task.val and is_selected:
            raise ValueError(
                f"TEST.SPLIT is val, but {task.name} has no validation images"
            )
        if cfg.TEST.COMPUTE_CMAT and task.label_kind == "multilabel":
            raise ValueError(
                f"TEST.COMPUTE_CMAT: images of {task.name} have several labels, so there is no such matrix"
            )


def check_classes(setup: PromptSetup, prompt: Prompt | None) -> None:
    """Raise ValueError naming a class that is too long, or an image without a label."""
    backbone = setup.backbone
    model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer)
    for task in setup.tasks:
        has_templates = prompt is None or prompt.task_templates
        templates = task.templates if has_templates else None
        try:
            model.check_classes(task.classnames, templates, task.name)
        except ValueError as error:
            raise ValueError(f"{task.name}: {error}") from None
        for sample in [*task.val, *task.test]:
            if not sample.labels and task.label_kind != "multilabel":
                raise ValueError(
                    f"{task.name}: {sample.key} has no label; {task.metric} is of images with one"
                )
