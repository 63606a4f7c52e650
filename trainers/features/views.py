"""Augmented views of training images: what a random transform makes of an image depends on the seed, the epoch or view
and the image alone. So a run can go on anywhere, with any number of loader workers; and where an image has a few views
(INPUT.CACHED_VIEWS), a frozen image tower needs to see each only once."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset


class View(Dataset):
    """One view of a dataset with a random transform: what an item becomes depends on `seed`, `view` and its position
    alone, not on worker processes or on what was drawn before."""

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


def view_features(dataset: Dataset, views: int, seed: int, encode: Callable[[Dataset], Tensor]) -> Tensor:
    """Features (views, N, d) of a dataset with a random transform; `encode` gives those of one view, (N, d)."""
    return torch.stack([encode(View(dataset, view, seed)) for view in range(views)])


@contextlib.contextmanager
def _seeded(words: str) -> Iterator[None]:
    """Random generators of torch, numpy and Python seeded from `words`; afterwards they are where they were."""
    seed = random.Random(words).getrandbits(32)
    before = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])
