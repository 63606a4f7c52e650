"""The transform of a configuration: which steps is the user's choice, their order is fixed."""

import logging
from collections.abc import Sequence

from torchvision import transforms as T
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode

from ...utils import check_availability
from .augment import Cutout, GaussianNoise, InstanceNormalize, RandomMagnitudeAugment, RandomTranslation

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
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "nearest": InterpolationMode.NEAREST,
}


def build_transform(cfg, is_train: bool = True, choices: Sequence[str] | None = None) -> T.Compose | None:
    """The transform PIL -> float tensor (3, H, W) of ``cfg.INPUT``; None with ``INPUT.NO_TRANSFORM``.

    Args:
        is_train: with augmentation; otherwise resize by the short side, centre crop, tensor, normalise.
        choices: names of steps instead of ``cfg.INPUT.TRANSFORMS``; their order is irrelevant.

    Raises:
        ValueError: unknown step or interpolation; the message names the nearest one.
    """
    if cfg.INPUT.NO_TRANSFORM:
        logger.info("Note: no transform is applied")
        return None
    choices = list(cfg.INPUT.TRANSFORMS if choices is None else choices)
    for choice in choices:
        check_availability(choice, AVAI_CHOICES)
    check_availability(cfg.INPUT.INTERPOLATION, list(INTERPOLATION_MODES))
    steps = (_train_steps if is_train else _test_steps)(cfg.INPUT, choices)
    logger.info("Building transform_%s", "train" if is_train else "test")
    for step in steps:
        logger.info("+ %s", step if isinstance(step, T.Normalize) else type(step).__name__)
    return T.Compose(steps)


def image_size(c) -> tuple[int, int]:
    """(height, width) of ``INPUT.SIZE``, which may be one number."""
    return (c.SIZE, c.SIZE) if isinstance(c.SIZE, int) else (c.SIZE[0], c.SIZE[1])


def _normalize(c) -> T.Normalize:
    return T.Normalize(mean=list(c.PIXEL_MEAN), std=list(c.PIXEL_STD))


def _train_steps(c, choices: list[str]) -> list:
    size, mode = image_size(c), INTERPOLATION_MODES[c.INTERPOLATION]
    jitter = (c.COLORJITTER_B, c.COLORJITTER_C, c.COLORJITTER_S, c.COLORJITTER_H)
    table = [  # (name, step) in the order of application
        ("random_translation", lambda: RandomTranslation(size)),
        ("random_crop", lambda: T.RandomCrop(size, padding=c.CROP_PADDING)),
        ("random_resized_crop", lambda: T.RandomResizedCrop(size, scale=tuple(c.RRCROP_SCALE), interpolation=mode)),
        ("random_flip", T.RandomHorizontalFlip),
        ("imagenet_policy", lambda: T.AutoAugment(AutoAugmentPolicy.IMAGENET)),
        ("cifar10_policy", lambda: T.AutoAugment(AutoAugmentPolicy.CIFAR10)),
        ("svhn_policy", lambda: T.AutoAugment(AutoAugmentPolicy.SVHN)),
        ("randaugment", lambda: T.RandAugment(c.RANDAUGMENT_N, c.RANDAUGMENT_M)),
        ("randaugment_fixmatch", lambda: RandomMagnitudeAugment(c.RANDAUGMENT_N, p=0.5)),
        ("randaugment2", lambda: RandomMagnitudeAugment(c.RANDAUGMENT_N, p=0.6)),
        ("colorjitter", lambda: T.ColorJitter(*jitter)),
        ("randomgrayscale", lambda: T.RandomGrayscale(p=c.RGS_P)),
        ("gaussian_blur", lambda: T.RandomApply([T.GaussianBlur(c.GB_K)], p=c.GB_P)),
        (None, T.ToTensor),
        ("cutout", lambda: Cutout(c.CUTOUT_N, c.CUTOUT_LEN)),
        ("normalize", lambda: _normalize(c)),
        ("gaussian_noise", lambda: GaussianNoise(c.GN_MEAN, c.GN_STD)),
        ("instance_norm", InstanceNormalize),
    ]
    steps = [make() for name, make in table if name is None or name in choices]
    if "random_crop" not in choices and "random_resized_crop" not in choices:
        steps.insert(0, T.Resize(size, interpolation=mode))
    return steps


def _test_steps(c, choices: list[str]) -> list:
    size, mode = image_size(c), INTERPOLATION_MODES[c.INTERPOLATION]
    steps = [T.Resize(max(size), interpolation=mode), T.CenterCrop(size), T.ToTensor()]
    if "normalize" in choices:
        steps.append(_normalize(c))
    if "instance_norm" in choices:
        steps.append(InstanceNormalize())
    return steps
