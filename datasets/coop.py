"""The base of a task in CoOp's layout: a folder of images and a split file."""

from __future__ import annotations

import os
from collections.abc import Sequence

from . import few_shot as fewshot
from .elevater import sampling_seed
from .io.split_files import class_names, read_split, subsample_classes
from .task import Sample, Task, require_train_images


class CoopTask(Task):
    """State these attributes and decorate the class with `register_task`; see `Task` for the others.

        @register_task
        class OxfordPets(CoopTask):
            name = "OxfordPets"
            folder = "oxford_pets"
            image_dir = "images"
            split_json = "split_zhou_OxfordPets.json"

    Few-shot draws `cfg.DATASET.NUM_SHOTS` training images per class (-1: all; 0: none) and at most 4 for validation
    with `cfg.DATASET.RANDOM_SEED_SAMPLING`. `cfg.DATASET.SUBSAMPLE_CLASSES` (all, base, new) then selects classes.
    Class names are those of the file, underscores included.

    Attributes:
        folder: the dataset's folder below the data root.
        image_dir: the folder in it that paths are relative to.
        split_json: the split file in it.
        test_only: there are no training images, whatever the shots.
    """

    folder: str = ""
    image_dir: str = ""
    split_json: str = ""
    test_only: bool = False

    def __init__(self, cfg):
        shots, seed = cfg.DATASET.NUM_SHOTS, sampling_seed(cfg)
        folder = self.data_folder(cfg, self.folder)
        train, val, test = self.read(folder)
        source = os.path.join(folder, self.split_json)
        names = class_names([train, val, test], source)
        if shots != 0 and not self.test_only:
            require_train_images(train, names, source)
        names = self.name_classes(names, source)
        train, val = self.draw(train, val, shots, seed)
        which = getattr(cfg.DATASET, "SUBSAMPLE_CLASSES", "all")
        (train, val, test), names = subsample_classes([train, val, test], names, which)
        super().__init__(names, train, val, test)

    def read(self, folder: str) -> tuple[list[Sample], list[Sample], list[Sample]]:
        """(train, val, test) in full. Override for a dataset without a split file."""
        images = os.path.join(folder, self.image_dir)
        if not os.path.isdir(images):
            raise FileNotFoundError(f"{self.name}: no image folder {images}")
        return read_split(folder, self.image_dir, self.split_json)

    def name_classes(self, names: list[str], source: str) -> list[str]:
        """The class names that prompts use, in label order, for those of the data. `source` is the file that they are from."""
        return names

    def draw(
        self, train: Sequence[Sample], val: Sequence[Sample], shots: int, seed: int
    ) -> tuple[list[Sample], list[Sample]]:
        """The few-shot (train, val). Override where val is to stay whole."""
        return fewshot.draw_per_class(train, val, shots, seed, task=self.name)
