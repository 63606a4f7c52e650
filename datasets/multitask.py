"""Several tasks as one torch dataset, without touching them."""

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

from .task import Task

SPLITS = {"train": "train_x", "train_x": "train_x", "val": "val", "test": "test"}
CACHE_BUDGET = 1 << 30  # bytes of decoded images


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
        crop: "squash" or "crop" for all tasks; None takes each task's setting.
        transform: called with the PIL image instead of `resize`. A float tensor that it returns is taken as normalised.
        cache_budget: decoded images are kept, as uint8, if all take at most as many bytes and there is no `transform`.

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
        cache_budget: int = CACHE_BUDGET,
    ):
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; choose train, val or test")
        self.tasks, self.names = list(tasks), [task.name for task in tasks]
        _check_names(self.names)
        self.split, self.size, self.interpolation = split, size, interpolation
        self.mean, self.std, self.crop, self.transform = tuple(mean), tuple(std), crop, transform

        lists = [getattr(task, SPLITS[split]) or [] for task in self.tasks]
        self.samples = list(itertools.chain.from_iterable(lists))
        self.sizes = [len(samples) for samples in lists]
        self._starts = [0, *itertools.accumulate(self.sizes)]
        classes = [task.num_classes for task in self.tasks]
        self.offsets = [0, *itertools.accumulate(classes)][:-1]
        self.classnames = [name for task in self.tasks for name in task.classnames]
        self.num_classes = len(self.classnames)
        most = max((len(sample.labels) for sample in self.samples), default=1)
        self.max_labels = max(most, 1)
        self._cache = None
        if transform is None and len(self.samples) * 3 * size * size <= cache_budget:
            self._cache = _ImageCache(len(self.samples), size)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        task, sample = self.task_of(index), self.samples[index]
        return {
            "img": self._normalized(self._image(index, task)),
            "label": sample.label,
            "labels": self.labels[index].clone(),
            "task": task,
            "index": index,
            "impath": sample.key,
        }

    def batch(self, rows: Sequence[int]) -> dict:
        """Return the items of `rows` as `default_collate` stacks them, normalised at once."""
        images = self._cache.get_all(rows) if self._cache else None
        if images is None:
            images = torch.stack([self._image(row, self.task_of(row)) for row in rows])
        return {
            "img": self._normalized(images),
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
        padding = [-1] * self.max_labels
        padded = [(*sample.labels, *padding)[: self.max_labels] for sample in self.samples]
        return torch.tensor(padded, dtype=torch.int64).view(len(padded), self.max_labels)

    @cached_property
    def owners(self) -> Tensor:
        """The position of each item's task, int64 (N,)."""
        return torch.arange(len(self.tasks)).repeat_interleave(torch.tensor(self.sizes))

    @property
    def image_bytes(self) -> int:
        """The bytes that decoded images take once all are kept, 0 if they are not."""
        return len(self.samples) * 3 * self.size * self.size if self._cache else 0

    def forget_images(self, for_good: bool = False) -> None:
        """Free the memory of decoded images; with `for_good`, those to come are not kept either."""
        if for_good:
            self._cache = None
        elif self._cache:
            self._cache = _ImageCache(len(self.samples), self.size)

    def task_of(self, index: int) -> int:
        """Return the position of the task that item `index` belongs to."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range: the dataset has {len(self)} items")
        return bisect_right(self._starts, index) - 1

    def rows(self, task: int) -> range:
        """Return the items of the task at position `task`."""
        return range(self._starts[task], self._starts[task + 1])

    def targets(self, task: int) -> Tensor:
        """Return labels within the task: int64 (N,) if multiclass (-1: negative image), 0/1 int64 (N, C) if multilabel."""
        samples = [self.samples[row] for row in self.rows(task)]
        if self.tasks[task].label_kind == "multiclass":
            return torch.tensor([sample.label for sample in samples], dtype=torch.int64)
        targets = torch.zeros(len(samples), self.tasks[task].num_classes, dtype=torch.int64)
        for row, sample in enumerate(samples):
            targets[row, list(sample.labels)] = 1
        return targets

    def _image(self, index: int, task: int) -> Tensor:
        """Return uint8 (3, S, S), or what `transform` makes of the image."""
        path = self.samples[index].impath
        if self.transform is not None:
            return self.transform(read_image(path))
        image = self._cache.get(index) if self._cache else None
        if image is None:
            crop = self.crop or self.tasks[task].crop
            image = resize(read_image(path), self.size, crop, self.interpolation)
            if self._cache:
                self._cache.put(index, image)
        return image

    def _normalized(self, images: Tensor) -> Tensor:
        return images if images.is_floating_point() else normalize(images, self.mean, self.std)


def _check_names(names: Sequence[str]) -> None:
    if not names:
        raise ValueError("no task is given")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"task {name} is given twice")


class _ImageCache:
    """uint8 images in anonymous shared memory: all processes have what a forked worker decodes.

    Pages take memory once they are written. The copy of a spawned worker starts empty.
    """

    def __init__(self, count: int, size: int):
        self._shape = (count, 3, size, size)
        nbytes = count * 3 * size * size
        self._pixels = torch.frombuffer(mmap.mmap(-1, max(nbytes, 1)), dtype=torch.uint8)[:nbytes].view(self._shape)
        self._filled = torch.frombuffer(mmap.mmap(-1, max(count, 1)), dtype=torch.uint8)

    def get(self, index: int) -> Tensor | None:
        return self._pixels[index] if self._filled[index] else None

    def get_all(self, rows: Sequence[int]) -> Tensor | None:
        """Return (B, 3, S, S), or None if one of them is not there yet."""
        rows = torch.tensor(rows)
        return self._pixels[rows] if self._filled[rows].all() else None

    def put(self, index: int, image: Tensor) -> None:
        self._pixels[index] = image
        self._filled[index] = 1

    def __reduce__(self):
        return _ImageCache, (self._shape[0], self._shape[-1])


def label_distribution(labels: Tensor, num_classes: int) -> Tensor:
    """Return target distributions (B, num_classes) of labels (B, K) padded with -1: 1/k on each of an image's k labels.

    The row of an image without labels is all zeros, so that its cross-entropy is 0.
    """
    distribution = torch.zeros(len(labels), num_classes + 1, device=labels.device)
    distribution.scatter_(1, torch.where(labels < 0, num_classes, labels), 1.0)  # the last column takes the padding
    distribution = distribution[:, :num_classes]
    return distribution / distribution.sum(dim=1, keepdim=True).clamp(min=1.0)
