"""From a configuration to settings, backbones, feature stores and images."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from dassl.data.transforms import build_transform
from PIL import Image
from torch import Tensor

from datasets import Task
from datasets.multitask import CACHE_BUDGET, MultitaskDataset
from prompting.backbones.backbone import Preprocessing

from .disk_cache import FeatureCache
from .extraction import EncoderSettings
from .store import FeatureStore, LoadedBackbone, get_backbone

PRECISIONS = {
    "fp32": None,
    "fp16": torch.float16,
    "amp": torch.float16,
    "bf16": torch.bfloat16,
}
DATA = Path(__file__).resolve().parents[2] / "data"


def device_of(cfg) -> str:
    """Return "cuda" if there is a GPU and USE_CUDA is set, else "cpu"."""
    if cfg.USE_CUDA and torch.cuda.is_available():
        return "cuda"
    return "cpu"


def configured_backbone(cfg) -> LoadedBackbone:
    """Return the frozen CLIP of a configuration, loaded once."""
    node = cfg.MODEL.BACKBONE
    return get_backbone(node.NAME, node.PRETRAINED, device_of(cfg))


def preprocessing_of(cfg, backbone: Preprocessing) -> Preprocessing:
    """Return the preprocessing of INPUT.*, or the backbone's for FROM_BACKBONE."""
    if cfg.INPUT.FROM_BACKBONE:
        return replace(backbone, background=cfg.INPUT.BACKGROUND)
    mean, std = tuple(cfg.INPUT.PIXEL_MEAN), tuple(cfg.INPUT.PIXEL_STD)
    return Preprocessing(
        cfg.INPUT.SIZE[0], mean, std, cfg.INPUT.INTERPOLATION, cfg.INPUT.BACKGROUND
    )


def build_images(
    cfg,
    tasks: Sequence[Task],
    split: str,
    backbone: Preprocessing,
    transform=None,
    cache_budget: int = CACHE_BUDGET,
) -> MultitaskDataset:
    """Return the images of a split of `tasks`, prepared as the configuration says.
    cache_budget: decoded images are kept if all take at most as many bytes.
    """
    pre = preprocessing_of(cfg, backbone)
    crop = None if cfg.DATASET.CENTER_CROP else "squash"
    return MultitaskDataset(
        tasks,
        split,
        pre.size,
        pre.interpolation,
        pre.mean,
        pre.std,
        crop,
        transform,
        cache_budget,
        pre.background,
    )


def build_store(cfg) -> FeatureStore:
    """Return the store of features of the configured backbone, with its device,
    precision (on a CPU float32 for fp16 and amp) and disk cache: in CACHE.DIR, else the
    folder that MVLPT_CACHE names, else the project's data/cache.
    """
    device, loader = device_of(cfg), cfg.DATALOADER
    precision = PRECISIONS[cfg.TRAINER.MVLPT.PREC]
    if device == "cpu" and precision is torch.float16:
        precision = None
    settings = EncoderSettings(
        device, precision, loader.TEST.BATCH_SIZE, loader.NUM_WORKERS
    )
    cache = None
    if cfg.CACHE.FEATURES:
        home = cfg.CACHE.DIR or os.environ.get("MVLPT_CACHE") or DATA / "cache"
        folder = Path(home).expanduser().absolute() / "features"
        cache = FeatureCache(folder, int(cfg.CACHE.MAX_GB * 10**9))
    return FeatureStore(configured_backbone(cfg), settings, cache)


def training_transform(
    cfg, default: Preprocessing
) -> Callable[[Image.Image], Tensor] | None:
    """Return the random transform of INPUT.TRANSFORMS or None, or raise ValueError."""
    if not set(cfg.INPUT.TRANSFORMS) - {"normalize", "center_crop"}:
        return None
    pre = preprocessing_of(cfg, default)
    cfg = cfg.clone()
    cfg.defrost()
    cfg.INPUT.SIZE = (pre.size, pre.size)
    cfg.INPUT.PIXEL_MEAN = list(pre.mean)
    cfg.INPUT.PIXEL_STD = list(pre.std)
    cfg.INPUT.INTERPOLATION = pre.interpolation
    return build_transform(cfg, is_train=True)
