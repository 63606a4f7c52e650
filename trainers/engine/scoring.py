"""Many prompts on the same tasks, whose images are decoded and encoded once."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from datasets import Task, build_task
from datasets.multitask import MultitaskDataset
from prompting.checkpoints.foreign import read_prompt
from prompting.model import PromptedCLIP
from prompting.prompts import Prompt
from toolkit.common.text import naming
from trainers.features.builders import build_images, build_store
from trainers.features.extraction import class_features, encode_images, probabilities
from trainers.features.store import FeatureStore, LoadedBackbone

from . import results
from .config import differences, load
from .start import check_class_list

PromptOrRun = Prompt | str | Path | None
# Keys that say how images and features are computed: prompts are scored together if
# their runs agree in these.
SHARED = (
    "MODEL.BACKBONE.",
    "INPUT.FROM_BACKBONE",
    "INPUT.SIZE",
    "INPUT.PIXEL_",
    "INPUT.INTERPOLATION",
    "INPUT.BACKGROUND",
    "DATASET.CENTER_CROP",
    "TRAINER.MVLPT.PREC",
)


def score_prompts(
    prompts: Sequence[PromptOrRun],
    cfg,
    tasks: Sequence[Task | str],
    split: str = "test",
) -> np.ndarray:
    """Return the official metric in percent, (P, T), of P prompts on T tasks, equal to
    P x T evaluations. prompts: modules, folders of runs or checkpoints; None is plain
    CLIP with the tasks' templates. Raises ValueError if a run computes features in
    another way than `cfg`, or a class-specific prompt does not fit a task.
    """
    store = build_store(cfg)
    backbone = store.backbone
    models = [_model(prompt, cfg, backbone) for prompt in prompts]
    folders = [prompt for prompt in prompts if isinstance(prompt, (str, Path))]
    scores = np.empty((len(prompts), len(tasks)))
    for column, task in enumerate(tasks):
        if isinstance(task, str):
            task = build_task(cfg, task)
        for folder in folders:
            check_class_list(folder, task.classnames)
        images = build_images(cfg, [task], split, backbone.preprocessing)
        if not len(images):
            raise ValueError(f"{task.name} has no {split} images")
        scores[:, column] = _scores(models, task, images, store)
    return scores


def _scores(
    models: Sequence[PromptedCLIP],
    task: Task,
    images: MultitaskDataset,
    store: FeatureStore,
) -> list[float]:
    targets = images.targets(0)
    scores, constant = [], None
    for model, features in zip(models, _features(models, images, store), strict=True):
        is_constant = _has_constant_classes(model)
        if is_constant and constant is not None:
            classes = constant
        else:
            with naming(task.name):  # a class-specific context of other classes
                classes = class_features(model, task)
        if is_constant:  # the same for all prompts of the image tower
            constant = classes
        values = probabilities(model, features, classes)
        scores.append(results.score(task, targets, values))
    return scores


def _features(
    models: Sequence[PromptedCLIP], images: MultitaskDataset, store: FeatureStore
) -> list[Tensor]:
    prompted = [model for model in models if model.has_visual_prompt]
    if len(prompted) == len(models):
        return encode_images(models, images, store.settings)
    constant, others = store.of_task(images, 0, prompted=prompted)
    rest = iter(others)
    return [next(rest) if model.has_visual_prompt else constant for model in models]


def _model(prompt: PromptOrRun, cfg, backbone: LoadedBackbone) -> PromptedCLIP:
    """Return the prompted CLIP of a prompt, or of a run that fits `cfg`."""
    name = ""
    if isinstance(prompt, (str, Path)):
        name = f"{prompt}: "
        prompt = read_run(prompt, cfg)
    try:
        model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer)
    except ValueError as error:
        raise ValueError(f"{name}{error}") from None
    return model.to(backbone.device).eval()


def read_run(folder: str | Path, cfg) -> Prompt | None:
    """Return the prompt in a run's folder, None for plain CLIP. Raises ValueError if the
    run computes features in another way than `cfg`, and FileNotFoundError.
    """
    file = Path(folder) / "config.yaml"
    if file.is_file():
        known = load(file)
        changed = differences(known, cfg)
        other = [key for key in changed if key.startswith(SHARED)]
        if other:
            raise ValueError(
                f"{folder} was run with another {', '.join(other)} than it is to be scored with"
            )
        if known.TRAINER.NAME == "ZeroshotCLIP":
            return None
    return read_prompt(folder)[0]


def _has_constant_classes(model: PromptedCLIP) -> bool:
    if not model.has_visual_prompt or model.has_text_prompt or model.has_class_contexts:
        return False
    return not model.prompt.task_templates and model.contexts().weight == 1
