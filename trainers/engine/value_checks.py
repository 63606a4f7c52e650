"""Checks before anything is built: of a configuration's values and keys, reported
together, and against its backbone and tasks. Another value than the default in a key
that no trainer of a run reads, or such a key given on a command line or in a plan, is
an error, not silence.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY
from dassl.data.transforms.transforms import AVAI_CHOICES
from dassl.optim.optimizer import AVAI_OPTIMS
from yacs.config import CfgNode

from datasets import is_custom, task_name
from prompting.model import PromptedCLIP
from prompting.prompts import Prompt
from toolkit.common.images import BACKGROUNDS, INTERPOLATIONS
from toolkit.common.schedules import SCHEDULES, WARMUPS
from toolkit.common.suggest import nearest
from toolkit.common.text import naming
from trainers.features.builders import preprocessing_of, training_transform

from . import results, settings
from .config import default_values, is_native, trainer_class, without_alias
from .config_values import as_list, flatten
from .context import PromptSetup
from .settings import RANGES, TABLES, reads, registered_trainers, task_names

Values = Mapping[str, object]  # key -> value
MAX_SEED = 2**32 - 1  # of numpy
MAX_SIDE = RANGES["INPUT.CUTOUT_LEN"][1]
# key -> another key, and the values of that with which it counts
NEEDED = {
    "MULTITASK.TEMPERATURE": ("MULTITASK.MIXING", ("temperature",)),
    "TEST.HALF_WEIGHT_SHOTS": ("TEST.INTERPOLATE", ("shots", "val")),
}
SPLITS = ("test", "val")
CHOICES = {
    "TRAINER.MVLPT.PREC": ("fp32", "fp16", "bf16", "amp"),
    "TRAINER.MVLPT.PROJECT_METHOD": tuple(settings.PROJECTIONS),
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
    """Raise ValueError with all that is wrong in the configuration alone, a line each."""
    values, defaults = dict(flatten(cfg)), default_values()
    issues = []
    # the reference tells by them which file is which split
    for key in ("DATASET.VAL_SET", "DATASET.TRAIN_SET", "DATASET.TEST_SET"):
        if values[key] != defaults[key]:
            issues.append(
                f"{key} is {values[key]!r}, but nothing reads it: leave it at {defaults[key]!r}"
            )
    for key, choices in CHOICES.items():
        issues += choice(key, values[key], choices)
    issues += [
        *_wrong_numbers(cfg, values),
        *_wrong_images(cfg.INPUT),
        *_wrong_tasks_and_contexts(cfg, multitask),
        *_unread_keys(cfg, values),
    ]
    for key, (other, wanted) in NEEDED.items():
        if values[key] != defaults[key] and values[other] not in wanted:
            issues.append(
                f"{key} is {values[key]}, but {other} is {values[other]!r}: it counts with {' or '.join(wanted)}"
            )
    if issues:
        raise ValueError("\n".join(issues))


def choice(key: str, value: object, choices: Sequence[str]) -> list[str]:
    """Return a message that names the nearest choice if the value is none of them."""
    if value in choices:
        return []
    known = f"{', '.join(choices)} (nearest: {nearest(value, choices)[0]})"
    return [f"{key} is {value!r}; it is one of {known}"]


def _wrong_numbers(cfg: CfgNode, values: Values) -> Iterator[str]:
    yield from wrong_seed("SEED (--seed)", cfg.SEED)
    sampling = cfg.DATASET.RANDOM_SEED_SAMPLING
    if sampling != cfg.SEED:  # one flag sets both
        yield from wrong_seed("DATASET.RANDOM_SEED_SAMPLING", sampling)
    declared = settings.merged(trainer_class(cfg.TRAINER.NAME), "ranges")
    yield from out_of_range(values, RANGES | declared)
    optim = cfg.OPTIM
    if optim.SGD_NESTEROV and (optim.MOMENTUM == 0 or optim.SGD_DAMPNING != 0):
        yield "OPTIM.SGD_NESTEROV needs OPTIM.MOMENTUM above 0 and OPTIM.SGD_DAMPNING 0"
    yield from wrong_stepsize(optim)


def wrong_seed(name: str, seed: int) -> Iterator[str]:
    """Yield a message if a seed is not one of numpy's."""
    if seed < 0:
        yield f"{name} is {seed}; a seed is 0 or more"
    if seed > MAX_SEED:
        yield f"{name} is {seed}; a seed is at most {MAX_SEED}"


def out_of_range(values: Values, ranges: Mapping[str, Sequence]) -> Iterator[str]:
    """Yield a message for each number that is not in its range, as in `RANGES`."""
    for key, (low, high, *text) in ranges.items():
        if not low <= values[key] <= high:
            reason = text[0] if text else "it is from {low} to {high}"
            yield f"{key} is {values[key]}; {reason.format(low=low, high=high)}"


def wrong_stepsize(optim: CfgNode) -> Iterator[str]:
    """Yield a message if OPTIM.STEPSIZE does not fit the schedule."""
    epochs, reason = list(optim.STEPSIZE), ""
    if not epochs or not all(type(epoch) is int for epoch in epochs):
        reason = "it is a list of epochs, whole numbers"
    elif min(epochs) < 1 and optim.LR_SCHEDULER == "multi_step":
        reason = "multi_step needs the epochs of its steps, from 1"
    elif min(epochs) < 1 and epochs != [-1]:  # Dassl's default
        reason = "epochs count from 1, and [-1] is OPTIM.MAX_EPOCH"
    if reason:
        yield f"OPTIM.STEPSIZE is {optim.STEPSIZE}; {reason}"


def _wrong_images(node: CfgNode) -> Iterator[str]:
    sides = list(node.SIZE)
    is_square = len(set(sides)) == 1 and _are_numbers(sides, 1, MAX_SIDE)
    if not is_square or type(sides[0]) is not int:
        yield f"INPUT.SIZE is {node.SIZE}; it is the side of a square in pixels, 1 to {MAX_SIDE}"
    yield from wrong_colours(node)
    if node.GB_K < 1 or node.GB_K % 2 == 0:
        yield f"INPUT.GB_K is {node.GB_K}; it is an odd number of pixels"
    scale = list(node.RRCROP_SCALE)
    if len(scale) != 2 or not _are_numbers(scale, 1e-6, 1) or scale[0] > scale[1]:
        yield f"INPUT.RRCROP_SCALE is {node.RRCROP_SCALE}; it is the least and the largest share of the image, in 0 to 1"
    for name in node.TRANSFORMS:
        yield from choice("INPUT.TRANSFORMS", name, AVAI_CHOICES)


def wrong_colours(node: CfgNode) -> Iterator[str]:
    """Yield messages about INPUT.PIXEL_MEAN and INPUT.PIXEL_STD."""
    for key, low, kind in (
        ("PIXEL_MEAN", -math.inf, "three numbers"),
        ("PIXEL_STD", sys.float_info.min, "three positive numbers"),
    ):
        values = node[key]
        if len(values) != 3 or not _are_numbers(values, low, math.inf):
            yield f"INPUT.{key} is {values}; it is {kind}: of red, green and blue"


def _are_numbers(values: Sequence[object], low: float, high: float) -> bool:
    """Return True if all are finite numbers from `low` to `high`."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return False
        if not math.isfinite(value) or not low <= value <= high:
            return False
    return True


def _wrong_tasks_and_contexts(cfg: CfgNode, multitask: bool) -> Iterator[str]:
    names, trainer, node = task_names(cfg), cfg.TRAINER.NAME, cfg.TRAINER.MVLPT
    if not names:
        yield "no task is given: use --dataset (DATASET.DATASET)"
    if len(names) > 1 and not multitask:
        yield f"{trainer} learns one task at a time, DATASET.DATASET names {len(names)}{multitask_advice(trainer)}"
    if len(names) > 1 and node.COOP.CSC:
        yield (
            "TRAINER.MVLPT.COOP.CSC: a class-specific context belongs to one task's classes, "
            "it can't serve several tasks"
        )
    labels = [task_name(name) for name in names]
    for label, count in Counter(labels).items():
        if count > 1:
            yield f"task {label} is given twice"
    evaluated = cfg.DATASET.MULTITASK_EVALKEY
    yield from choice("DATASET.MULTITASK_EVALKEY", evaluated, ("average", *labels))
    if node.VPT.PROJECT == 0:
        yield "TRAINER.MVLPT.VPT.PROJECT is 0; it is the width of the vectors, or -1 for that of the tower"
    if node.PROJECT_HEADS > 0 and node.PROJECT_DIM % node.PROJECT_HEADS:
        yield f"TRAINER.MVLPT.PROJECT_DIM is {node.PROJECT_DIM}; it is a multiple of PROJECT_HEADS, {node.PROJECT_HEADS}"
    if node.COCOOP.N_CTX:
        yield (
            "TRAINER.MVLPT.COCOOP.N_CTX: contexts that depend on the image are learned alone: "
            "use --trainer CoCoOp, or MVLPT with no other N_CTX"
        )
    if node.VPT.CTX_INIT:
        yield "TRAINER.MVLPT.VPT.CTX_INIT: visual contexts can't start from words"


def multitask_advice(trainer: str) -> str:
    """Return the end of a message: the trainer's multitask form, if there is one."""
    known = registered_trainers()
    return f"; use M{trainer}" if f"M{trainer}" in known else ""


def _unread_keys(cfg: CfgNode, values: Values) -> Iterator[str]:
    """Yield a message for each key of Dassl that is changed, but not read."""
    trainer = cfg.TRAINER.NAME
    advice = dict(TABLES["unread"])
    if all(_is_ours(task) for task in task_names(cfg)):
        advice |= dict.fromkeys(TABLES["of_datasets"], "")
    for name, transforms in TABLES["of_transforms"].items():
        if not set(transforms).intersection(cfg.INPUT.TRANSFORMS):
            advice[name] = f"INPUT.TRANSFORMS has no {' or '.join(transforms)}"
    for key, default in flatten(get_cfg_default()):
        value = values.get(key, default)
        if key == "TRAINER.NAME" or as_list(value) == as_list(default):
            continue
        for name in ("TRAINER.", *advice):
            if key == name or (name.endswith((".", "_")) and key.startswith(name)):
                reason = f"; {advice[name]}" if advice.get(name) else ""
                yield f"{key} is {value!r}, but {trainer} does not read it: leave it at {default!r}{reason}"
                break


def _is_ours(task: str) -> bool:
    if is_custom(task) or task not in DATASET_REGISTRY.registered_names():
        return True
    return DATASET_REGISTRY.get(task).__module__.startswith("datasets.")


def unread_pairs(cfg: CfgNode, given: Iterable[str]) -> list[str]:
    """Return the given keys of a configuration that only other trainers read. A shared
    key may be given at its default, as the reference's scripts do.
    """
    cls = trainer_class(cfg.TRAINER.NAME)
    declared = map(settings.declared_keys, registered_trainers().values())
    others = set().union(*declared).difference(settings.declared_keys(cls))
    values, defaults = dict(flatten(cfg)), default_values()
    unread = []
    for name in given:
        key = without_alias(name) if is_native(cls) else name
        shared = key.startswith(settings.SHARED_KEYS) and reads(cls, key) is False
        if key in others or (shared and values[key] != defaults[key]):
            unread.append(name)
    return unread


def unread_message(given: str, trainers: Sequence[str]) -> str:
    """Return the sentence about a given key that none of these trainers reads."""
    key, known = without_alias(given), registered_trainers()
    found = {name for name in known if reads(known[name], key)}
    if not found:
        return f"{given} is given, but no trainer reads it: leave it out"
    others = sorted(found - {f"M{name}" for name in found})
    verb = "does" if len(trainers) == 1 else "do"
    return (
        f"{given} is given, but {', '.join(trainers)} {verb} not read it: leave it out, or use "
        f"--trainer {' or '.join(others)}"
    )


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
        is_scored = cfg.DATASET.MULTITASK_EVALKEY in ("average", task.name)
        if cfg.TEST.SPLIT == "val" and not task.val and is_scored:
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
        with naming(task.name):
            model.check_classes(task.classnames, templates, task.name)
        for sample in [*task.val, *task.test]:
            if not sample.labels and task.label_kind != "multilabel":
                raise ValueError(
                    f"{task.name}: {sample.key} has no label; {task.metric} is of images with one"
                )
