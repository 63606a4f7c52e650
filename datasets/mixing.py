"""In which order, and how often, the images of several tasks are seen."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

MIXINGS = ("proportional", "uniform", "temperature")


class MixingSampler(Sampler[list[int]]):
    """Batches of positions in a dataset that holds its tasks one after the other; a DataLoader's `batch_sampler`.

    An epoch's order is a function of (seed, epoch) alone: call `set_epoch` before each epoch, or it repeats.

    Args:
        sizes: the number of images of each task; tasks without images are never drawn.
        mixing: "proportional" shows every image once an epoch. "uniform" gives every task the same share of the epoch,
            "temperature" a share proportional to size ** (1 / temperature). A task's images come in shuffled
            passes, so that none is seen twice before all are seen once.
        temperature: 1 gives shares proportional to size, more evens them out.
        homogeneous: every batch is from one task.
        drop_last: drop the short last batch (if homogeneous: of each pass over a task), unless it is the only one.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch_size: int,
        mixing: str = "proportional",
        temperature: float = 2.0,
        homogeneous: bool = False,
        seed: int = 0,
        drop_last: bool = True,
    ):
        if mixing not in MIXINGS:
            nearest = difflib.get_close_matches(mixing, MIXINGS, n=1, cutoff=0.0)[0]
            raise ValueError(f"unknown mixing {mixing!r}; the nearest of {', '.join(MIXINGS)} is {nearest!r}")
        if batch_size < 1 or temperature <= 0:
            raise ValueError(f"batch size {batch_size} and temperature {temperature} must be positive")
        if sum(sizes) == 0:
            raise ValueError("there are no training images to draw batches from")
        self.sizes, self.starts = np.array(sizes), np.cumsum([0, *sizes[:-1]])
        self.batch_size, self.mixing, self.temperature = batch_size, mixing, temperature
        self.homogeneous, self.seed, self.drop_last = homogeneous, seed, drop_last
        self.epoch = self.first = 0

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Choose the epoch whose order the next iteration has, and the batch that it begins with."""
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        """Batches an epoch: the same for every mixing, namely what proportional mixing needs."""
        if self.homogeneous:
            return sum(self._num_batches(size) for size in self.sizes)
        return self._num_batches(self.sizes.sum())

    def __iter__(self) -> Iterator[list[int]]:
        generator = np.random.default_rng([self.seed % 2**32, self.epoch])
        batches = self._task_batches(generator) if self.homogeneous else self._mixed_batches(generator)
        return iter(batches[self.first :])

    @property
    def shares(self) -> np.ndarray:
        """Each task's expected share of an epoch, (tasks,); sums to 1."""
        power = {"proportional": 1.0, "uniform": 0.0, "temperature": 1.0 / self.temperature}[self.mixing]
        weights = np.where(self.sizes > 0, self.sizes.clip(1).astype(float) ** power, 0.0)
        return weights / weights.sum()

    def _mixed_batches(self, generator: np.random.Generator) -> list[list[int]]:
        if self.mixing == "proportional":
            indices = generator.permutation(self.sizes.sum())
        else:
            counts = self._allot(min(len(self) * self.batch_size, self.sizes.sum()), generator)
            drawn = [self._passes(task, count, generator)[:count] for task, count in enumerate(counts)]
            indices = generator.permutation(np.concatenate(drawn))
        return self._split(indices)

    def _task_batches(self, generator: np.random.Generator) -> list[list[int]]:
        per_pass = [self._num_batches(size) for size in self.sizes]
        counts = per_pass if self.mixing == "proportional" else self._allot(len(self), generator)
        batches: list[list[int]] = []
        for task, count in enumerate(counts):
            passes = -(-count // per_pass[task]) if count else 0
            own = [batch for _ in range(passes) for batch in self._split(self._passes(task, 1, generator))]
            batches += own[:count]
        return [batches[position] for position in generator.permutation(len(batches))]

    def _passes(self, task: int, count: int, generator: np.random.Generator) -> np.ndarray:
        """As many shuffled passes over a task as `count` images take, one after the other."""
        passes = -(-count // self.sizes[task]) if count else 0
        orders = [self.starts[task] + generator.permutation(self.sizes[task]) for _ in range(passes)]
        return np.concatenate([np.empty(0, dtype=np.int64), *orders])

    def _allot(self, total: int, generator: np.random.Generator) -> np.ndarray:
        """Split `total` into whole numbers by `shares`: each within 1 of its share, and exactly it on average."""
        edges = np.cumsum([0.0, *self.shares])
        return np.diff(np.floor(edges / edges[-1] * total + generator.random())).astype(int)

    def _num_batches(self, images: int) -> int:
        full, rest = divmod(int(images), self.batch_size)
        return full if full and self.drop_last else full + (rest > 0)

    def _split(self, indices: np.ndarray) -> list[list[int]]:
        starts = range(0, self._num_batches(len(indices)) * self.batch_size, self.batch_size)
        return [indices[start : start + self.batch_size].tolist() for start in starts]
