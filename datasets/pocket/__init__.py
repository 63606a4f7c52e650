"""The pocket suite: 11 source tasks, 20 target tasks and 4 shifted ones, rendered on first use and then read like real ones."""

from __future__ import annotations

from ..coop import CoopTask
from ..elevater import ElevaterTask
from ..task import Task, register_task
from .specs import SHIFTS, SOURCES, SPECS, TARGETS, Spec
from .suite import ensure, ensure_all, folder_of, home

__all__ = ["SHIFTS", "SOURCES", "SPECS", "TARGETS", "Spec", "ensure", "ensure_all", "home"]


class _InPocket:
    """A task in the pocket suite's folder; it is rendered when its folder is asked for."""

    def data_root(self, cfg) -> str:
        ensure(self.name)
        return str(home())


def _define(spec: Spec) -> type[Task]:
    attributes = {
        "name": spec.task,
        "metric": spec.metric,
        "label_kind": spec.label_kind,
        "templates": list(spec.templates),
        "crop": "crop",
        "__doc__": f"Pocket counterpart of {spec.like}.",
        "__module__": __name__,
    }
    if spec.layout == "coop":
        layout = {"folder": folder_of(spec), "image_dir": "images", "split_json": "split.json"}
        layout["test_only"] = spec.train == 0
        return type(spec.task, (_InPocket, CoopTask), attributes | layout)
    index = "txt" if spec.layout == "iris" else "json"
    layout = {
        "root_folder": folder_of(spec),
        "format": spec.layout,
        "train_index": f"train.{index}",
        "test_index": f"test.{index}",
        "labelmap": "labels.txt" if spec.layout == "iris" else "",
    }
    return type(spec.task, (_InPocket, ElevaterTask), attributes | layout)


for _spec in SPECS.values():
    register_task(_define(_spec))
