"""The prompt that a run starts from: loaded strictly, after checking that it fits the configuration and the tasks."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from prompting.backbones.loading import differences
from prompting.checkpoints.foreign import Checkpoint, checkpoint_path, position_in, read_checkpoint
from prompting.checkpoints.prompt_files import load_prompts, load_state
from prompting.prompts import Prompt
from prompting.shape import check_fits
from toolkit.common.structured import read_json
from trainers.features.builders import preprocessing_of

from .context import PromptSetup

log = logging.getLogger(__name__)


def load_start(prompt: Prompt, setup: PromptSetup, directory: str, epoch: int | None = None) -> list[str]:
    """Load the prompt in a run's folder into `prompt`; return warnings about it.

    The folder may be the reference's or CoOp's. Loaded is the best prompt, the last one if no best was kept, or that
    of `epoch`. Raises ValueError if it does not fit, and FileNotFoundError.
    """
    path = checkpoint_path(directory, epoch)
    checkpoint = read_checkpoint(path)
    _check_classes(setup, directory, path)
    state = checkpoint.prompt_state()
    warnings = _compare_preprocessing(setup, directory)
    if checkpoint.foreign:
        _check_projection(setup, prompt, checkpoint)
        warnings += _foreign_warnings(setup, prompt, checkpoint)
    try:
        load_state(prompt, state)
    except ValueError as error:
        source = path
        holds = checkpoint.describe()
        if holds:
            source = f"{path} holds {holds}"
        raise ValueError(f"{source}: {error}") from None
    label = "?" if checkpoint.epoch is None else checkpoint.epoch
    log.debug("loaded the prompt of epoch %s from %s", label, os.path.basename(os.path.normpath(directory)))
    return warnings


def preprocessing_record(setup: PromptSetup) -> dict:
    """Return how images are prepared, as prompts.safetensors states it."""
    mode = "squash"
    if setup.cfg.DATASET.CENTER_CROP:
        modes = {task.crop for task in setup.tasks}
        mode = modes.pop() if len(modes) == 1 else "crop"
    return preprocessing_of(setup.cfg, setup.backbone.preprocessing).record(mode)


def _check_classes(setup: PromptSetup, directory: str, path: str) -> None:
    """Raise ValueError if a class-specific context was learned for other classes."""
    file = Path(directory) / "prompt_learner" / "classes.json"
    if not setup.cfg.TRAINER.MVLPT.COOP.CSC or not file.is_file():
        return
    known, wanted = read_json(file), setup.tasks[0].classnames
    if len(known) != len(wanted):
        return  # the shapes tell
    other = [name for name, stored in zip(wanted, known, strict=True) if name != stored]
    if other:
        raise ValueError(
            f"{path} holds contexts for another class list: {', '.join(other[:3])} stand elsewhere or not there"
        )


def _compare_preprocessing(setup: PromptSetup, directory: str) -> list[str]:
    """Return a warning if the prompt was learned on images that were prepared differently."""
    path = Path(directory) / "prompts.safetensors"
    if not path.is_file():
        return []
    stored = load_prompts(path)[1].get("preprocessing") or {}
    other = differences(stored, preprocessing_record(setup))
    return [f"{path}: its prompt was learnt with another preprocessing: {other}"] if other else []


def _check_projection(setup: PromptSetup, prompt: Prompt, checkpoint: Checkpoint) -> None:
    """Raise ValueError if the tensors were trained with another θ than the configuration's."""
    if checkpoint.per_token and getattr(prompt, "theta", "per-token") != "per-token":
        raise ValueError(
            f"{checkpoint.path} was trained with the reference's θ, which maps each vector by itself: set "
            f"TRAINER.MVLPT.PROJECT_METHOD to per-token (it is {setup.cfg.TRAINER.MVLPT.PROJECT_METHOD})"
        )


def _foreign_warnings(setup: PromptSetup, prompt: Prompt, checkpoint: Checkpoint) -> list[str]:
    """Return what the shapes of a foreign checkpoint do not tell."""
    warnings = [checkpoint.left_out] if checkpoint.left_out else []
    if check_fits(prompt, setup.backbone.clip).text is None:
        return warnings
    file = os.path.basename(checkpoint.path)
    node = setup.cfg.TRAINER.MVLPT.COOP
    position = position_in(os.path.abspath(checkpoint.path))
    if position not in (None, node.CLASS_TOKEN_POSITION):
        warnings.append(
            f"{file}: its folder's name says that class names stand at the {position}; "
            f"TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION is {node.CLASS_TOKEN_POSITION}"
        )
    if node.CSC:
        warnings.append(f"{file}: its contexts are taken to be in the order of this task's classes")
    return warnings
