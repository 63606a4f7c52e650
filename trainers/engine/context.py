"""The input of a trainer: tasks, the prompt it starts from, metadata of its results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from dassl.utils import set_random_seed
from yacs.config import CfgNode

from datasets import Task, build_task, pocket
from datasets.multitask import CACHE_BUDGET, MultitaskDataset
from prompting.backbones.backbone import Backbone
from prompting.shape import ClipShape, clip_shape
from trainers.features.builders import build_images, build_store

from .tracking import Tracker

MOST_DECODED = 5000  # images of a task; larger test sets are decoded when scored


@dataclass(frozen=True)
class RunContext:
    """The input of a trainer beyond the configuration."""

    tasks: Sequence[Task] | None = None  # None: those of the configuration
    trains: bool = True  # False only evaluates
    # folder of the run whose prompt is the initial one, or is evaluated; "": a fresh one
    start: str = ""
    load_epoch: int | None = None  # epoch of `start`; None: its best
    resume: bool = False  # continue the interrupted run in the output folder
    retest: bool = False  # the run there is trained; its results are made again
    # scored before training: "zero_shot", "zero_shot_one_template", "source"
    references: tuple[str, ...] = ()
    # added to each record of results.json, and compared when a run is resumed
    metadata: Mapping[str, object] = field(default_factory=dict)
    # decoded when the run was checked; None: the trainer's own
    test_images: MultitaskDataset | None = None
    tracker: Tracker = field(default_factory=Tracker)  # gets the curves


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
    """The tasks of an experiment, each built once for a seed and DATASET.* settings."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, str], Task] = {}
        self.test_images: dict[str, MultitaskDataset] = {}  # by the folder of a run

    def get(self, cfg: CfgNode, names: Sequence[str]) -> list[Task]:
        """Return the tasks of these names as `cfg` describes them. Raise ValueError or
        FileNotFoundError if one can't be built.
        """
        settings = dict(cfg.DATASET)
        for key in ("DATASET", "NAME", "MULTITASK_EVALKEY"):  # they change no task
            settings.pop(key, None)
        described = f"{cfg.SEED} {settings}"
        for name in names:
            if (name, described) not in self._tasks:
                # a dataset written for Dassl samples with the global generators
                set_random_seed(max(cfg.SEED, 0))
                self._tasks[name, described] = build_task(cfg, name)
        return [self._tasks[name, described] for name in names]

    def decode_test_images(self, cfg: CfgNode, tasks: Sequence[Task]) -> None:
        """Decode the test images of a run's tasks before it begins, to name one that can't
        be read at once; keep them for its evaluation if there is memory. Left out are
        tasks with more than `MOST_DECODED` test images, pocket tasks, and images whose
        features are known. Raises ValueError or FileNotFoundError.
        """
        held = sum(images.image_bytes for images in self.test_images.values())
        store = build_store(cfg)
        preprocessing = store.backbone.preprocessing
        budget = CACHE_BUDGET - held
        images = build_images(cfg, tasks, "test", preprocessing, cache_budget=budget)
        rows: list[int] = []
        for position, task in enumerate(tasks):
            if task.name in pocket.SPECS or len(task.test) > MOST_DECODED:
                continue
            if task.test and not store.has_features(images, position):
                rows += images.rows(position)
        if rows:
            images.decode(rows)
            if images.image_bytes:
                self.test_images[cfg.OUTPUT_DIR] = images
