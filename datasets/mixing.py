"""The order in which the images of several tasks are seen, and how often."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from toolkit.common.suggest import nearest

MIXINGS = ("proportional", "uniform", "temperature")


class MixingSampler(Sampler[list[int]]):
    """Batches of positions in a dataset that holds its tasks one after the other; a
    DataLoader's `batch_sampler`. An epoch's order is a function of (seed, epoch) alone:
    call `set_epoch` before each epoch, or it repeats.

    sizes: images of each task; tasks without images are never sampled. mixing:
    "proportional" shows every image once an epoch; "uniform" gives every task the same
    share, "temperature" one proportional to size ** (1 / temperature), in shuffled
    passes, so that no image is seen twice before all are seen once. homogeneous: every
    batch is from one task. drop_last: drop the short last batch (if homogeneous: of
    each pass over a task), unless it is the only one.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        batch_size: int,
        mixing: str = "proportional",
        temperature: float = 2.0,
        homogeneous: bool = False,
        seed: int = 0,
        drop_last: bool = False,
    ):
        if mixing not in MIXINGS:
            choices = ", ".join(MIXINGS)
            raise ValueError(
                f"unknown mixing {mixing!r}; the nearest of {choices} is {nearest(mixing, MIXINGS)[0]!r}"
            )
        if batch_size < 1 or temperature <= 0:
            raise ValueError(
                f"batch size {batch_size} and temperature {temperature} must be positive"
            )
        if sum(sizes) == 0:
            raise ValueError("there are no training images to sample batches from")
        self.sizes = np.array(sizes)
        self.starts = np.cumsum([0, *sizes[:-1]])
        self.batch_size, self.drop_last = batch_size, drop_last
        self.mixing, self.temperature = mixing, temperature
        self.homogeneous, self.seed = homogeneous, seed
        self.epoch = self.first = 0

    def set_epoch(self, epoch: int, first: int = 0) -> None:
        """Set the epoch, and the batch that its next iteration begins with."""
        self.epoch, self.first = epoch, first

    def __len__(self) -> int:
        """Return the batches of an epoch, as many as proportional mixing needs."""
        if not self.homogeneous:
            return self._num_batches(self.sizes.sum())
        return sum(self._num_batches(size) for size in self.sizes)

    def __iter__(self) -> Iterator[list[int]]:
        seed = self.seed % 2**32
        generator = np.random.default_rng([seed, self.epoch])
        if self.homogeneous:
            batches = self._task_batches(generator)
        else:
            batches = self._mixed_batches(generator)
        return iter(batches[self.first :])

    @property
    def shares(self) -> np.ndarray:
        """Return each task's expected share of an epoch, (tasks,); sums to 1."""
        powers = {
            "proportional": 1.0,
            "uniform": 0.0,
            "temperature": 1.0 / self.temperature,
        }
        sizes = self.sizes.clip(1).astype(float)
        weights = sizes ** powers[self.mixing]
        weights[self.sizes == 0] = 0.0
        return weights / weights.sum()

    def _mixed_batches(self, generator: np.random.Generator) -> list[list[int]]:
        if self.mixing == "proportional":
            order = generator.permutation(self.sizes.sum())
            return self._split(order)
        images = len(self) * self.batch_size
        total = min(images, self.sizes.sum())
        samples = []
        for task, count in enumerate(self._allot(total, generator)):
            while count > 0:
                order = self._pass(task, generator)[:count]
                samples.append(order)
                count -= len(order)
        order = generator.permutation(np.concatenate(samples))
        return self._split(order)

    def _task_batches(self, generator: np.random.Generator) -> list[list[int]]:
        counts = [self._num_batches(size) for size in self.sizes]
        if self.mixing != "proportional":
            counts = self._allot(len(self), generator)
        batches: list[list[int]] = []
        for task, count in enumerate(counts):
            of_task: list[list[int]] = []
            while len(of_task) < count:
                of_task += self._split(self._pass(task, generator))
            batches += of_task[:count]
        order = generator.permutation(len(batches))
        return [batches[position] for position in order]

    def _pass(self, task: int, generator: np.random.Generator) -> np.ndarray:
        """Return the positions of a task's images, shuffled."""
        order = generator.permutation(self.sizes[task])
        return self.starts[task] + order

    def _allot(self, total: int, generator: np.random.Generator) -> np.ndarray:
        """Split `total` by `shares`: each within 1 of its share, on average exactly."""
        edges = np.cumsum([0.0, *self.shares])
        edges = edges / edges[-1] * total
        edges = edges + generator.random()
        counts = np.diff(np.floor(edges))
        return counts.astype(int)

    def _num_batches(self, images: int) -> int:
        full, rest = divmod(int(images), self.batch_size)
        if rest and (full == 0 or not self.drop_last):
            return full + 1
        return full

    def _split(self, indices: np.ndarray) -> list[list[int]]:
        size, batches = self.batch_size, []
        for number in range(self._num_batches(len(indices))):
            batch = indices[number * size : (number + 1) * size]
            batches.append(batch.tolist())
        return batches
