"""Orders in which a loader visits its items."""

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence

from torch.utils.data import RandomSampler, Sampler, SequentialSampler

SAMPLERS = (
    "RandomSampler",
    "SequentialSampler",
    "RandomDomainSampler",
    "SeqDomainSampler",
    "RandomClassSampler",
)


class _GroupSampler(Sampler):
    """Batches of ``n_groups`` groups times ``n_ins`` items, until fewer than
    ``n_groups`` groups have items left.

    Each batch takes the groups with most items left (ties at random): thus the number
    of batches is the same in every epoch, and the largest one that such batches allow.
    """

    def __init__(self, groups: dict[int, list[int]], n_groups: int, n_ins: int):
        self.groups = groups
        self.n_groups = n_groups
        self.n_ins = n_ins

    def chunks(self, indices: list[int]) -> list[list[int]]:
        """Return a group's items of one epoch in random order, ``n_ins`` a chunk,
        without a short rest.
        """
        order = random.sample(indices, len(indices))
        starts = range(0, len(order) - self.n_ins + 1, self.n_ins)
        return [order[start : start + self.n_ins] for start in starts]

    def arrange(self, chosen: list[int]) -> list[int]:
        """Return the order of the chosen groups within a batch."""
        return chosen

    def num_chunks(self, indices: list[int]) -> int:
        """Return the length of ``chunks(indices)``."""
        return len(indices) // self.n_ins

    def _choose(self, left: dict[int, int]) -> list[int]:
        """Return the groups of the next batch, [] at the end."""
        ready = [group for group, count in left.items() if count > 0]
        if len(ready) < self.n_groups:
            return []
        random.shuffle(ready)
        return sorted(ready, key=left.get, reverse=True)[: self.n_groups]

    def __iter__(self) -> Iterator[int]:
        chunks = {group: self.chunks(indices) for group, indices in self.groups.items()}
        left = {group: len(stack) for group, stack in chunks.items()}
        while chosen := self._choose(left):
            for group in self.arrange(chosen):
                left[group] -= 1
                yield from chunks[group].pop()

    def __len__(self) -> int:
        left = [self.num_chunks(indices) for indices in self.groups.values()]
        left.sort(reverse=True)
        batches = 0
        while len(left) >= self.n_groups and left[self.n_groups - 1] > 0:
            for position in range(self.n_groups):
                left[position] -= 1
            left.sort(reverse=True)
            batches += 1
        return batches * self.n_groups * self.n_ins


class RandomDomainSampler(_GroupSampler):
    """Batches of ``n_domain`` domains (<= 0: all) with equally many random items each.

    Raises:
        ValueError: more domains asked for than there are, or a batch size that they do
            not divide.
    """

    def __init__(self, data_source: Sequence, batch_size: int, n_domain: int):
        groups = _indices_by(data_source, "domain")
        n_domain = n_domain if n_domain > 0 else len(groups)
        if n_domain > len(groups):
            raise ValueError(
                f"N_DOMAIN is {n_domain}, but the data has {len(groups)} domains"
            )
        if batch_size % n_domain:
            raise ValueError(
                f"BATCH_SIZE ({batch_size}) must be a multiple of the {n_domain} domains in a batch"
            )
        super().__init__(groups, n_domain, batch_size // n_domain)


class SeqDomainSampler(RandomDomainSampler):
    """Batches of equally many random items of every domain, domains in ascending order."""

    def __init__(self, data_source: Sequence, batch_size: int):
        super().__init__(data_source, batch_size, n_domain=0)

    def arrange(self, chosen: list[int]) -> list[int]:
        return sorted(chosen)


class RandomClassSampler(_GroupSampler):
    """Batches of ``batch_size // n_ins`` classes with ``n_ins`` items each; small
    classes repeat items.

    Raises:
        ValueError: a batch smaller than ``n_ins``, or more classes in a batch than
            there are.
    """

    def __init__(self, data_source: Sequence, batch_size: int, n_ins: int):
        if batch_size < n_ins:
            raise ValueError(
                f"BATCH_SIZE ({batch_size}) must not be smaller than N_INS ({n_ins})"
            )
        groups = _indices_by(data_source, "label")
        n_classes = batch_size // n_ins
        if n_classes > len(groups):
            raise ValueError(
                f"BATCH_SIZE {batch_size} with N_INS {n_ins} needs {n_classes} classes, but the data has {len(groups)}"
            )
        super().__init__(groups, n_classes, n_ins)

    def chunks(self, indices: list[int]) -> list[list[int]]:
        if len(indices) < self.n_ins:
            return [random.choices(indices, k=self.n_ins)]
        return super().chunks(indices)

    def num_chunks(self, indices: list[int]) -> int:
        return max(1, super().num_chunks(indices))


def _indices_by(data_source: Sequence, attribute: str) -> dict[int, list[int]]:
    groups = defaultdict(list)
    for index, item in enumerate(data_source):
        groups[getattr(item, attribute)].append(index)
    return dict(sorted(groups.items()))


def build_sampler(
    sampler_type: str,
    cfg=None,
    data_source: Sequence | None = None,
    batch_size: int = 32,
    n_domain: int = 0,
    n_ins: int = 16,
) -> Sampler:
    """Return a sampler by name: RandomSampler, SequentialSampler, RandomDomainSampler,
    SeqDomainSampler, RandomClassSampler.

    Raises:
        ValueError: unknown name, or sizes that do not fit the data.
    """
    if sampler_type == "RandomSampler":
        return RandomSampler(data_source)
    if sampler_type == "SequentialSampler":
        return SequentialSampler(data_source)
    if sampler_type == "RandomDomainSampler":
        return RandomDomainSampler(data_source, batch_size, n_domain)
    if sampler_type == "SeqDomainSampler":
        return SeqDomainSampler(data_source, batch_size)
    if sampler_type == "RandomClassSampler":
        return RandomClassSampler(data_source, batch_size, n_ins)
    raise ValueError(
        f"Unknown sampler {sampler_type!r}; choose one of {', '.join(SAMPLERS)}"
    )
