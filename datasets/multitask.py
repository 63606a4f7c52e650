"""Several tasks as one torch dataset, without touching them."""

import itertools
import mmap
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from toolkit.common.images import ImageError, normalize, read_image, resize
from toolkit.common.progress import progress

from .task import Task

SPLITS = {"train": "train_x", "val": "val", "test": "test"}
CACHE_BUDGET = 1 << 30  # bytes of decoded images


class MultitaskDataset(Dataset):
    """The `split` ("train", "val" or "test") lists of `tasks`, one after the other.

    An item is a dict:
        img      float32 (3, S, S), normalised
        label    int, the first label within its task; -1 for a negative image
        labels   int64 (K,), all labels within its task, padded with -1
        task     int, the position of its task
        index    int, the position in this dataset
        impath   str, the path as the task's index has it

    size: S in pixels. crop: "squash" or "crop" for all tasks; None takes each task's.
    transform: of the PIL image instead of `resize`; a float tensor that it returns is
    taken as normalised. cache_budget: decoded images are kept, as uint8, if all take at
    most as many bytes and there is no `transform`. background: see `read_image`.

    Attributes `num_classes`, `classnames` and `lab2cname` are of the union of all
    classes, in which those of one name stay two; `offsets` has each task's first
    column.
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
        background: str = "white",
    ):
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; choose train, val or test")
        self.tasks = list(tasks)
        self.names = [task.name for task in self.tasks]
        if not self.names:
            raise ValueError("no task is given")
        name, count = Counter(self.names).most_common(1)[0]
        if count > 1:
            raise ValueError(f"task {name} is given twice")
        self.split = split
        self.size, self.interpolation = size, interpolation
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.crop, self.transform = crop, transform
        self.background = background

        self.samples, self.sizes = [], []
        self.classnames, self.offsets = [], []
        for task in self.tasks:
            samples = getattr(task, SPLITS[split]) or []
            self.samples += samples
            self.sizes.append(len(samples))
            self.offsets.append(len(self.classnames))
            self.classnames += task.classnames
        self._starts = [0, *itertools.accumulate(self.sizes)]
        self.num_classes = len(self.classnames)
        counts = [len(sample.labels) for sample in self.samples]
        self.max_labels = max([1, *counts])
        self._cache = None
        nbytes = len(self.samples) * 3 * size * size
        if transform is None and nbytes <= cache_budget:
            self._cache = _ImageCache(len(self.samples), size)

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> dict:
        task = self.task_of(index)
        sample = self.samples[index]
        return {
            "img": self._normalized(self._image(index)),
            "label": sample.label,
            "labels": self.labels[index].clone(),
            "task": task,
            "index": index,
            "impath": sample.key,
        }

    def batch(self, rows: Sequence[int]) -> dict:
        """Return the items of `rows` as `default_collate` stacks them."""
        images = self._cache.get(list(rows)) if self._cache else None
        if images is None:
            decoded = [self._image(row) for row in rows]
            images = torch.stack(decoded)
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
        """Return column of the union -> class name."""
        return dict(enumerate(self.classnames))

    @cached_property
    def labels(self) -> Tensor:
        """Return labels within their tasks, int64 (N, K), padded with -1."""
        most, padding = self.max_labels, [-1] * self.max_labels
        padded = [(*sample.labels, *padding)[:most] for sample in self.samples]
        labels = torch.tensor(padded, dtype=torch.int64)
        return labels.view(-1, most)

    @cached_property
    def owners(self) -> Tensor:
        """Return the position of each item's task, int64 (N,)."""
        tasks = torch.arange(len(self.tasks))
        return tasks.repeat_interleave(torch.tensor(self.sizes))

    @property
    def image_bytes(self) -> int:
        """Return the bytes of all decoded images, 0 if they are not kept."""
        return self._cache.nbytes if self._cache else 0

    def forget_images(self, for_good: bool = False) -> None:
        """Free the decoded images, and keep no others if `for_good`."""
        if for_good:
            self._cache = None
        elif self._cache:
            self._cache = _ImageCache(len(self.samples), self.size)

    def decode(self, rows: Sequence[int]) -> None:
        """Decode images before they are needed, several at a time. Raises ImageError or
        FileNotFoundError naming the first that can't be decoded, and how many others
        there are.
        """
        options = {"desc": "test images", "unit": "image", "leave": False}
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            faults = progress(pool.map(self._fault, rows), total=len(rows), **options)
            errors = filter(None, faults)
            first = next(errors, None)
            others = sum(1 for _ in errors)
        if others:
            raise type(first)(f"{first} (and {others} more images of this split)")
        if first is not None:
            raise first

    def _fault(self, index: int) -> ImageError | FileNotFoundError | None:
        try:
            self._image(index)
        except (ImageError, FileNotFoundError) as error:
            return error
        return None

    def task_of(self, index: int) -> int:
        """Return the position of the task that item `index` belongs to."""
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is out of range: {len(self)} items")
        return bisect_right(self._starts, index) - 1

    def rows(self, task: int) -> range:
        """Return the items of the task at position `task`."""
        return range(self._starts[task], self._starts[task + 1])

    def targets(self, task: int) -> Tensor:
        """Return labels int64 (N,), -1: negative; of a multilabel task 0/1 (N, C)."""
        rows = self.rows(task)
        samples = self.samples[rows.start : rows.stop]
        return torch.from_numpy(self.tasks[task].targets(samples))

    def _image(self, index: int) -> Tensor:
        """Return uint8 (3, S, S), or the result of `transform`."""
        path = self.samples[index].impath
        if self.transform is not None:
            return self.transform(read_image(path, self.background))
        image = self._cache.get(index) if self._cache else None
        if image is None:
            task = self.task_of(index)
            crop = self.crop or self.tasks[task].crop
            image = read_image(path, self.background)
            image = resize(image, self.size, crop, self.interpolation)
            if self._cache:
                self._cache.put(index, image)
        return image

    def _normalized(self, images: Tensor) -> Tensor:
        if images.is_floating_point():
            return images
        return normalize(images, self.mean, self.std)


class _ImageCache:
    """uint8 images in anonymous shared memory: all processes share the images that a
    forked worker decodes. Pages take memory once they are written. The copy of a
    spawned worker starts empty.
    """

    def __init__(self, count: int, size: int):
        self.count, self.size = count, size
        self.nbytes = count * 3 * size * size
        pixels = _shared_bytes(self.nbytes)
        self._pixels = pixels.view(count, 3, size, size)
        self._filled = _shared_bytes(count)

    def get(self, rows: int | list[int]) -> Tensor | None:
        """Return one or several images, or None if one of them is not there yet."""
        return self._pixels[rows] if self._filled[rows].all() else None

    def put(self, index: int, image: Tensor) -> None:
        self._pixels[index] = image
        self._filled[index] = 1

    def __reduce__(self):
        return _ImageCache, (self.count, self.size)


def _shared_bytes(count: int) -> Tensor:
    """Return zeros, uint8 (count,), shared with the processes that this one forks."""
    memory = mmap.mmap(-1, max(count, 1))
    content = torch.frombuffer(memory, dtype=torch.uint8)
    return content[:count]


def label_distribution(labels: Tensor, num_classes: int) -> Tensor:
    """Return target distributions (B, num_classes) of labels (B, K) padded with -1: 1/k
    on each of an image's k labels. The row of an image without labels is all zeros, so
    that its cross-entropy is 0.
    """
    distribution = torch.zeros(len(labels), num_classes + 1, device=labels.device)
    # the last column takes the padding
    columns = torch.where(labels < 0, num_classes, labels)
    distribution.scatter_(1, columns, 1.0)
    distribution = distribution[:, :num_classes]
    counts = distribution.sum(dim=1, keepdim=True)
    return distribution / counts.clamp(min=1.0)
