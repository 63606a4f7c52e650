"""ELEVATER's 20 sets and ImageNet-1K, registered under ELEVATER's names from the facts of `elevater_sets.yaml`."""

from __future__ import annotations

from .catalog import names
from .catalog.entries import Entry, entries
from .elevater import ElevaterTask
from .task import register_task


class ElevaterSet(ElevaterTask):
    """A set of the registry: the class names of its labelmap or categories are mapped to those of prompts by name."""

    def __init__(self, cfg):
        self.templates = names.templates(self.name)
        super().__init__(cfg)

    def name_classes(self, found: list[str], source: str) -> list[str]:
        return names.match(self.name, found, source)


def _define(entry: Entry) -> type[ElevaterSet]:
    facts = {
        "name": entry.name,
        "root_folder": entry.folder,
        "format": entry.layout,
        "labelmap": entry.labelmap,
        "metric": entry.metric,
        "label_kind": entry.label_kind,
        "crop": entry.crop,
        "train_index": entry.indexes["train"],
        "test_index": entry.indexes["test"],
        "__doc__": f"ELEVATER's {entry.name}: {entry.classes} classes.",
        "__module__": __name__,
    }
    return type(entry.name, (ElevaterSet,), facts)


for _entry in entries().values():
    if _entry.suite == "elevater":
        register_task(_define(_entry))
