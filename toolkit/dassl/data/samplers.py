"""Orders in which a loader visits its items."""

import random
from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import RandomSampler, Sampler, SequentialSampler

from toolkit.common.grouping import grouped


class _DrawnSampler(Sampler):
    """An order drawn by Python's random generator at the start of each epoch. Its length
    is that of a first draw, so that the generator is in the same state as in Dassl.
    """

    def __init__(self, groups: dict[int, list[int]]):
        self.groups = groups
        self.length = len(self.draw())

    def draw(self) -> list[int]:
        """Return the indices of one epoch."""
        raise NotImplementedError

    def __iter__(self) -> Iterator[int]:
        return iter(self.draw())

    def __len__(self) -> int:
        return self.length


class RandomDomainSampler(_DrawnSampler):
    """Batches of ``n_domain`` random domains (<= 0: all) with equally many random items
    each, until one of a batch's domains has too few left for another. Raises ValueError
    for too many domains, a batch size that they do not divide, or too few items.
    """

    def __init__(self, data_source: Sequence, batch_size: int, n_domain: int):
        groups = grouped(range(len(data_source)), lambda i: data_source[i].domain)
        n_domain = n_domain if n_domain > 0 else len(groups)
        if n_domain > len(groups):
            raise ValueError(
                f"N_DOMAIN is {n_domain}, but the data has {len(groups)} domains"
            )
        if batch_size % n_domain:
            raise ValueError(
                f"BATCH_SIZE ({batch_size}) must be a multiple of the {n_domain} domains in a batch"
            )
        self.n_domain = n_domain
        self.n_items = batch_size // n_domain
        for domain, indices in groups.items():
            if len(indices) < self.n_items:
                raise ValueError(
                    f"domain {domain} has {len(indices)} items, fewer than the {self.n_items} of a batch"
                )
        super().__init__(groups)

    def choose(self) -> list[int]:
        """Return the domains of a batch."""
        return random.sample(list(self.groups), self.n_domain)

    def draw(self) -> list[int]:
        left = {domain: list(indices) for domain, indices in self.groups.items()}
        order: list[int] = []
        is_last = False
        while not is_last:
            for domain in self.choose():
                chosen = random.sample(left[domain], self.n_items)
                order += chosen
                for index in chosen:
                    left[domain].remove(index)
                if len(left[domain]) < self.n_items:
                    is_last = True
        return order


class SeqDomainSampler(RandomDomainSampler):
    """Batches of equally many random items of every domain, domains in ascending order."""

    def __init__(self, data_source: Sequence, batch_size: int):
        super().__init__(data_source, batch_size, n_domain=0)

    def choose(self) -> list[int]:
        return sorted(self.groups)


class RandomClassSampler(_DrawnSampler):
    """Batches of ``batch_size // n_ins`` classes with ``n_ins`` items each, until too few
    classes have items left; small classes repeat items. Their number depends on the
    draw. Raises ValueError if no batch can have ``n_ins`` items of so many classes.
    """

    def __init__(self, data_source: Sequence, batch_size: int, n_ins: int):
        if batch_size < n_ins:
            raise ValueError(f"BATCH_SIZE ({batch_size}) is below N_INS ({n_ins})")
        groups = grouped(range(len(data_source)), lambda i: data_source[i].label)
        self.n_classes = batch_size // n_ins
        self.n_ins = n_ins
        if self.n_classes > len(groups):
            raise ValueError(
                f"BATCH_SIZE {batch_size} with N_INS {n_ins} needs {self.n_classes} classes, but the data has {len(groups)}"
            )
        super().__init__(groups)

    def draw(self) -> list[int]:
        chunks = {}
        for label, indices in self.groups.items():
            chunks[label] = self._chunks(indices)
        left = list(chunks)
        order: list[int] = []
        while len(left) >= self.n_classes:
            for label in random.sample(left, self.n_classes):
                order += chunks[label].pop(0)
                if not chunks[label]:
                    left.remove(label)
        return order

    def _chunks(self, indices: list[int]) -> list[list[int]]:
        """Return a class's items in random order, ``n_ins`` a chunk."""
        order = list(indices)
        if len(order) < self.n_ins:
            order = np.random.choice(order, size=self.n_ins, replace=True).tolist()
        random.shuffle(order)
        starts = range(0, len(order) - self.n_ins + 1, self.n_ins)
        return [order[start : start + self.n_ins] for start in starts]


def build_sampler(
    sampler_type: str,
    cfg=None,
    data_source: Sequence | None = None,
    batch_size: int = 32,
    n_domain: int = 0,
    n_ins: int = 16,
) -> Sampler:
    """Return a sampler by name. Raise ValueError for an unknown one, or wrong sizes."""
    samplers = {
        "RandomSampler": (RandomSampler,),
        "SequentialSampler": (SequentialSampler,),
        "RandomDomainSampler": (RandomDomainSampler, batch_size, n_domain),
        "SeqDomainSampler": (SeqDomainSampler, batch_size),
        "RandomClassSampler": (RandomClassSampler, batch_size, n_ins),
    }
    if sampler_type not in samplers:
        raise ValueError(
            f"Unknown sampler {sampler_type!r}; choose one of {', '.join(samplers)}"
        )
    cls, *sizes = samplers[sampler_type]
    return cls(data_source, *sizes)
