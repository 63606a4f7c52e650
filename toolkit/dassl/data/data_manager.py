"""Loaders of a dataset's splits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from operator import attrgetter

import torch
from torch.utils.data import DataLoader, Dataset

from ..utils import read_image
from .datasets import build_dataset
from .samplers import build_sampler
from .transforms import INTERPOLATION_MODES, build_transform
from .transforms.transforms import image_size, normalization

logger = logging.getLogger(__name__)


def build_data_loader(
    cfg,
    sampler_type: str = "SequentialSampler",
    data_source: Sequence | None = None,
    batch_size: int = 64,
    n_domain: int = 0,
    n_ins: int = 2,
    tfm=None,
    is_train: bool = True,
    dataset_wrapper: type[Dataset] | None = None,
) -> DataLoader:
    """Return a loader of a list of items. In training a last short batch is dropped,
    unless it is the only one. Raise ValueError if the loader would be empty.
    """
    if data_source is None or len(data_source) == 0:
        kind = "training" if is_train else "evaluation"
        raise ValueError(f"No {kind} data: the list of items is empty")
    sampler = build_sampler(sampler_type, cfg, data_source, batch_size, n_domain, n_ins)
    wrapper = dataset_wrapper or DatasetWrapper
    loader = DataLoader(
        wrapper(cfg, data_source, transform=tfm, is_train=is_train),
        batch_size=batch_size,
        sampler=sampler,
        num_workers=cfg.DATALOADER.NUM_WORKERS,
        drop_last=is_train and len(data_source) >= batch_size,
        pin_memory=torch.cuda.is_available() and cfg.USE_CUDA,
    )
    if len(loader) == 0:
        raise ValueError(
            f"{sampler_type} makes no batch of {batch_size} from {len(data_source)} items"
        )
    return loader


class DataManager:
    """The dataset ``cfg.DATASET.NAME`` and loaders of its splits, None without data.
    custom_tfm_train, custom_tfm_test: instead of the transforms of ``cfg.INPUT``.
    dataset_wrapper: a class instead of ``DatasetWrapper``.
    """

    def __init__(
        self, cfg, custom_tfm_train=None, custom_tfm_test=None, dataset_wrapper=None
    ):
        dataset = build_dataset(cfg)
        if custom_tfm_train is None:
            custom_tfm_train = build_transform(cfg, is_train=True)
        if custom_tfm_test is None:
            custom_tfm_test = build_transform(cfg, is_train=False)

        def loader(node, data, is_train):
            if not data:
                return None
            return build_data_loader(
                cfg,
                sampler_type=node.SAMPLER,
                data_source=data,
                batch_size=node.BATCH_SIZE,
                n_domain=node.get("N_DOMAIN", 0),
                n_ins=node.get("N_INS", 2),
                tfm=custom_tfm_train if is_train else custom_tfm_test,
                is_train=is_train,
                dataset_wrapper=dataset_wrapper,
            )

        nodes = cfg.DATALOADER
        unlabelled = nodes.TRAIN_X if nodes.TRAIN_U.SAME_AS_X else nodes.TRAIN_U
        self.dataset = dataset
        self.train_loader_x = loader(nodes.TRAIN_X, dataset.train_x, is_train=True)
        self.train_loader_u = loader(unlabelled, dataset.train_u, is_train=True)
        self.val_loader = loader(nodes.TEST, dataset.val, is_train=False)
        self.test_loader = loader(nodes.TEST, dataset.test, is_train=False)

        self._num_classes = dataset.num_classes
        self._num_source_domains = len(cfg.DATASET.SOURCE_DOMAINS)
        self._lab2cname = dataset.lab2cname
        if cfg.VERBOSE:
            self.show_dataset_summary(cfg)

    num_classes = property(attrgetter("_num_classes"))
    num_source_domains = property(attrgetter("_num_source_domains"))
    lab2cname = property(attrgetter("_lab2cname"))

    def show_dataset_summary(self, cfg) -> None:
        """Log a table of two columns: splits and classes, and their numbers."""
        rows = [("Dataset", cfg.DATASET.NAME)]
        for name in ("Source", "Target"):
            domains = cfg.DATASET[f"{name.upper()}_DOMAINS"]
            if domains:
                rows.append((name, ", ".join(domains)))
        rows.append(("# classes", f"{self.num_classes:,}"))
        for split in ("train_x", "train_u", "val", "test"):
            data = getattr(self.dataset, split)
            if data:
                rows.append((f"# {split}", f"{len(data):,}"))
        width = max(len(name) for name, _ in rows)
        for name, value in rows:
            logger.info("%s  %s", name.ljust(width), value)


class DatasetWrapper(Dataset):
    """Items as dicts: ``label``, ``domain``, ``impath``, ``index`` and ``img``, the
    transformed image (a PIL image without a transform; a list if training asks for
    ``DATALOADER.K_TRANSFORMS`` > 1), for a list of transforms also ``img2``, ``img3``,
    ..., and with ``DATALOADER.RETURN_IMG0`` ``img0`` without augmentation.
    """

    def __init__(
        self, cfg, data_source: Sequence, transform=None, is_train: bool = False
    ):
        from torchvision import transforms as T

        self.cfg = cfg
        self.data_source = data_source
        self.transform = transform
        self.is_train = is_train
        self.k_tfm = cfg.DATALOADER.K_TRANSFORMS if is_train else 1
        self.return_img0 = cfg.DATALOADER.RETURN_IMG0
        if self.k_tfm > 1 and transform is None:
            raise ValueError(
                "DATALOADER.K_TRANSFORMS > 1 needs a transform, but INPUT.NO_TRANSFORM is set"
            )
        mode = INTERPOLATION_MODES[cfg.INPUT.INTERPOLATION]
        steps = [T.Resize(image_size(cfg.INPUT), interpolation=mode), T.ToTensor()]
        if "normalize" in cfg.INPUT.TRANSFORMS:
            steps.append(normalization(cfg.INPUT))
        self.to_tensor = T.Compose(steps)

    def __len__(self) -> int:
        return len(self.data_source)

    def __getitem__(self, index: int) -> dict:
        item = self.data_source[index]
        output = {
            "label": item.label,
            "domain": item.domain,
            "impath": item.impath,
            "index": index,
        }
        image = read_image(item.impath)
        transforms = self.transform
        if transforms is None:
            output["img"] = image
            transforms = ()
        elif not isinstance(transforms, list | tuple):
            transforms = (transforms,)
        for position, transform in enumerate(transforms, start=1):
            key = "img" if position == 1 else f"img{position}"
            images = [transform(image) for _ in range(self.k_tfm)]
            output[key] = images[0] if self.k_tfm == 1 else images
        if self.return_img0:
            output["img0"] = self.to_tensor(image)
        return output
