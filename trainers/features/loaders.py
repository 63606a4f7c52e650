"""Data loaders, and what they read: images, views, or features of images."""

import contextlib
import errno
import functools
import logging
import os
import random
import shutil
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils import data
from torch.utils.data import DataLoader

from datasets.multitask import MultitaskDataset

log = logging.getLogger(__name__)

SHARED_MEMORY = "/dev/shm"  # workers hand their batches over in it
BATCHES = 4  # of a worker at a time: two read ahead, one in the making, one in use
# in torch's errors about workers
WORKER_ERRORS = ("DataLoader worker", "DataLoader timed out", "shm")
TIMEOUT = 900  # seconds that a batch may take
REMEDY = f"set DATALOADER.NUM_WORKERS 0, or give more shared memory ({SHARED_MEMORY}; of a container: --shm-size 1g)"


class FeatureDataset(data.Dataset):
    """A dataset whose images are replaced by their features: items come as batches of
    features, labels and tasks. views: of each, `view[rows]` gives the features (B, d)
    of B images; epoch e takes view e % K of K.
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


class View(data.Dataset):
    """One view of a dataset with a random transform: an item depends on `seed`, `view`
    and its position alone. So a run can be resumed anywhere, with any number of workers.
    """

    def __init__(self, dataset: data.Dataset, view: int, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self._view = torch.tensor(view).share_memory_()  # loader workers see it change

    def set_epoch(self, epoch: int) -> None:
        """Take the view of an epoch, counted from 0."""
        self._view.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        with _seeded(f"{self.seed} {int(self._view)} {index}"):
            return self.dataset[index]


@contextlib.contextmanager
def _seeded(words: str) -> Iterator[None]:
    """Seed all generators from `words`, and restore them afterwards."""
    seed = random.Random(words).getrandbits(32)
    python = random.getstate()
    numpy = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


class ImageBatches(data.Subset):
    """Images of a MultitaskDataset, whose items come as batches."""

    def __getitems__(self, rows: list[int]) -> dict:
        return self.dataset.batch([self.indices[row] for row in rows])


def collate(items: dict | list[dict]) -> dict:
    """Return items as one batch, which they may be already. A worker moves it into
    shared memory here, so that a failure reaches the main process; later it would be
    lost, and the main process would wait for ever.
    """
    batch = items if isinstance(items, dict) else data.default_collate(items)
    if data.get_worker_info() is not None:
        for value in batch.values():
            if isinstance(value, Tensor):
                value.share_memory_()
    return batch


class WatchedLoader(DataLoader):
    """A DataLoader whose workers end or hang in one message, an OSError."""

    def __iter__(self) -> Iterator:
        try:
            yield from super().__iter__()
        except RuntimeError as error:
            if not any(text in str(error) for text in WORKER_ERRORS):
                raise
            reason = "a worker that reads images ended or gave no answer"
            raise OSError(
                errno.ENOMEM, f"DATALOADER.NUM_WORKERS: {reason}; {REMEDY}"
            ) from None


def affordable_workers(workers: int, batch_bytes: int) -> int:
    """Return the workers that shared memory is enough for; warn if fewer."""
    if not workers or not os.path.isdir(SHARED_MEMORY):
        return workers
    free = shutil.disk_usage(SHARED_MEMORY).free
    affordable = min(workers, free // (BATCHES * batch_bytes))
    if affordable < workers:
        need, there = BATCHES * batch_bytes / 1e6, free / 1e6
        _warn(
            f"{affordable} of {workers} workers read images: each needs {need:.1f} MB of {SHARED_MEMORY}, which has "
            f"{there:.1f} MB free (of a container: --shm-size 1g)"
        )
    return affordable


@functools.cache
def _warn(message: str) -> None:
    """Warn, once: a run has several loaders."""
    log.warning("%s", message)


def build_loader(
    dataset: data.Dataset,
    batch_size: int,
    workers: int = 0,
    device: str = "cpu",
    batch_sampler: data.Sampler[list[int]] | None = None,
) -> DataLoader:
    """Return a loader of a sampler's batches, or of `batch_size` items in order.
    Features and few images are read in this process, others by `workers` processes. No
    loader draws from the generators that training uses.
    """
    features = isinstance(dataset, FeatureDataset)
    images, rows = dataset, range(len(dataset))
    if isinstance(dataset, data.Subset):
        images, rows = dataset.dataset, dataset.indices
    if features or len(dataset) < 4 * batch_size:
        workers = 0
    if isinstance(images, MultitaskDataset):
        workers = affordable_workers(workers, batch_size * 3 * images.size**2 * 4)
        dataset = ImageBatches(images, rows)
    return WatchedLoader(
        dataset,
        batch_size=batch_size if batch_sampler is None else 1,
        batch_sampler=batch_sampler,
        num_workers=workers,
        generator=torch.Generator(),
        persistent_workers=workers > 0,
        timeout=TIMEOUT if workers else 0,
        collate_fn=collate,
        pin_memory=device.startswith("cuda") and not features,
    )
