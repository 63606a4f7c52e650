"""TEST.INTERPOLATE: zero-shot CLIP and a prompt (WiSE-FT, Wortsman et al. 2022)."""

from yacs.config import CfgNode

from prompting.anchored import AnchoredPrompt
from prompting.prompts import Prompt

WEIGHTS = tuple(step / 10 for step in range(11))  # that validation chooses from


def weight_of_shots(shots: int, half: float) -> float:
    """Return the weight of the prompted model, shots / (shots + half): 1/2 at `half`
    images a class; 1 for all images (-1), or if `half` is 0.
    """
    if shots < 0 or half == 0:
        return 1.0
    return shots / (shots + half)


def weight_of(cfg: CfgNode) -> float:
    """Return the weight of the prompted model before validation is asked."""
    if not cfg.TEST.INTERPOLATE:
        return 1.0
    return weight_of_shots(cfg.DATASET.NUM_SHOTS, cfg.TEST.HALF_WEIGHT_SHOTS)


def interpolated(prompt: Prompt | None, cfg: CfgNode) -> Prompt | None:
    """Return a prompt beside zero-shot CLIP if TEST.INTERPOLATE says so, else as it is.
    Raise ValueError for a prompt that weighs two models already, and for none.
    """
    if not cfg.TEST.INTERPOLATE or isinstance(prompt, AnchoredPrompt):
        return prompt
    if prompt is None:
        raise ValueError(f"TEST.INTERPOLATE: {cfg.TRAINER.NAME} has no prompt")
    contexts = prompt.contexts()
    if contexts.insertion is not None or contexts.class_offsets is not None:
        raise ValueError(
            f"TEST.INTERPOLATE: {prompt.describe()} has its weights already"
        )
    prompt = AnchoredPrompt(prompt, one_template=not prompt.task_templates)
    prompt.weight.fill_(weight_of(cfg))
    return prompt


def check_validation(cfg: CfgNode, tasks: list) -> None:
    """Raise ValueError if validation cannot choose the weight."""
    if cfg.TEST.INTERPOLATE != "val":
        return
    if cfg.DATASET.TRAIN_ON_VAL:
        raise ValueError(
            "TEST.INTERPOLATE is val, but DATASET.TRAIN_ON_VAL trains on these images; take shots"
        )
    if cfg.TEST.FINAL_MODEL != "last_step":
        raise ValueError(
            "TEST.INTERPOLATE val needs TEST.FINAL_MODEL last_step: one choice by these images"
        )
    for task in tasks:
        if not task.val:
            raise ValueError(
                f"TEST.INTERPOLATE is val, but {task.name} has no validation images; take shots"
            )
