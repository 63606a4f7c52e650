"""Tasks in CoOp's layout: a folder of images and a split file; CoOp's source sets but
ImageNet. The sets are registered under CoOp's names with the metadata of
`catalog/coop_sets.yaml`.
"""

import logging
import os
from collections.abc import Sequence

from toolkit.common.text import printable

from .catalog import names
from .catalog.entries import Entry, entries
from .few_shot import sample_per_class
from .io.index_files import require_inside
from .io.split_files import Splits, class_names, read_split
from .task import Sample, Task, register_entry, require_train_images, sampling_seed
from .tools.annotations import find_split_file

log = logging.getLogger(__name__)


class CoopTask(Task):
    """State these attributes and decorate the class with `register_task`; see `Task`.

        @register_task
        class OxfordPets(CoopTask):
            name = "OxfordPets"
            folder = "oxford_pets"
            image_dir = "images"
            split_json = "split_zhou_OxfordPets.json"

    Few-shot samples `cfg.DATASET.NUM_SHOTS` training images per class (-1: all; 0:
    none) and at most 4 for validation with `cfg.DATASET.RANDOM_SEED_SAMPLING`;
    `cfg.DATASET.SUBSAMPLE_CLASSES` then selects classes. Class names are the file's.

    folder: below the data root. image_dir: in it, of the images. split_json: the split
    file in it. test_only: there are no training images, whatever the shots.
    """

    folder: str = ""
    image_dir: str = ""
    split_json: str = ""
    test_only: bool = False

    def __init__(self, cfg):
        shots = cfg.DATASET.NUM_SHOTS
        folder = self.data_folder(cfg, self.folder)
        train, val, test = self.read(folder)
        source = os.path.join(folder, self.split_json)
        require_inside(cfg, [*train, *val, *test], folder, source)
        classnames = class_names([train, val, test], source)
        if shots != 0 and not self.test_only:
            require_train_images(train, classnames, source)
        classnames = self.name_classes(classnames, source)
        seed = sampling_seed(cfg)
        train, val = self.sample(train, val, shots, seed)
        super().__init__(classnames, train, val, test)
        self.subsample(cfg)

    def read(self, folder: str) -> Splits:
        """Return (train, val, test) in full; to be overridden without a split file."""
        images = os.path.join(folder, self.image_dir)
        if not os.path.isdir(images):
            raise FileNotFoundError(f"{self.name}: no image folder {images}")
        return read_split(self.split_file(folder), images)

    def split_file(self, folder: str) -> str:
        """Return the path of the split file, which an override may make first."""
        return os.path.join(folder, self.split_json)

    def name_classes(self, found: list[str], source: str) -> list[str]:
        """Return the names for prompts of the names `found` in the file `source`."""
        return found

    def sample(
        self, train: Sequence[Sample], val: Sequence[Sample], shots: int, seed: int
    ) -> tuple[list[Sample], list[Sample]]:
        """Return the few-shot (train, val). Override if val is to stay whole."""
        return sample_per_class(train, val, shots, seed, task=self.name)


class CoopSet(CoopTask):
    """A set of the catalog; its split may be made from the raw annotations."""

    def split_file(self, folder: str) -> str:
        return find_split_file(self.name, folder)

    def name_classes(self, found: list[str], source: str) -> list[str]:
        """Replace raw spellings by published names; warn of unknown ones."""
        adopted, unknown = names.adopt(self.name, found)
        if unknown:
            log.warning(
                "%s: %d class names of %s are not the published ones (%r); they stay",
                *(self.name, len(unknown), source, printable(unknown[0], 200)),
            )
        return adopted


def register_coop(entry: Entry, *bases: type) -> None:
    """Register a set of the catalog in CoOp's layout as a subclass of `bases`."""
    attributes = {
        "folder": entry.folder,
        "image_dir": entry.image_dir,
        "split_json": entry.split_json,
        "test_only": "train" not in entry.images,
    }
    register_entry(entry, bases, attributes)


for _entry in entries().values():
    if _entry.suite == "coop" and _entry.layout == "coop":
        register_coop(_entry, CoopSet)
