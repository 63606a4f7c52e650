"""From a configuration to what computes features: settings, backbones, stores and datasets of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from datasets import Task
from datasets.multitask import CACHE_BUDGET, MultitaskDataset
from prompting.backbones.loading import Preprocessing

from .disk_cache import FeatureCache
from .extraction import EncoderSettings
from .store import FeatureStore, get_backbone

PRECISIONS = {"fp32": None, "fp16": torch.float16, "amp": torch.float16, "bf16": torch.bfloat16}
DATA = Path(__file__).resolve().parents[2] / "data"
GB = 10**9


def device_of(cfg) -> str:
    """Return the device of a run: "cuda" if there is a GPU and USE_CUDA is set, else "cpu"."""
    return "cuda" if torch.cuda.is_available() and cfg.USE_CUDA else "cpu"


def precision_of(cfg, device: str) -> torch.dtype | None:
    """Return the type that TRAINER.MVLPT.PREC computes in, None for float32; a CPU takes float32 for fp16 and amp."""
    precision = PRECISIONS[cfg.TRAINER.MVLPT.PREC]
    return None if device == "cpu" and precision is torch.float16 else precision


def preprocessing_of(cfg, backbone: Preprocessing) -> Preprocessing:
    """Return the backbone's preprocessing, or that of INPUT.* if INPUT.FROM_BACKBONE is False."""
    if cfg.INPUT.FROM_BACKBONE:
        return backbone
    node = cfg.INPUT
    return Preprocessing(node.SIZE[0], tuple(node.PIXEL_MEAN), tuple(node.PIXEL_STD), node.INTERPOLATION)


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
        tasks, split, pre.size, pre.interpolation, pre.mean, pre.std, crop, transform, cache_budget=cache_budget
    )


def build_feature_cache(cfg) -> FeatureCache | None:
    """Return the disk cache that CACHE.* describes, or None if CACHE.FEATURES is off (--no-cache).

    Without CACHE.DIR it is in the folder that MVLPT_CACHE names, else in the project's data/cache.
    """
    if not cfg.CACHE.FEATURES:
        return None
    home = cfg.CACHE.DIR or os.environ.get("MVLPT_CACHE") or DATA / "cache"
    folder = Path(home).expanduser().absolute() / "features"
    return FeatureCache(folder, int(cfg.CACHE.MAX_GB * GB))


def build_store(cfg) -> FeatureStore:
    """Return the store of features of the configured backbone, with its device, precision and disk cache."""
    device = device_of(cfg)
    backbone = get_backbone(cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.PRETRAINED, device)
    loading = cfg.DATALOADER
    settings = EncoderSettings(device, precision_of(cfg, device), loading.TEST.BATCH_SIZE, loading.NUM_WORKERS)
    return FeatureStore(backbone, settings, build_feature_cache(cfg))
