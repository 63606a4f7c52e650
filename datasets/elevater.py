"""Tasks in ELEVATER's layout: index files, a labelmap and zips in one folder; its 20
sets and ImageNet-1K. The sets are registered under ELEVATER's names with the metadata
of `catalog/elevater_sets.yaml`.
"""

import os
from collections.abc import Sequence

from toolkit.common.archives import require_files

from .catalog import names
from .catalog.entries import Entry, entries
from .few_shot import sample_elevater
from .io.index_files import read_coco, read_iris, require_inside
from .task import Sample, Task, register_entry, require_train_images, sampling_seed

FORMATS = ("iris", "coco")


class ElevaterTask(Task):
    """State these attributes and decorate the class with `register_task`; see `Task`.

        @register_task
        class Mnist(ElevaterTask):
            name = "mnist"
            root_folder = "classification/mnist_20211008"

    Few-shot follows ELEVATER's rule: `cfg.DATASET.NUM_SHOTS` (-1: all; 0: none, and the
    training index is not read) and `cfg.DATASET.RANDOM_SEED_SAMPLING`; the official val
    split is not used. `cfg.DATASET.SUBSAMPLE_CLASSES` then selects classes.
    """

    root_folder: str = ""  # the dataset's, below the data root
    format: str = "iris"  # or "coco"
    train_index: str = "train.txt"
    test_index: str = "test.txt"
    labelmap: str = "labels.txt"  # of IRIS, a class name a line; "" numbers the classes
    # that replace those on disk, in label order
    prompt_names: Sequence[str] | None = None

    def __init__(self, cfg):
        shots = cfg.DATASET.NUM_SHOTS
        folder = self.data_folder(cfg, self.root_folder)
        train_index = os.path.join(folder, self.train_index)
        test_index = os.path.join(folder, self.test_index)
        test, classnames = self._read_inside(cfg, folder, self.test_index)
        pool: list[Sample] = []
        if shots != 0:
            pool, train_names = self._read_inside(cfg, folder, self.train_index)
            is_numbered = self.format == "iris" and not self.labelmap
            if train_names != classnames and not is_numbered:
                raise ValueError(
                    f"{train_index} and {test_index} do not have the same classes"
                )
            classnames = max(classnames, train_names, key=len)
        names_file = test_index
        if self.format == "iris" and self.labelmap:
            names_file = os.path.join(folder, self.labelmap)
        classnames = self.name_classes(classnames, names_file)
        if shots != 0:
            require_train_images(pool, classnames, train_index)
        train, val = sample_elevater(
            pool, len(classnames), self.label_kind, shots, sampling_seed(cfg)
        )
        samples = [*train, *val, *test]
        require_files(sample.impath for sample in samples)
        super().__init__(classnames, train, val, test)
        self.subsample(cfg)

    def read(self, folder: str, index: str) -> tuple[list[Sample], list[str]]:
        """Return the samples and class names of an index file in `folder`."""
        if self.format not in FORMATS:
            raise ValueError(
                f"{self.name}: format {self.format!r} is none of {', '.join(FORMATS)}"
            )
        if self.format == "coco":
            samples, classnames = read_coco(folder, index)
        else:
            samples, classnames = read_iris(folder, index, self.labelmap)
        for sample in samples:
            if self.label_kind == "multiclass" and len(sample.labels) > 1:
                where = f"{os.path.join(folder, index)}: {sample.key}"
                raise ValueError(
                    f"{where} has {len(sample.labels)} labels, but {self.name} is multiclass"
                )
        return samples, classnames

    def name_classes(self, found: list[str], source: str) -> list[str]:
        """Return the names for prompts of the names `found` in the file `source`."""
        known = found if self.prompt_names is None else list(self.prompt_names)
        if len(known) != len(found):
            raise ValueError(
                f"{source} has {len(found)} classes, but {self.name} has {len(known)} prompt names"
            )
        return known

    def _read_inside(self, cfg, folder: str, index: str):
        samples, classnames = self.read(folder, index)
        require_inside(cfg, samples, folder, os.path.join(folder, index))
        return samples, classnames


class ElevaterSet(ElevaterTask):
    """A set of the catalog; class names on disk are mapped to those of prompts."""

    def name_classes(self, found: list[str], source: str) -> list[str]:
        return names.match(self.name, found, source)


def register_elevater(entry: Entry, *bases: type) -> None:
    """Register a set of the catalog in ELEVATER's layout as a subclass of `bases`."""
    attributes = {
        "root_folder": entry.folder,
        "format": entry.layout,
        "labelmap": entry.labelmap,
        "train_index": entry.indexes["train"],
        "test_index": entry.indexes["test"],
    }
    register_entry(entry, bases, attributes)


for _entry in entries().values():
    if _entry.suite == "elevater":
        register_elevater(_entry, ElevaterSet)
