"""Keys of Dassl that native trainers do not read: another value than the default is an
error, not silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY
from yacs.config import CfgNode

from datasets import is_custom

from .config_values import flatten

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
    """Return a message for each key of Dassl that is not at its default, though neither
    trainer nor tasks read it.
    """
    issues = []
    advice = dict(ADVICE)
    if all(_is_ours(task) for task in tasks):
        advice |= dict.fromkeys(DATASET_KEYS, "")
    for name, transforms in TRANSFORM_KEYS.items():
        chosen = [one for one in transforms if one in cfg.INPUT.TRANSFORMS]
        if not chosen:
            advice[name] = f"INPUT.TRANSFORMS has no {' or '.join(transforms)}"
    values = dict(flatten(cfg))
    for key, default in flatten(get_cfg_default()):
        value = values.get(key, default)
        name = _prefix(key, advice)
        if name is None or _plain(value) == _plain(default):
            continue
        message = f"{key} is {value!r}, but {cfg.TRAINER.NAME} does not read it: leave it at {default!r}"
        if advice.get(name):
            message += f"; {advice[name]}"
        issues.append(message)
    return issues


def _prefix(key: str, advice: dict[str, str]) -> str | None:
    """Return the entry of `advice` that covers a key, "TRAINER." for a method of
    Dassl's own, None if it is read.
    """
    if key.startswith("TRAINER.") and key != "TRAINER.NAME":
        return "TRAINER."
    for name in advice:
        if key == name or (name.endswith((".", "_")) and key.startswith(name)):
            return name
    return None


def _is_ours(task: str) -> bool:
    """Return True for a data set of this project or custom images, also for an unknown
    name.
    """
    if is_custom(task) or task not in DATASET_REGISTRY.registered_names():
        return True
    return DATASET_REGISTRY.get(task).__module__.startswith("datasets.")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value
