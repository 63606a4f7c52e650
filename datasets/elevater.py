"""The base of a task in ELEVATER's layout: index files, a labelmap and zips in one folder."""

from __future__ import annotations

import os
from collections.abc import Sequence

from toolkit.common.archives import require_files

from . import few_shot as fewshot
from .io import index_files as manifest
from .task import Sample, Task, require_train_images

FORMATS = ("iris", "coco")


class ElevaterTask(Task):
    """State these attributes and decorate the class with `register_task`; see `Task` for the others.

        @register_task
        class Mnist(ElevaterTask):
            name = "mnist"
            root_folder = "classification/mnist_20211008"

    Few-shot follows ELEVATER's rule: `cfg.DATASET.NUM_SHOTS` (-1: all; 0: no training images, and the training index
    is not read) and `cfg.DATASET.RANDOM_SEED_SAMPLING`. The official val split is not used.

    Attributes:
        root_folder: the dataset's folder below the data root.
        format: "iris" or "coco".
        train_index, test_index: index files in it.
        labelmap: class names, one a line; only IRIS has one, and "" numbers the classes.
        prompt_names: names for prompts that replace those on disk, in label order.
    """

    root_folder: str = ""
    format: str = "iris"
    train_index: str = "train.txt"
    test_index: str = "test.txt"
    labelmap: str = "labels.txt"
    prompt_names: Sequence[str] | None = None

    def __init__(self, cfg):
        shots, seed = cfg.DATASET.NUM_SHOTS, sampling_seed(cfg)
        folder = self.data_folder(cfg, self.root_folder)
        test, names = self.read(folder, self.test_index)
        pool: list[Sample] = []
        if shots != 0:
            pool, train_names = self.read(folder, self.train_index)
            names = self._common_names(folder, names, train_names)
        labelmap = self.labelmap if self.format == "iris" and self.labelmap else self.test_index
        names = self.name_classes(names, os.path.join(folder, labelmap))
        if shots != 0:
            require_train_images(pool, names, os.path.join(folder, self.train_index))
        train, val = fewshot.draw_elevater(pool, len(names), self.label_kind, shots, seed)
        require_files(sample.impath for sample in [*train, *val, *test])
        super().__init__(names, train, val, test)

    def read(self, folder: str, index: str) -> tuple[list[Sample], list[str]]:
        """(samples, class names) of an index file in `folder`."""
        if self.format not in FORMATS:
            raise ValueError(f"{self.name}: format {self.format!r} is none of {', '.join(FORMATS)}")
        if self.format == "coco":
            samples, names = manifest.read_coco(folder, index)
        else:
            samples, names = manifest.read_iris(folder, index, self.labelmap)
        if self.label_kind == "multiclass":
            for sample in samples:
                if len(sample.labels) > 1:
                    where = f"{os.path.join(folder, index)}: {sample.key}"
                    raise ValueError(f"{where} has {len(sample.labels)} labels, but {self.name} is multiclass")
        return samples, names

    def _common_names(self, folder: str, test: list[str], train: list[str]) -> list[str]:
        numbered = self.format == "iris" and not self.labelmap
        if test != train and not numbered:
            first, second = (os.path.join(folder, index) for index in (self.train_index, self.test_index))
            raise ValueError(f"{first} and {second} do not have the same classes")
        return max(test, train, key=len)

    def name_classes(self, names: list[str], source: str) -> list[str]:
        """The class names that prompts use, in label order, for those of the data. `source` is the file that they are from."""
        if self.prompt_names is None:
            return names
        if len(self.prompt_names) != len(names):
            raise ValueError(
                f"{source} has {len(names)} classes, but {self.name} has {len(self.prompt_names)} prompt names"
            )
        return list(self.prompt_names)


def sampling_seed(cfg) -> int:
    """The seed of the few-shot draw: `DATASET.RANDOM_SEED_SAMPLING`, or `SEED` where there is no such key."""
    return int(getattr(cfg.DATASET, "RANDOM_SEED_SAMPLING", cfg.SEED))
