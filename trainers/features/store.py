"""What never changes during an experiment and is therefore computed once: backbones and their image features."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property, lru_cache
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from datasets.multitask import MultitaskDataset
from prompting.backbones.loading import Backbone, load_backbone
from trainers.engine import distributed

from . import fingerprints
from .disk_cache import FeatureCache

log = logging.getLogger(__name__)

LAYOUT = 1  # raised when features would be computed otherwise than before


class Frozen:
    """A backbone and the features (N, d) that its unprompted image tower gives the splits of tasks, float32 on its
    device."""

    def __init__(self, backbone: Backbone, device: str = "cpu") -> None:
        self.backbone, self.device = backbone, device
        self._features: dict[str, Tensor] = {}
        self._of_dataset: WeakKeyDictionary[MultitaskDataset, dict[str, Tensor]] = WeakKeyDictionary()

    @cached_property
    def fingerprint(self) -> str:
        """Of the image tower's tensors and structure."""
        return fingerprints.of_tower(self.backbone.clip.visual)

    def features(
        self,
        dataset: MultitaskDataset,
        precision: torch.dtype | None,
        batch_size: int,
        encode: Callable[[Dataset], Tensor],
        store: FeatureCache | None = None,
    ) -> Tensor:
        """Features of all images of `dataset`.

        precision, batch_size: how `encode` computes; it is called for a task's part of `dataset` where its features
        are known neither in this process nor in `store`, to which they are then added. Raises ValueError for images
        with a random transform: their features are not constant.
        """
        known = self._of_dataset.setdefault(dataset, {})
        key = f"{precision} {batch_size}"
        if key not in known:
            rows = self.rows(dataset, precision, batch_size, encode, store)
            parts = [rows.part(k) for k in range(len(dataset.tasks)) if len(dataset.rows(k))]
            known[key] = parts[0] if len(parts) == 1 else torch.cat(parts)
        return known[key]

    def rows(
        self,
        dataset: MultitaskDataset,
        precision: torch.dtype | None,
        batch_size: int,
        encode: Callable[[Dataset], Tensor],
        store: FeatureCache | None = None,
    ) -> FeatureRows:
        """The same features, but those of a task are computed when the first of them is asked for."""
        if dataset.transform is not None:
            raise ValueError("images with a random transform have no constant features")
        how = f"{precision} {batch_size}"
        return FeatureRows(dataset, lambda task: self._part(dataset, task, how, encode, store))

    def _part(self, dataset: MultitaskDataset, task: int, how: str, encode: Callable, store: FeatureCache | None):
        rows = dataset.rows(task)
        crop = dataset.crop or dataset.tasks[task].crop
        pixels = (dataset.size, dataset.interpolation, dataset.mean, dataset.std, crop)
        machine = (torch.__version__, self.device, torch.cuda.get_device_name() if self.device == "cuda" else "")
        images = fingerprints.of_images(dataset.samples[rows.start : rows.stop])
        digest = fingerprints.of_text(LAYOUT, self.fingerprint, pixels, how, machine, images)
        if digest not in self._features:
            label = f"{dataset.names[task]}-{dataset.split}"
            found = store.load(label, digest) if store else None
            if not distributed.everywhere(found is not None):
                found = encode(Subset(dataset, rows))
                if store and distributed.main():
                    store.save(label, digest, found)
            self._features[digest] = found.to(self.device)
        return self._features[digest]


def device_of(cfg) -> str:
    """Where a run computes: "cuda" where there is a GPU and USE_CUDA is set, else "cpu"."""
    return "cuda" if torch.cuda.is_available() and cfg.USE_CUDA else "cpu"


@lru_cache(maxsize=2)
def frozen(name: str, pretrained: str, device: str) -> Frozen:
    """The frozen backbone of a configuration; a second call with the same arguments gives the same object.

    Building one draws random numbers; they are given back, so that a run's numbers do not depend on being the first.
    """
    with torch.random.fork_rng(devices=[]):
        backbone = load_backbone(name, pretrained or None, device)
    log.info("backbone %s on %s, %d px", backbone.name, device, backbone.preprocessing.size)
    return Frozen(backbone, device)


class FeatureRows:
    """Features (N, d) of which `rows[[3, 1]]` gives some, (2, d). Those of a task are computed when one of them is asked for, so
    that training on many tasks need not wait for all of them.

    part: the features (n, d) of the task at a position.
    """

    def __init__(self, dataset: MultitaskDataset, part: Callable[[int], Tensor]) -> None:
        self.part, self._owners = part, dataset.owners
        self._places = [dataset.rows(task) for task in range(len(dataset.tasks))]
        self._missing = torch.ones(len(self._places), dtype=torch.bool)
        self._all: Tensor | None = None

    def __getitem__(self, rows: list[int]) -> Tensor:
        owners = self._owners[rows]
        for task in owners[self._missing[owners]].unique().tolist():
            part, places = self.part(task), self._places[task]
            if len(part) == len(self._owners):
                self._all = part
            else:
                self._all = part.new_empty(len(self._owners), part.shape[1]) if self._all is None else self._all
                self._all[places.start : places.stop] = part
            self._missing[task] = False
        return self._all[rows]


class Features(Dataset):
    """A dataset whose images are replaced by their features: items are `dataset.items` with "img" a row.

    features: for N images, or (K, N, d) for K augmented views of each image, of which epoch e takes view e % K.
    """

    def __init__(self, dataset: MultitaskDataset, features: FeatureRows | Tensor) -> None:
        self.views = features if isinstance(features, Tensor) else [features]
        self.features = self.views[0]
        self.labels, self.tasks = dataset.labels, dataset.owners

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> dict[str, Tensor]:
        return {"img": self.features[rows], "labels": self.labels[rows], "task": self.tasks[rows]}

    def set_epoch(self, epoch: int) -> None:
        """Take the view that belongs to an epoch, counted from 0."""
        self.features = self.views[epoch % len(self.views)]


class Batches(Dataset):
    """A MultitaskDataset, or a part of one, whose items come as whole batches."""

    def __init__(self, dataset: MultitaskDataset | Subset) -> None:
        part = isinstance(dataset, Subset)
        self.dataset = dataset.dataset if part else dataset
        self.rows = dataset.indices if part else range(len(dataset))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, rows: list[int]) -> dict:
        return self.dataset.batch([self.rows[row] for row in rows])


def as_batch(items: dict | list[dict]) -> dict:
    """Collate for datasets whose items may come as one batch already."""
    return items if isinstance(items, dict) else default_collate(items)


def loader(dataset: Dataset, cfg, batch_sampler=None) -> DataLoader:
    """A DataLoader: batches of `batch_sampler`, or in order for evaluation. Few images are read in this process.

    No loader draws a number from the generators that training uses, so its workers, and evaluation where the result is
    known, may be left out.
    """
    features = isinstance(dataset, Features)
    if isinstance(dataset.dataset if isinstance(dataset, Subset) else dataset, MultitaskDataset):
        dataset = Batches(dataset)
    workers = 0 if features or len(dataset) < 4 * cfg.DATALOADER.TEST.BATCH_SIZE else cfg.DATALOADER.NUM_WORKERS
    batches = {"batch_sampler": batch_sampler} if batch_sampler else {"batch_size": cfg.DATALOADER.TEST.BATCH_SIZE}
    return DataLoader(
        dataset,
        **batches,
        num_workers=workers,
        generator=torch.Generator(),
        persistent_workers=workers > 0,
        collate_fn=as_batch,
        pin_memory=torch.cuda.is_available() and cfg.USE_CUDA and not features,
    )
