"""Several tasks as one torch dataset, without touching them, and the sampler that mixes them."""

from __future__ import annotations

import itertools
import mmap
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from toolkit.common.images import normalize, read_image, resize

from .mixing import MixingSampler
from .task import Task

__all__ = ["MixingSampler", "MultitaskDataset", "label_distribution"]

SPLITS = {"train": "train_x", "train_x": "train_x", "val": "val", "test": "test"}
GIB = 1 << 30


class MultitaskDataset(Dataset):
    """The `split` lists of `tasks`, one after the other.

    An item is a dict:
        img      float32 (3, S, S), normalised
        label    int, the first label within its task; -1 for a negative image
        labels   int64 (K,), all labels within its task, padded with -1; K is the most labels that an image here has
        task     int, the position of its task
        index    int, the position in this dataset
        impath   str, the path as the task's index has it

    Args:
        split: "train", "val" or "test".
        size: the side S of the images in pixels.
        crop: "squash" or "crop" for all tasks; None takes each task's own.
        transform: called with the PIL image instead of `resize`. A float tensor that it returns is taken as normalised.
        cache: keep decoded images as uint8. Not with a `transform`, and only where all fit into `cache_bytes`.

    Attributes:
        tasks, names: the tasks and their names.
        offsets: per task, the first of its columns in the union of all classes.
        num_classes, classnames, lab2cname: of the union. Classes of the same name in two tasks stay two classes.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        split: str,
        size: int,
        interpolation: str,
        mean: Sequence[float],
        std: Sequence[float],
        crop: str | None = None,
        transform: Callable[[Image.Image], Tensor] | None = None,
        cache: bool = True,
        cache_bytes: int = GIB,
    ):
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; choose train, val or test")
        self.tasks, self.names = list(tasks), [task.name for task in tasks]
        if not self.tasks:
            raise ValueError("no task is given")
        if len(set(self.names)) < len(self.names):
            name = next(name for name, count in Counter(self.names).items() if count > 1)
            raise ValueError(f"task {name} is given twice")
        self.split, self.size, self.interpolation = split, size, interpolation
        self.mean, self.std, self.crop, self.transform = tuple(mean), tuple(std), crop, transform

        lists = [getattr(task, SPLITS[split]) or [] for task in self.tasks]
        self.samples = [sample for samples in lists for sample in samples]
        self._starts = [0, *itertools.accumulate(map(len, lists))]
        self.offsets = [0, *itertools.accumulate(task.num_classes for task in self.tasks)][:-1]
        self.classnames = [name for task in self.tasks for name in task.classnames]
        self.num_classes = len(self.classnames)
        self.max_labels = max((len(sample.labels) for sample in self.samples), default=1) or 1
        fits = len(self.samples) * 3 * size * size <= cache_bytes
        self._cache = _ImageCache(len(self.samples), size) if cache and transform is None and fits else None

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        task, sample = self.task_of(index), self.samples[index]
        image = self._image(index, task)
        labels = (*sample.labels, *[-1] * (self.max_labels - len(sample.labels)))
        return {
            "img": image if image.is_floating_point() else normalize(image, self.mean, self.std),
            "label": sample.label,
            "labels": torch.tensor(labels),
            "task": task,
            "index": index,
            "impath": sample.key,
        }

    def batch(self, rows: Sequence[int]) -> dict:
        """The items of `rows` as `default_collate` stacks them, normalised at once."""
        images = self._cache.get_all(rows) if self._cache else None
        if images is None:
            images = torch.stack([self._image(row, self.task_of(row)) for row in rows])
        return {
            "img": images if images.is_floating_point() else normalize(images, self.mean, self.std),
            "label": self.labels[rows, 0],
            "labels": self.labels[rows],
            "task": self.owners[rows],
            "index": torch.tensor(rows),
            "impath": [self.samples[row].key for row in rows],
        }

    @cached_property
    def lab2cname(self) -> dict[int, str]:
        """Column of the union -> class name."""
        return dict(enumerate(self.classnames))

    @cached_property
    def labels(self) -> Tensor:
        """Labels within their tasks, int64 (N, K), padded with -1."""
        labels = [sample.labels for sample in self.samples]
        padded = [(*own, *[-1] * (self.max_labels - len(own))) for own in labels]
        return torch.tensor(padded, dtype=torch.int64).view(len(labels), self.max_labels)

    @cached_property
    def owners(self) -> Tensor:
        """The position of each item's task, int64 (N,)."""
        return torch.arange(len(self.tasks)).repeat_interleave(torch.tensor(self.sizes))

    @property
    def sizes(self) -> list[int]:
        """The number of images of each task, as `MixingSampler` takes them."""
        return [len(self.rows(task)) for task in range(len(self.tasks))]

    @property
    def image_bytes(self) -> int:
        """What decoded images may take, once all are kept."""
        return len(self.samples) * 3 * self.size * self.size if self._cache else 0

    def forget_images(self, for_good: bool = False) -> None:
        """Give back the memory of decoded images; with `for_good`, those to come are not kept either."""
        if self._cache:
            self._cache = None if for_good else _ImageCache(len(self.samples), self.size)

    def task_of(self, index: int) -> int:
        """The position of the task that item `index` belongs to."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range: the dataset has {len(self)} items")
        return bisect_right(self._starts, index) - 1

    def rows(self, task: int) -> range:
        """The items of the task at position `task`."""
        return range(self._starts[task], self._starts[task + 1])

    def targets(self, task: int) -> Tensor:
        """Labels within the task: int64 (N,) if multiclass (-1: negative image), 0/1 int64 (N, C) if multilabel."""
        labels = [self.samples[row].labels for row in self.rows(task)]
        if self.tasks[task].label_kind == "multiclass":
            return torch.tensor([own[0] if own else -1 for own in labels], dtype=torch.int64)
        targets = torch.zeros(len(labels), self.tasks[task].num_classes, dtype=torch.int64)
        for row, own in enumerate(labels):
            targets[row, list(own)] = 1
        return targets

    def _image(self, index: int, task: int) -> Tensor:
        """uint8 (3, S, S), or what `transform` returns."""
        path, crop = self.samples[index].impath, self.crop or self.tasks[task].crop
        if self.transform is not None:
            return self.transform(read_image(path))
        image = self._cache.get(index) if self._cache else None
        if image is None:
            image = resize(read_image(path), self.size, crop, self.interpolation)
            if self._cache:
                self._cache.put(index, image)
        return image


class _ImageCache:
    """uint8 images in anonymous shared memory: what a forked worker decodes, all others have too.

    Pages take memory once they are written. Where a copy is sent to a spawned worker, it starts out empty.
    """

    def __init__(self, count: int, size: int):
        self._shape = (count, 3, size, size)
        nbytes = count * 3 * size * size
        self._pixels = torch.frombuffer(mmap.mmap(-1, max(nbytes, 1)), dtype=torch.uint8)[:nbytes].view(self._shape)
        self._filled = torch.frombuffer(mmap.mmap(-1, max(count, 1)), dtype=torch.uint8)

    def get(self, index: int) -> Tensor | None:
        return self._pixels[index] if self._filled[index] else None

    def get_all(self, rows: Sequence[int]) -> Tensor | None:
        """(B, 3, S, S), or None where one of them is not there yet."""
        rows = torch.tensor(rows)
        return self._pixels[rows] if self._filled[rows].all() else None

    def put(self, index: int, image: Tensor) -> None:
        self._pixels[index] = image
        self._filled[index] = 1

    def __reduce__(self):
        return _ImageCache, (self._shape[0], self._shape[-1])


def label_distribution(labels: Tensor, num_classes: int) -> Tensor:
    """Labels (B, K), padded with -1, as target distributions (B, num_classes): 1/k on each of an image's k labels.

    The row of an image without labels is all zeros, so that its cross-entropy is 0.
    """
    distribution = torch.zeros(len(labels), num_classes + 1, device=labels.device)
    distribution.scatter_(1, torch.where(labels < 0, num_classes, labels), 1.0)  # the last column takes the padding
    distribution = distribution[:, :num_classes]
    return distribution / distribution.sum(dim=1, keepdim=True).clamp(min=1.0)
