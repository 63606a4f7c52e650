"""Checks of a configuration's values before anything is built, reported together."""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from dassl.data.transforms.transforms import AVAI_CHOICES
from dassl.engine import TRAINER_REGISTRY
from dassl.optim.optimizer import AVAI_OPTIMS
from yacs.config import CfgNode

from datasets import task_name
from toolkit.common.images import BACKGROUNDS, INTERPOLATIONS
from toolkit.common.schedules import SCHEDULES, WARMUPS
from toolkit.common.suggest import nearest

from .config import default_values
from .config_values import flatten
from .declared_keys import merged
from .settings import MAX_VECTORS, MAX_WIDTH, PROJECTIONS, task_names
from .unread_keys import unread_keys

MAX_SEED = 2**32 - 1  # of numpy
MAX_SIDE = 8192
MAX_RATE = 1e30  # optimisers compute with float32
MAX = sys.float_info.max
# key -> another key, and the values of that with which it counts
NEEDED = {
    "MULTITASK.TEMPERATURE": ("MULTITASK.MIXING", ("temperature",)),
    "TEST.HALF_WEIGHT_SHOTS": ("TEST.INTERPOLATE", ("shots", "val")),
}
MOST_BELOW_1 = math.nextafter(1, 0)
POSITIVE, NOT_NEGATIVE = "it must be positive", "it is 0 or more"
BELOW_1, PIXELS = "it is 0 or more, and below 1", "it is 0 to {high} pixels"
PROBABILITY, FROM_TO = "it is a probability, 0 to 1", "it is from {low} to {high}"
WARM_UP = "it is the epochs of warm-up, or -1 for none"
FACTOR = "it is above 0 and at most 1, as the learning rate is multiplied by it"
SOURCE_SHOTS = "give the images per class, 0 for none, -1 for all or -2 for as many as the targets have"
# key -> lowest and highest value, and the end of the message, FROM_TO if there is none
RANGES: dict[str, tuple] = {
    "DATALOADER.TRAIN_X.BATCH_SIZE": (1, MAX, POSITIVE),
    "DATALOADER.TEST.BATCH_SIZE": (1, MAX, POSITIVE),
    "OPTIM.MAX_EPOCH": (1, MAX, POSITIVE),
    "TRAIN.PRINT_FREQ": (1, MAX, POSITIVE),
    "INPUT.CACHED_VIEWS": (0, MAX, NOT_NEGATIVE),
    "OPTIM.MIN_UPDATES": (0, MAX, NOT_NEGATIVE),
    "MULTITASK.SOURCE_EPOCH": (0, MAX, NOT_NEGATIVE),
    "TRAIN.CHECKPOINT_FREQ": (0, MAX, NOT_NEGATIVE),
    "TEST.HALF_WEIGHT_SHOTS": (0, MAX, NOT_NEGATIVE),
    "TRAINER.ANCHOR.TEXT_COSINE": (0, MAX, NOT_NEGATIVE),
    "TRAINER.ANCHOR.TEXT_L1": (0, MAX, NOT_NEGATIVE),
    "TRAINER.ANCHOR.TEXT_L2": (0, MAX, NOT_NEGATIVE),
    "TRAINER.ANCHOR.IMAGE_L1": (0, MAX, NOT_NEGATIVE),
    "TRAINER.ANCHOR.KL": (0, MAX, NOT_NEGATIVE),
    "INPUT.CROP_PADDING": (0, MAX_SIDE, PIXELS),
    "INPUT.CUTOUT_LEN": (0, MAX_SIDE, PIXELS),
    "INPUT.RGS_P": (0, 1, PROBABILITY),
    "INPUT.GB_P": (0, 1, PROBABILITY),
    "OPTIM.WARMUP_EPOCH": (-1, MAX, WARM_UP),
    "OPTIM.GAMMA": (sys.float_info.min, 1, FACTOR),
    "INPUT.CUTOUT_N": (0, 1000),
    "INPUT.GN_MEAN": (-1e9, 1e9),
    "INPUT.GN_STD": (0, 1e9),
    "INPUT.RANDAUGMENT_N": (0, 100),
    "INPUT.RANDAUGMENT_M": (0, 30),
    "INPUT.COLORJITTER_B": (0, 1e9),
    "INPUT.COLORJITTER_C": (0, 1e9),
    "INPUT.COLORJITTER_S": (0, 1e9),
    "INPUT.COLORJITTER_H": (0, 0.5),
    "OPTIM.LR": (0, MAX_RATE),
    "OPTIM.WEIGHT_DECAY": (0, MAX_RATE),
    "OPTIM.WARMUP_CONS_LR": (0, MAX_RATE),
    "OPTIM.WARMUP_MIN_LR": (0, MAX_RATE),
    "CACHE.MAX_GB": (0, 1e9),
    "DATALOADER.NUM_WORKERS": (0, 1024),
    "OPTIM.MOMENTUM": (0, 1),
    "OPTIM.SGD_DAMPNING": (0, 1),
    "OPTIM.RMSPROP_ALPHA": (0, 1),
    "MULTITASK.TEMPERATURE": (0.02, 1e9),
    "TRAINER.MVLPT.VPT.DROPOUT": (0, 1),
    "TRAINER.MVLPT.VPT.N_CTX": (0, MAX_VECTORS),
    "TRAINER.MVLPT.VPT.PROJECT": (-1, MAX_WIDTH),
    "TRAINER.MVLPT.COOP.N_CTX": (0, MAX_VECTORS),
    "TRAINER.MVLPT.PROJECT_DIM": (1, MAX_WIDTH),
    "TRAINER.MVLPT.PROJECT_HEADS": (1, MAX_WIDTH),
    "TRAINER.MVLPT.PROJECT_LAYERS": (1, 128),
    "OPTIM.ADAM_BETA1": (0, MOST_BELOW_1, BELOW_1),
    "OPTIM.ADAM_BETA2": (0, MOST_BELOW_1, BELOW_1),
    "MULTITASK.SOURCE_SHOTS": (-2, MAX, SOURCE_SHOTS),
}
# of the reference, which tell which file is which split: nothing reads them
UNREAD = {
    "DATASET.VAL_SET": "",
    "DATASET.TRAIN_SET": "train",
    "DATASET.TEST_SET": "val",
}
SPLITS = ("test", "val")
CHOICES = {
    "TRAINER.MVLPT.PREC": ("fp32", "fp16", "bf16", "amp"),
    "TRAINER.MVLPT.PROJECT_METHOD": tuple(PROJECTIONS),
    "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION": ("front", "middle", "end"),
    "TRAINER.ANCHOR.TO": ("zero_shot", "source", "both"),
    "TRAINER.ANCHOR.TEMPLATES": ("task", "imagenet"),
    "MULTITASK.LABEL_SPACE": ("task", "union"),
    "MULTITASK.MIXING": ("proportional", "uniform", "temperature"),
    "INPUT.BACKGROUND": BACKGROUNDS,
    "OPTIM.NAME": AVAI_OPTIMS,
    "OPTIM.LR_SCHEDULER": SCHEDULES,
    "OPTIM.WARMUP_TYPE": WARMUPS,
    "INPUT.INTERPOLATION": INTERPOLATIONS,
    "DATASET.SUBSAMPLE_CLASSES": ("all", "base", "new"),
    "TEST.SPLIT": SPLITS,
    "TEST.INTERPOLATE": ("", "shots", "val"),
    "TEST.FINAL_MODEL": ("last_step", "best_val"),
}


def check(cfg: CfgNode, multitask: bool) -> None:
    """Raise ValueError with all that is wrong in the configuration alone, a line each.

    multitask: the trainer learns several tasks at a time.
    """
    issues = [
        *wrong_values(cfg),
        *_wrong_tasks(cfg, multitask),
        *_wrong_contexts(cfg),
        *unread_keys(cfg, task_names(cfg)),
        *_idle_values(cfg),
    ]
    if issues:
        raise ValueError("\n".join(issues))


def _idle_values(cfg: CfgNode) -> list[str]:
    """Return a message for each value that counts only beside another key's."""
    values, defaults = dict(flatten(cfg)), default_values()
    issues = []
    for key, (other, wanted) in NEEDED.items():
        if values[key] != defaults[key] and values[other] not in wanted:
            issues.append(
                f"{key} is {values[key]}, but {other} is {values[other]!r}: it counts with {' or '.join(wanted)}"
            )
    return issues


def wrong_values(cfg: CfgNode) -> list[str]:
    """Return a message for each choice or number that no trainer can have."""
    values = dict(flatten(cfg))
    issues = []
    for key, default in UNREAD.items():
        if values[key] != default:
            issues.append(
                f"{key} is {values[key]!r}, but nothing reads it: leave it at {default!r}"
            )
    for key, choices in CHOICES.items():
        issues += choice(key, values[key], choices)
    return [*issues, *_wrong_numbers(cfg), *_wrong_images(cfg)]


def multitask_advice(trainer: str) -> str:
    """Return the end of a message: the trainer's multitask form, if there is one."""
    form = f"M{trainer}"
    if form in TRAINER_REGISTRY.registered_names():
        return f"; use {form}"
    return ""


def _wrong_tasks(cfg: CfgNode, multitask: bool) -> list[str]:
    names = task_names(cfg)
    issues = []
    if not names:
        issues.append("no task is given: use --dataset (DATASET.DATASET)")
    if len(names) > 1 and not multitask:
        name = cfg.TRAINER.NAME
        issues.append(
            f"{name} learns one task at a time, DATASET.DATASET names {len(names)}{multitask_advice(name)}"
        )
    if len(names) > 1 and cfg.TRAINER.MVLPT.COOP.CSC:
        issues.append(
            "TRAINER.MVLPT.COOP.CSC: a class-specific context belongs to one task's classes, "
            "it can't serve several tasks"
        )
    labels = [task_name(name) for name in names]
    for label, count in Counter(labels).items():
        if count > 1:
            issues.append(f"task {label} is given twice")
    evaluated = cfg.DATASET.MULTITASK_EVALKEY
    if evaluated not in labels:
        issues += choice("DATASET.MULTITASK_EVALKEY", evaluated, ("average", *labels))
    return issues


def out_of_range(
    values: Mapping[str, object], ranges: Mapping[str, tuple]
) -> list[str]:
    """Return a message for each number that is not in its range, as in `RANGES`."""
    issues = []
    for key, (low, high, *text) in ranges.items():
        if not low <= values[key] <= high:
            reason = [*text, FROM_TO][0].format(low=low, high=high)
            issues.append(f"{key} is {values[key]}; {reason}")
    return issues


def wrong_seed(name: str, seed: int) -> list[str]:
    """Return a message if a seed is not one of numpy's."""
    if seed < 0:
        return [f"{name} is {seed}; a seed is 0 or more"]
    if seed > MAX_SEED:
        return [f"{name} is {seed}; a seed is at most {MAX_SEED}"]
    return []


def _wrong_numbers(cfg: CfgNode) -> list[str]:
    values = dict(flatten(cfg))
    declared = merged(TRAINER_REGISTRY.get(cfg.TRAINER.NAME), "ranges")
    issues = wrong_seed("SEED (--seed)", cfg.SEED)
    sampling = cfg.DATASET.RANDOM_SEED_SAMPLING
    if sampling != cfg.SEED:  # one flag sets both
        issues += wrong_seed("DATASET.RANDOM_SEED_SAMPLING", sampling)
    issues += out_of_range(values, RANGES | declared)
    optim = cfg.OPTIM
    if optim.SGD_NESTEROV and (optim.MOMENTUM == 0 or optim.SGD_DAMPNING != 0):
        issues.append(
            "OPTIM.SGD_NESTEROV needs OPTIM.MOMENTUM above 0 and OPTIM.SGD_DAMPNING 0"
        )
    return issues + wrong_stepsize(optim)


def wrong_stepsize(optim: CfgNode) -> list[str]:
    """Return a message if OPTIM.STEPSIZE does not fit the schedule."""
    epochs = list(optim.STEPSIZE)
    start = f"OPTIM.STEPSIZE is {optim.STEPSIZE}; "
    if not epochs or not all(type(epoch) is int for epoch in epochs):
        return [start + "it is a list of epochs, whole numbers"]
    if min(epochs) >= 1:
        return []
    if optim.LR_SCHEDULER == "multi_step":
        return [start + "multi_step needs the epochs of its steps, from 1"]
    if epochs == [-1]:  # Dassl's default
        return []
    return [start + "epochs count from 1, and [-1] is OPTIM.MAX_EPOCH"]


def _wrong_images(cfg: CfgNode) -> list[str]:
    node = cfg.INPUT
    issues = []
    sides = list(node.SIZE)
    is_square = len(set(sides)) == 1 and _are_numbers(sides, 1, MAX_SIDE)
    if not is_square or type(sides[0]) is not int:
        issues.append(
            f"INPUT.SIZE is {node.SIZE}; it is the side of a square in pixels, 1 to {MAX_SIDE}"
        )
    issues += wrong_colours(node)
    if node.GB_K < 1 or node.GB_K % 2 == 0:
        issues.append(f"INPUT.GB_K is {node.GB_K}; it is an odd number of pixels")
    scale = list(node.RRCROP_SCALE)
    if len(scale) != 2 or not _are_numbers(scale, 1e-6, 1) or scale[0] > scale[1]:
        issues.append(
            f"INPUT.RRCROP_SCALE is {node.RRCROP_SCALE}; it is the least and the largest share of the image, in 0 to 1"
        )
    for name in node.TRANSFORMS:
        issues += choice("INPUT.TRANSFORMS", name, AVAI_CHOICES)
    return issues


def wrong_colours(node: CfgNode) -> list[str]:
    """Return messages about INPUT.PIXEL_MEAN and INPUT.PIXEL_STD."""
    issues = []
    for key, low, kind in (
        ("PIXEL_MEAN", -math.inf, "three numbers"),
        ("PIXEL_STD", sys.float_info.min, "three positive numbers"),
    ):
        values = node[key]
        if len(values) != 3 or not _are_numbers(values, low, math.inf):
            issues.append(
                f"INPUT.{key} is {values}; it is {kind}: of red, green and blue"
            )
    return issues


def _are_numbers(values: Sequence[object], low: float, high: float) -> bool:
    """Return True if all are finite numbers from `low` to `high`."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if not math.isfinite(value) or not low <= value <= high:
            return False
    return True


def _wrong_contexts(cfg: CfgNode) -> list[str]:
    node = cfg.TRAINER.MVLPT
    issues = []
    if node.VPT.PROJECT == 0:
        issues.append(
            "TRAINER.MVLPT.VPT.PROJECT is 0; it is the width of the vectors, or -1 for that of the tower"
        )
    if node.PROJECT_HEADS > 0 and node.PROJECT_DIM % node.PROJECT_HEADS:
        issues.append(
            f"TRAINER.MVLPT.PROJECT_DIM is {node.PROJECT_DIM}; it is a multiple of PROJECT_HEADS, {node.PROJECT_HEADS}"
        )
    if node.COCOOP.N_CTX:
        issues.append(
            "TRAINER.MVLPT.COCOOP.N_CTX: contexts that depend on the image are learned alone: "
            "use --trainer CoCoOp, or MVLPT with no other N_CTX"
        )
    if node.VPT.CTX_INIT:
        issues.append(
            "TRAINER.MVLPT.VPT.CTX_INIT: visual contexts can't start from words"
        )
    return issues


def choice(key: str, value: object, choices: Sequence[str]) -> list[str]:
    """Return a message that names the nearest choice if the value is none of them."""
    if value in choices:
        return []
    return [
        f"{key} is {value!r}; it is one of {', '.join(choices)} (nearest: {nearest(value, choices)[0]})"
    ]
