"""What never changes during an experiment and is therefore computed once a process: backbones and their image
features."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from datasets.multitask import MultitaskDataset
from prompting.backbone import Backbone, load_backbone

log = logging.getLogger(__name__)


class Frozen:
    """A backbone and the features (N, d) that its unprompted image tower gives the splits of tasks, float32 on its
    device."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone
        self._features: dict[tuple, Tensor] = {}

    def features(self, dataset: MultitaskDataset, precision: object, encode: Callable[[Dataset], Tensor]) -> Tensor:
        """Features of all images of `dataset`; `encode` is called for the tasks that are not known yet in this
        precision and with this preprocessing."""
        parts = []
        for task in range(len(dataset.tasks)):
            rows = dataset.rows(task)
            images = tuple(dataset.samples[row].impath for row in rows)
            crop = dataset.crop or dataset.tasks[task].crop
            pixels = (dataset.size, dataset.interpolation, dataset.mean, dataset.std, crop)
            key = (dataset.names[task], images, pixels, precision)
            if key not in self._features:
                self._features[key] = encode(Subset(dataset, rows)) if len(rows) else None
            if self._features[key] is not None:
                parts.append(self._features[key])
        return torch.cat(parts)


def device_of(cfg) -> str:
    """Where a run computes: "cuda" where there is a GPU and USE_CUDA is set, else "cpu"."""
    return "cuda" if torch.cuda.is_available() and cfg.USE_CUDA else "cpu"


@lru_cache(maxsize=2)
def frozen(name: str, pretrained: str, device: str) -> Frozen:
    """The frozen backbone of a configuration; a second call with the same arguments gives the same object."""
    backbone = load_backbone(name, pretrained or None, device)
    log.info("backbone %s on %s, %d px", backbone.name, device, backbone.preprocessing.size)
    return Frozen(backbone)


class Features(Dataset):
    """A dataset whose images are replaced by their features: items are `dataset.items` with "img" a row of (N, d)."""

    def __init__(self, dataset: MultitaskDataset, features: Tensor) -> None:
        self.features = features
        labels = [sample.labels for sample in dataset.samples]
        self.labels = torch.tensor([(*own, *[-1] * (dataset.max_labels - len(own))) for own in labels]).view(
            len(labels), -1
        )
        self.tasks = torch.tensor([dataset.task_of(row) for row in range(len(dataset))])

    def __len__(self) -> int:
        return len(self.features)

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        return {"img": self.features[rows], "labels": self.labels[rows], "task": self.tasks[rows]}


def as_batch(items: dict[str, Tensor]) -> dict[str, Tensor]:
    """Collate for `Features`, whose items come as one batch already."""
    return items


def loader(dataset: Dataset, cfg, batch_sampler=None) -> DataLoader:
    """A DataLoader: batches of `batch_sampler`, or in order for evaluation. Few images are read in this process."""
    features = isinstance(dataset, Features)
    workers = 0 if features or len(dataset) < 4 * cfg.DATALOADER.TEST.BATCH_SIZE else cfg.DATALOADER.NUM_WORKERS
    batches = {"batch_sampler": batch_sampler} if batch_sampler else {"batch_size": cfg.DATALOADER.TEST.BATCH_SIZE}
    return DataLoader(
        dataset,
        **batches,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=as_batch if features else None,
        pin_memory=torch.cuda.is_available() and cfg.USE_CUDA and not features,
    )
