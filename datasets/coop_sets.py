"""CoOp's source sets but ImageNet, registered under CoOp's names from the facts of `coop_sets.yaml`."""

from __future__ import annotations

import logging
import os

from .catalog import names
from .catalog.entries import Entry, entries, entry
from .coop import CoopTask
from .io.split_files import read_split
from .task import Sample, register_task
from .tools import annotations

log = logging.getLogger(__name__)


class CoopSet(CoopTask):
    """A set with a published split. Without that file it is split anew from the raw annotations, and a warning says so."""

    def __init__(self, cfg):
        self.templates = names.templates(self.name)
        super().__init__(cfg)

    def read(self, folder: str) -> tuple[list[Sample], list[Sample], list[Sample]]:
        """(train, val, test) in full.

        Raises:
            FileNotFoundError: there are no images, or neither the published split nor what one can be made from.
            ValueError: the split or an annotation file cannot be read.
        """
        self._require_images(folder)
        if os.path.isfile(os.path.join(folder, self.split_json)):
            return read_split(folder, self.image_dir, self.split_json)
        if not annotations.available(self.name, folder):
            others = ", ".join(entry(self.name).annotations)
            raise FileNotFoundError(
                f"{self.name}: no split {os.path.join(folder, self.split_json)}, which `python -m datasets download {self.name}` fetches"
                + (f", nor all of {others} to make one from" if others else "")
            )
        splits = annotations.split(self.name, folder)
        log.warning(
            "%s: no published split %s; made one from the raw annotations. Scores are not comparable with published ones.",
            self.name,
            os.path.join(folder, self.split_json),
        )
        return splits

    def name_classes(self, found: list[str], source: str) -> list[str]:
        """The data's own names, which are the published ones: raw spellings are replaced, unknown names kept with a warning."""
        adopted, unknown = names.adopt(self.name, found)
        if unknown:
            log.warning(
                "%s: %d class names of %s are not the published ones (%r); they stay",
                self.name,
                len(unknown),
                source,
                unknown[0],
            )
        return adopted

    def _require_images(self, folder: str) -> None:
        images = os.path.join(folder, self.image_dir)
        if not os.path.isdir(images):
            raise FileNotFoundError(f"{self.name}: no image folder {images}")


class FgvcAircraft(CoopSet):
    """FGVC-Aircraft, whose own lists of variants are the split."""

    def read(self, folder: str) -> tuple[list[Sample], list[Sample], list[Sample]]:
        self._require_images(folder)
        classes, *lists = entry(self.name).annotations
        return annotations.official_lists(self.name, folder, lists, classes)


def _define(known: Entry) -> type[CoopSet]:
    facts = {
        "name": known.name,
        "folder": known.folder,
        "image_dir": known.image_dir,
        "split_json": known.split_json,
        "metric": known.metric,
        "__doc__": f"CoOp's {known.name}: {known.classes} classes.",
        "__module__": __name__,
    }
    return type(known.name, (CoopSet if known.split_json else FgvcAircraft,), facts)


for _entry in entries().values():
    if _entry.suite == "coop" and _entry.layout == "coop":
        register_task(_define(_entry))
