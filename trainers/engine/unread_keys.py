"""Keys that no trainer of a run reads: another value than the default, or a key given
on a command line or in a plan, is an error, not silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from datasets import is_custom

from .config import default_values, is_native, trainer_class, without_alias
from .config_values import as_list, flatten
from .declared_keys import SHARED_KEYS, keys_of_others, readers, reads

ADVICE = {
    "INPUT.NO_TRANSFORM": "",
    "DATALOADER.K_TRANSFORMS": "see INPUT.CACHED_VIEWS",
    "DATALOADER.RETURN_IMG0": "",
    "DATALOADER.TRAIN_X.SAMPLER": "see MULTITASK.MIXING",
    "DATALOADER.TRAIN_X.N_DOMAIN": "",
    "DATALOADER.TRAIN_X.N_INS": "",
    "DATALOADER.TRAIN_U.": "",
    "DATALOADER.TEST.SAMPLER": "",
    "MODEL.INIT_WEIGHTS": "--model-dir gives a prompt to start from, --backbone a CLIP",
    "MODEL.HEAD.": "",
    "OPTIM.STAGED_LR": "all vectors of a prompt have one learning rate, OPTIM.LR",
    "OPTIM.NEW_LAYERS": "all vectors of a prompt have one learning rate, OPTIM.LR",
    "OPTIM.BASE_LR_MULT": "all vectors of a prompt have one learning rate, OPTIM.LR",
    "TRAIN.COUNT_ITER": "",
    "VERSION": "",
    "TEST.EVALUATOR": "each task has its own metric",
}  # key, or the beginning of keys -> its replacement
TRANSFORM_KEYS = {
    "INPUT.CROP_PADDING": ("random_crop",),
    "INPUT.RRCROP_SCALE": ("random_resized_crop",),
    "INPUT.CUTOUT_": ("cutout",),
    "INPUT.GN_": ("gaussian_noise",),
    "INPUT.RANDAUGMENT_N": ("randaugment", "randaugment_fixmatch", "randaugment2"),
    "INPUT.RANDAUGMENT_M": ("randaugment",),
    "INPUT.COLORJITTER_": ("colorjitter",),
    "INPUT.RGS_": ("randomgrayscale",),
    "INPUT.GB_": ("gaussian_blur",),
}  # key, or the beginning of keys -> the entries of INPUT.TRANSFORMS that read it
DATASET_KEYS = (
    "DATASET.SOURCE_DOMAINS",
    "DATASET.TARGET_DOMAINS",
    "DATASET.NUM_LABELED",
    "DATASET.VAL_PERCENT",
    "DATASET.STL10_FOLD",
    "DATASET.CIFAR_C_TYPE",
    "DATASET.CIFAR_C_LEVEL",
    "DATASET.ALL_AS_UNLABELED",
)  # a data set that was written for Dassl may read them


def unread_keys(cfg: CfgNode, tasks: Sequence[str]) -> list[str]:
    """Return a message for each key of Dassl that is changed, but not read."""
    issues = []
    advice = dict(ADVICE)
    if all(_is_ours(task) for task in tasks):
        advice |= dict.fromkeys(DATASET_KEYS, "")
    for name, transforms in TRANSFORM_KEYS.items():
        if not set(transforms).intersection(cfg.INPUT.TRANSFORMS):
            advice[name] = f"INPUT.TRANSFORMS has no {' or '.join(transforms)}"
    values = dict(flatten(cfg))
    for key, default in flatten(get_cfg_default()):
        value = values.get(key, default)
        name = _part(key, advice)
        if name is None or as_list(value) == as_list(default):
            continue
        message = f"{key} is {value!r}, but {cfg.TRAINER.NAME} does not read it: leave it at {default!r}"
        if advice.get(name):
            message += f"; {advice[name]}"
        issues.append(message)
    return issues


def _part(key: str, names: Iterable[str]) -> str | None:
    """Return which of `names`, or "TRAINER.", makes a key of Dassl unread, if any."""
    if key.startswith("TRAINER.") and key != "TRAINER.NAME":
        return "TRAINER."
    for name in names:
        if key == name or (name.endswith((".", "_")) and key.startswith(name)):
            return name
    return None


def _is_ours(task: str) -> bool:
    """Return True for our data sets, custom images and unknown names."""
    if is_custom(task) or task not in DATASET_REGISTRY.registered_names():
        return True
    return DATASET_REGISTRY.get(task).__module__.startswith("datasets.")


def unread_pairs(cfg: CfgNode, given: Iterable[str]) -> list[str]:
    """Return the given keys of a configuration that only other trainers read.

    A shared key may be given at its default, as the reference's scripts do.
    """
    cls = trainer_class(cfg.TRAINER.NAME)
    others = keys_of_others(cfg.TRAINER.NAME)
    values, defaults = dict(flatten(cfg)), default_values()
    unread = []
    for name in given:
        key = without_alias(name) if is_native(cls) else name
        shared = key.startswith(SHARED_KEYS) and reads(cls, key) is False
        if key in others or (shared and values[key] != defaults[key]):
            unread.append(name)
    return unread


def message(given: str, trainers: Sequence[str]) -> str:
    """Return the sentence about a given key that none of these trainers reads."""
    others = readers(without_alias(given))
    if not others:
        return f"{given} is given, but no trainer reads it: leave it out"
    verb = "does" if len(trainers) == 1 else "do"
    return (
        f"{given} is given, but {', '.join(trainers)} {verb} not read it: leave it out, or use "
        f"--trainer {' or '.join(others)}"
    )
