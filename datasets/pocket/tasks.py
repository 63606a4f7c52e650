"""The pocket tasks, registered under their names."""

from __future__ import annotations

from ..coop import CoopTask
from ..elevater import ElevaterTask
from ..task import Task, register_task
from .catalog import file_names
from .specs import SPECS, Spec
from .suite import ensure, folder_of, home


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
    files = file_names(spec)
    if spec.layout == "coop":
        attributes |= {
            "folder": folder_of(spec),
            "image_dir": files["image_dir"],
            "split_json": files["split_json"],
            "test_only": spec.train == 0,
        }
        return type(spec.task, (_InPocket, CoopTask), attributes)
    attributes |= {
        "root_folder": folder_of(spec),
        "format": spec.layout,
        "train_index": files["indexes"]["train"],
        "test_index": files["indexes"]["test"],
        "labelmap": files["labelmap"],
    }
    return type(spec.task, (_InPocket, ElevaterTask), attributes)


for _spec in SPECS.values():
    register_task(_define(_spec))
