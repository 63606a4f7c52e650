"""Augmented views of training images: a view depends on the seed, its number and the
image alone.

So a run can be resumed anywhere, with any number of loader workers; and if an image has
a few views (INPUT.CACHED_VIEWS), a frozen image tower needs to encode each only once.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Dataset


class View(Dataset):
    """One view of a dataset with a random transform: an item depends on `seed`, `view`
    and its position alone.
    """

    def __init__(self, dataset: Dataset, view: int, seed: int) -> None:
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
    """Seed the generators of torch, numpy and Python from `words`, and restore them
    afterwards.
    """
    seed = random.Random(words).getrandbits(32)
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
