"""The transform of a configuration, which chooses the steps; their order is fixed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from PIL.Image import Resampling

from ...utils import check_availability
from .augment import (
    Cutout,
    GaussianNoise,
    InstanceNormalize,
    RandomMagnitudeAugment,
    RandomTranslation,
)

if TYPE_CHECKING:
    from torchvision import transforms as T

logger = logging.getLogger(__name__)

AVAI_CHOICES = [
    "random_flip",
    "random_resized_crop",
    "normalize",
    "instance_norm",
    "random_crop",
    "random_translation",
    "center_crop",
    "cutout",
    "imagenet_policy",
    "cifar10_policy",
    "svhn_policy",
    "randaugment",
    "randaugment_fixmatch",
    "randaugment2",
    "gaussian_noise",
    "colorjitter",
    "randomgrayscale",
    "gaussian_blur",
]

INTERPOLATION_MODES = {
    "bilinear": Resampling.BILINEAR,
    "bicubic": Resampling.BICUBIC,
    "nearest": Resampling.NEAREST,
}


def build_transform(
    cfg, is_train: bool = True, choices: Sequence[str] | None = None
) -> T.Compose | None:
    """Return the transform PIL -> float tensor (3, H, W) of ``cfg.INPUT``; None with
    ``INPUT.NO_TRANSFORM``. is_train: with augmentation. choices: names of steps instead
    of ``cfg.INPUT.TRANSFORMS``. Raise ValueError for an unknown step or interpolation.
    """
    from torchvision import transforms as T

    if cfg.INPUT.NO_TRANSFORM:
        logger.info("Note: no transform is applied")
        return None
    choices = list(cfg.INPUT.TRANSFORMS if choices is None else choices)
    for choice in choices:
        check_availability(choice, AVAI_CHOICES)
    check_availability(cfg.INPUT.INTERPOLATION, list(INTERPOLATION_MODES))
    logger.info("Building transform_%s", "train" if is_train else "test")
    build_steps = _train_steps if is_train else _test_steps
    steps = build_steps(cfg.INPUT, choices)
    for step in steps:
        shown = step if isinstance(step, T.Normalize) else type(step).__name__
        logger.info("+ %s", shown)
    return T.Compose(steps)


def image_size(c) -> tuple[int, int]:
    """Return (height, width) of ``INPUT.SIZE``, which may be one number."""
    if isinstance(c.SIZE, int):
        return c.SIZE, c.SIZE
    return c.SIZE[0], c.SIZE[1]


def normalization(c) -> T.Normalize:
    """Return the step "normalize" of an ``INPUT`` node."""
    from torchvision import transforms as T

    return T.Normalize(mean=list(c.PIXEL_MEAN), std=list(c.PIXEL_STD))


def _train_steps(c, choices: list[str]) -> list:
    from torchvision import transforms as T

    size, mode = image_size(c), INTERPOLATION_MODES[c.INTERPOLATION]
    steps = []
    if "random_crop" not in choices and "random_resized_crop" not in choices:
        steps.append(T.Resize(size, interpolation=mode))
    on_image = {  # in the order of application
        "random_translation": RandomTranslation(size),
        "random_crop": T.RandomCrop(size, padding=c.CROP_PADDING),
        "random_resized_crop": T.RandomResizedCrop(
            size, scale=tuple(c.RRCROP_SCALE), interpolation=mode
        ),
        "random_flip": T.RandomHorizontalFlip(),
        "imagenet_policy": T.AutoAugment(T.AutoAugmentPolicy.IMAGENET),
        "cifar10_policy": T.AutoAugment(T.AutoAugmentPolicy.CIFAR10),
        "svhn_policy": T.AutoAugment(T.AutoAugmentPolicy.SVHN),
        "randaugment": T.RandAugment(c.RANDAUGMENT_N, c.RANDAUGMENT_M),
        "randaugment_fixmatch": RandomMagnitudeAugment(c.RANDAUGMENT_N, p=0.5),
        "randaugment2": RandomMagnitudeAugment(c.RANDAUGMENT_N, p=0.6),
        "colorjitter": T.ColorJitter(
            c.COLORJITTER_B, c.COLORJITTER_C, c.COLORJITTER_S, c.COLORJITTER_H
        ),
        "randomgrayscale": T.RandomGrayscale(p=c.RGS_P),
        "gaussian_blur": T.RandomApply([T.GaussianBlur(c.GB_K)], p=c.GB_P),
    }
    on_tensor = {
        "cutout": Cutout(c.CUTOUT_N, c.CUTOUT_LEN),
        "normalize": normalization(c),
        "gaussian_noise": GaussianNoise(c.GN_MEAN, c.GN_STD),
        "instance_norm": InstanceNormalize(),
    }
    steps += [step for name, step in on_image.items() if name in choices]
    steps.append(T.ToTensor())
    steps += [step for name, step in on_tensor.items() if name in choices]
    return steps


def _test_steps(c, choices: list[str]) -> list:
    from torchvision import transforms as T

    size, mode = image_size(c), INTERPOLATION_MODES[c.INTERPOLATION]
    steps = [T.Resize(max(size), interpolation=mode), T.CenterCrop(size), T.ToTensor()]
    if "normalize" in choices:
        steps.append(normalization(c))
    if "instance_norm" in choices:
        steps.append(InstanceNormalize())
    return steps
