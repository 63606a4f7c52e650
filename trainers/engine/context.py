"""The input of a trainer: the tasks of its run, the prompt it starts from, and the
metadata of its results.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dassl.utils import set_random_seed
from yacs.config import CfgNode

from datasets import Task, build_task
from datasets.multitask import CACHE_BUDGET, MultitaskDataset
from prompting.backbones.backbone import Backbone
from prompting.shape import ClipShape, clip_shape

from .tracking import Tracker


@dataclass(frozen=True)
class RunContext:
    """The input of a trainer beyond the configuration.

    Attributes:
        tasks: the tasks of the run; None: the trainer builds those of its
            configuration.
        trains: False only evaluates.
        start: folder of the run whose prompt is the initial one, or is evaluated; "": a
            fresh prompt.
        load_epoch: epoch of `start`; None: its best.
        resume: continue from the state of an interrupted run in the output folder.
        retest: the run in the output folder is trained; its results are to be made
            again.
        references: the models that are scored before training: "zero_shot",
            "zero_shot_one_template", "source" (the initial prompt).
        test_images: the tasks' test images, decoded when the run was checked; None: the
            trainer's own.
        tracker: gets the curves.
        metadata: added to each record of results.json, and compared when a run is
            resumed.
    """

    tasks: Sequence[Task] | None = None
    trains: bool = True
    start: str = ""
    load_epoch: int | None = None
    resume: bool = False
    retest: bool = False
    references: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    test_images: MultitaskDataset | None = None
    tracker: Tracker = field(default_factory=Tracker)


@dataclass(frozen=True)
class PromptSetup:
    """The target of a new prompt: a configuration, tasks and a frozen CLIP."""

    cfg: CfgNode
    tasks: Sequence[Task]
    backbone: Backbone

    @cached_property
    def shape(self) -> ClipShape:
        """Return the sizes of the CLIP that a prompt must match."""
        return clip_shape(self.backbone.clip)

    @property
    def num_classes(self) -> int:
        """Return the number of classes of all tasks together."""
        return sum(task.num_classes for task in self.tasks)


class TaskPool:
    """The tasks of an experiment, each built once for the same seed and DATASET.*
    settings.
    """

    RUN_KEYS = (
        "DATASET",
        "NAME",
        "MULTITASK_EVALKEY",
    )  # of DATASET.*: they choose the tasks of a run and change none

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, str], Task] = {}
        # decoded when a run was checked, by its folder
        self.test_images: dict[str, MultitaskDataset] = {}

    @property
    def cache_budget(self) -> int:
        """Return the number of bytes that are left for decoded test images."""
        return CACHE_BUDGET - sum(
            images.image_bytes for images in self.test_images.values()
        )

    def get(self, cfg: CfgNode, names: Sequence[str]) -> list[Task]:
        """Return the tasks of these names as `cfg` describes them.

        Raise ValueError or FileNotFoundError if one can't be built.
        """
        settings = {
            key: value for key, value in cfg.DATASET.items() if key not in self.RUN_KEYS
        }
        described = f"{cfg.SEED} {settings}"
        for name in names:
            if (name, described) not in self._tasks:
                # a dataset written for Dassl samples with the global generators
                set_random_seed(max(cfg.SEED, 0))
                self._tasks[name, described] = build_task(cfg, name)
        return [self._tasks[name, described] for name in names]
