"""Data loaders: batches of images, or of the features that stand for them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, Subset, default_collate

from datasets.multitask import MultitaskDataset


class FeatureDataset(Dataset):
    """A dataset whose images are replaced by their features: items come as batches of features, labels and tasks.

    views: of each, `view[rows]` gives the features (B, d) of B images; epoch e takes view e % K of K.
    """

    def __init__(self, dataset: MultitaskDataset, views: Sequence) -> None:
        self.views = views
        self.features = views[0]
        self.labels, self.tasks = dataset.labels, dataset.owners

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        return {
            "img": self.features[rows],
            "labels": self.labels[rows],
            "task": self.tasks[rows],
        }

    def set_epoch(self, epoch: int) -> None:
        """Take the view of an epoch, counted from 0."""
        self.features = self.views[epoch % len(self.views)]


class ImageBatches(Dataset):
    """A MultitaskDataset, or a subset of one, whose items come as batches."""

    def __init__(self, dataset: MultitaskDataset | Subset) -> None:
        if isinstance(dataset, Subset):
            self.dataset, self.rows = dataset.dataset, dataset.indices
        else:
            self.dataset, self.rows = dataset, range(len(dataset))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, rows: list[int]) -> dict:
        return self.dataset.batch([self.rows[row] for row in rows])


def collate(items: dict | list[dict]) -> dict:
    """Return items as one batch, which they may be already."""
    if isinstance(items, dict):
        return items
    return default_collate(items)


def build_loader(
    dataset: Dataset,
    batch_size: int,
    workers: int = 0,
    device: str = "cpu",
    batch_sampler: Sampler[list[int]] | None = None,
) -> DataLoader:
    """Return a loader of the batches of `batch_sampler`, or of `batch_size` items each, in order.

    Features, and fewer images than four times `batch_size`, are read in this process, others by `workers` processes. No
    loader draws from the generators that training uses, so neither workers nor evaluations change its numbers.
    """
    features = isinstance(dataset, FeatureDataset)
    images = dataset.dataset if isinstance(dataset, Subset) else dataset
    if features or len(dataset) < 4 * batch_size:
        workers = 0
    if isinstance(images, MultitaskDataset):
        dataset = ImageBatches(dataset)
    return DataLoader(
        dataset,
        batch_size=batch_size if batch_sampler is None else 1,
        batch_sampler=batch_sampler,
        num_workers=workers,
        generator=torch.Generator(),
        persistent_workers=workers > 0,
        collate_fn=collate,
        pin_memory=device.startswith("cuda") and not features,
    )
