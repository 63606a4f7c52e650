"""Tasks, a frozen CLIP with a prompt, and scores: a trainer but for the training."""

import copy
import logging
import math
import os
import warnings
from collections.abc import Callable, Iterable
from typing import ClassVar

import numpy as np
import torch
from dassl.engine import TrainerX
from dassl.utils import load_checkpoint
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from datasets import Task
from datasets.multitask import CACHE_BUDGET, MultitaskDataset
from prompting.checkpoints.foreign import checkpoint_path
from prompting.checkpoints.prompt_files import save_prompts
from prompting.model import PromptedCLIP
from prompting.prompts import Prompt
from prompting.shape import check_fits

from .engine import distributed, results, run_dir, tables, value_checks
from .engine.context import PromptSetup, RunContext, TaskPool
from .engine.settings import task_names
from .engine.start import load_start, prompt_record
from .features import extraction
from .features.builders import (
    build_images,
    build_store,
    configured_backbone,
    training_transform,
)
from .features.loaders import FeatureDataset, build_loader
from .features.store import LazyFeatures
from .interpolation import interpolated

log = logging.getLogger(__name__)


class PromptEvaluator(TrainerX):
    """Scores a prompt of a frozen CLIP on one or several tasks. A trainer states its
    prompt (`make_prompt`, or `build_prompt`), its defaults, and whether several tasks
    may share the prompt (`multitask`).
    """

    native: ClassVar[bool] = True  # False, or absent: written for Dassl alone
    learns: ClassVar[bool] = False
    multitask: ClassVar[bool] = False  # several tasks may share the prompt
    # configuration keys that this trainer alone reads: default, or (default, meaning)
    keys: ClassVar[dict] = {}
    # configuration keys of this trainer whose defaults differ
    defaults: ClassVar[dict] = {}
    # None: plain CLIP; checks call it, too
    make_prompt: ClassVar[Callable[[PromptSetup], Prompt] | None] = None

    def __init_subclass__(cls, **options) -> None:
        super().__init_subclass__(**options)
        if "joint" in vars(cls):  # the name of `multitask` in version 1
            cls.multitask = cls.joint
            message = f"{cls.__name__}.joint is now called multitask"
            warnings.warn(message, DeprecationWarning, stacklevel=2)

    def __init__(self, cfg, context: RunContext | None = None):
        self.context = context or RunContext()
        # of other prompts on the same tasks
        self.reference_scores: dict[str, dict[str, float]] = {}
        # task -> the scores of its classes
        self.zero_shot_classes: dict[str, list[dict]] = {}
        self.means: dict[str, float] = {}  # split -> the mean score of the latest test
        self.records: list[dict] = []  # of results.json
        super().__init__(cfg)
        self.load_model(self.context.start, self.context.load_epoch)

    def run(self) -> list[dict]:
        """Score the references, train and test, or only test; return the records."""
        split = self.cfg.TEST.SPLIT
        references = self.context.references
        if self.context.trains and self.cfg.TEST.NO_TEST:
            references = ()
        for name in references:
            classes = self.zero_shot_classes if name == "zero_shot" else None
            self.reference_scores[name] = self.evaluate(split, name, classes)
        if self.context.trains and not self.context.retest:
            self.train()
        else:
            if self.context.retest:  # with the prompt that the finished run kept
                self.load_model(self.output_dir)
                kept = load_checkpoint(checkpoint_path(self.output_dir))
                if kept.get("val_result") is not None:
                    self.best_result = kept["val_result"]
                self.score_validation()
            self.test()
            self.save_prompts(self.output_dir)
            run_dir.finish(self.output_dir, self.context.metadata)
        return distributed.from_main(lambda: self.records)

    load_backbone = staticmethod(configured_backbone)

    @classmethod
    def check_setup(
        cls,
        setup: PromptSetup,
        trains: bool,
        start: str = "",
        load_epoch: int | None = None,
    ) -> None:
        """Raise ValueError or FileNotFoundError if the trainer could not be built for a
        setup, trained, or started from the prompt in the folder `start`.
        """
        value_checks.check_images(setup)
        prompt = None
        if cls.build_prompt is PromptEvaluator.build_prompt:
            try:
                with torch.random.fork_rng(devices=[]):
                    prompt = cls.prompt_of(setup)
                if prompt is not None:
                    check_fits(prompt, setup.backbone.clip)
            except ValueError as error:
                if "TRAINER." in str(error) or "TEST." in str(error):
                    raise
                raise ValueError(
                    f"keys below TRAINER, the prompt of {setup.cfg.TRAINER.NAME}: {error}"
                ) from None
            value_checks.check_classes(setup, prompt)
        if trains:
            cls.check_training(setup)
        if start and prompt:
            load_start(prompt, setup, start, load_epoch)

    @classmethod
    def check_training(cls, setup: PromptSetup) -> None:
        """Raise ValueError without anything to learn from or choose an epoch by."""

    def check_cfg(self, cfg) -> None:
        value_checks.check(cfg, self.multitask)

    @classmethod
    def prompt_of(cls, setup: PromptSetup) -> Prompt | None:
        """Return a setup's prompt, interpolated for TEST.INTERPOLATE; None: CLIP."""
        prompt = cls.make_prompt(setup) if cls.make_prompt else None
        return interpolated(prompt, setup.cfg)

    def build_prompt(self) -> Prompt | None:
        """Return the prompt; None for plain CLIP."""
        return self.prompt_of(self.setup)

    def build_data_loader(self) -> None:
        cfg = self.cfg
        self.store = build_store(cfg)
        self.backbone = self.store.backbone
        self.device = torch.device(self.store.settings.device)
        self.tasks = self.context.tasks or TaskPool().get(cfg, task_names(cfg))
        self.setup = PromptSetup(cfg, self.tasks, self.backbone)
        self.train_tasks = self.tasks
        if cfg.DATASET.TRAIN_ON_VAL:
            self.train_tasks = [with_validation_images(task) for task in self.tasks]
        self.sets: dict[str, MultitaskDataset] = {}
        for split in results.SPLITS:
            self.sets[split] = self._dataset(split)
        union = self.sets["test"]
        self.num_classes, self.lab2cname = union.num_classes, union.lab2cname
        self.num_source_domains = 0
        self.train_loader_x = self.train_loader_u = self.val_loader = None
        if len(self.sets["val"]):
            self.val_loader = self._loader(self.sets["val"])
        self.test_loader = self._loader(union)
        # of the splits' images without a prompt
        self._features: dict[str, LazyFeatures] = {}

    def _loader(self, dataset, batch_sampler=None) -> DataLoader:
        """Return a loader of a sampler's batches, or of the test size in order."""
        given = self.store.settings
        return build_loader(
            dataset, given.batch_size, given.workers, given.device, batch_sampler
        )

    def _dataset(self, split: str) -> MultitaskDataset:
        cfg, default = self.cfg, self.backbone.preprocessing
        if split == "test" and self.context.test_images is not None:
            return self.context.test_images
        tasks, transform, budget = self.tasks, None, CACHE_BUDGET
        if split == "train":
            tasks, transform = self.train_tasks, training_transform(cfg, default)
        elif split == "val":  # needed while the training images are
            budget -= self.sets["train"].image_bytes
        return build_images(cfg, tasks, split, default, transform, budget)

    def build_model(self) -> None:
        clip, tokenizer = self.backbone.clip, self.backbone.tokenizer
        self.shape = self.setup.shape
        self.model = PromptedCLIP(clip, self.build_prompt(), tokenizer).to(self.device)
        # its features are kept in the place of an image
        if not self.model.has_visual_prompt:
            for dataset in self.sets.values():
                if dataset is not self.context.test_images:  # already decoded
                    dataset.forget_images(for_good=True)
        if self.cfg.MODEL.COMPILE and self.model.has_visual_prompt:
            self.model.compile_image_tower()
        self.amp = self.store.settings.precision

    def constant_features(self, split: str) -> LazyFeatures:
        """Return a split's features without a prompt; few-shot ones not in files."""
        if split not in self._features:
            shared = split == "test" or self.cfg.DATASET.NUM_SHOTS < 0
            self._features[split] = LazyFeatures(self.store, self.sets[split], shared)
            if split == "train" and distributed.world() > 1:
                self._features[split].all()  # computed together, so all at once
        return self._features[split]

    def _image_features(
        self, split: str, task: int | None = None, zero_shot: bool = False
    ) -> Tensor:
        """Return image features (N, d) of a split or task; zero_shot: no prompt."""
        if self.model.has_visual_prompt and not zero_shot:
            images = self.sets[split]
            if task is not None:
                images = Subset(images, images.rows(task))
            settings = self.store.settings
            return extraction.encode_images([self.model], images, settings)[0]
        features = self.constant_features(split)
        return features.all() if task is None else features.of_task(task)

    def _constant_items(self) -> FeatureDataset | None:
        """Return training images as features, None if those change in each step."""
        dataset, views = self.sets["train"], self.cfg.INPUT.CACHED_VIEWS
        if self.model.has_visual_prompt:
            return None
        if dataset.transform is None:
            return FeatureDataset(dataset, [self.constant_features("train")])
        if not views:
            return None
        seed = max(self.cfg.SEED, 0)
        return FeatureDataset(dataset, self.store.views(dataset, views, seed))

    def predict(self, split: str) -> dict[str, Tensor]:
        """Return probabilities (N, C) of the evaluated tasks, float32 on the CPU."""
        found = {}
        for k, *inputs in self._evaluated(split):
            found[self.tasks[k].name] = extraction.probabilities(*inputs)
        return found

    def evaluate(
        self, split: str, reference: str = "", by_class: dict | None = None
    ) -> dict[str, float]:
        """Return the official metric in percent of each task, or that of a reference:
        plain CLIP with the tasks' templates ("zero_shot") or with the sentence that
        prompts begin as ("zero_shot_one_template"), or the prompt as it is ("source").
        Scores of classes are added to `by_class`. Raise FloatingPointError if
        probabilities are not finite.
        """
        found = {}
        for k, *inputs in self._evaluated(split, reference):
            task, targets = self.tasks[k], self.sets[split].targets(k)
            parts = extraction.probabilities_in_parts(*inputs)
            parts = self._finite(split, task.name, parts)
            truth, judged = targets.numpy(), []
            if by_class is not None:
                parts = tables.watch(parts, truth, judged)
            found[task.name] = results.score(task, targets, parts)
            if by_class is not None:
                judged = np.concatenate(judged)
                by_class[task.name] = tables.class_scores(task, truth, judged)
        return found

    @torch.no_grad()
    def _evaluated(self, split: str, reference: str = ""):
        """Yield (position, model, image features, class features) of tasks."""
        dataset = self.sets[split]
        self.set_model_mode("eval")
        zero_shot = reference.startswith("zero_shot")
        model = self.store.encoder if zero_shot else self.model
        key = self.cfg.DATASET.MULTITASK_EVALKEY
        one_template = reference == "zero_shot_one_template"
        wanted = []
        for k, task in enumerate(self.tasks):
            if key in ("average", task.name) and dataset.rows(k):
                wanted.append(k)
        only = wanted[0] if len(wanted) == 1 < len(self.tasks) else None
        features = self._image_features(split, only, zero_shot)
        for k in wanted:
            rows = dataset.rows(k)
            images = features if k == only else features[rows.start : rows.stop]
            task = self.tasks[k]
            yield k, model, images, extraction.class_features(model, task, one_template)

    def _finite(self, split: str, task: str, parts: Iterable[Tensor]):
        for part in parts:
            if torch.isfinite(part).all():
                yield part
                continue
            message = f"the {split} probabilities of {task} are not finite"
            if self.learns and self.context.trains:
                message = (
                    f"epoch {self.epoch + 1}: {message}: training diverged; lower OPTIM.LR "
                    f"(it is {self.cfg.OPTIM.LR:g})"
                )
            raise FloatingPointError(f"{message}, or set TRAINER.MVLPT.PREC to fp32")

    def test(self, split: str | None = None) -> float:
        """Return the mean score of the tasks in percent; without `split` that of
        TEST.SPLIT, and write results, and predictions if it is the test split.
        """
        is_final = split is None
        split = split or self.cfg.TEST.SPLIT
        predictions, scores = {}, {}
        if is_final:
            predictions = self.predict(split)
            for k, task in enumerate(self.tasks):
                if task.name in predictions:
                    rows = extraction.rows_at_once(task.num_classes)
                    parts = predictions[task.name].split(rows)
                    parts = self._finite(split, task.name, parts)
                    targets = self.sets[split].targets(k)
                    scores[task.name] = results.score(task, targets, parts)
        else:
            scores = self.evaluate(split)
        mean = mean_score(scores)
        if is_final and distributed.main():
            self.records = results.write(self, predictions, scores, split)
        for name, value in scores.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        self.write_scalar(f"{split}/mean", mean, self.epoch)
        self.means[split] = mean
        return mean

    def write_scalar(
        self, tag: str, scalar_value: float, global_step: int | None = None
    ) -> None:
        """Add a point to a curve of TensorBoard, and of the run's tracker."""
        super().write_scalar(tag, scalar_value, global_step)
        self.context.tracker.log({tag: float(scalar_value)}, global_step or 0)

    def init_writer(self, log_dir: str) -> None:
        """Let the main process alone write curves."""
        if distributed.main():
            super().init_writer(log_dir)

    def save_prompts(self, directory: str) -> None:
        """Write prompts.safetensors: the prompt, and the metadata for its use."""
        if self.model.prompt is None or not distributed.main():
            return
        metadata = prompt_record(self.setup) | {
            "tasks": [task.name for task in self.tasks],
            "classes": {task.name: list(task.classnames) for task in self.tasks},
            "templates": {task.name: list(task.templates) for task in self.tasks},
        }
        if not self.model.has_text_prompt:
            metadata["template"] = self.model.template
        path = os.path.join(directory, "prompts.safetensors")
        save_prompts(path, self.model.prompt, metadata)

    def score_validation(self) -> None:
        """Set the validation score of the kept prompt with TEST.VAL_SCORE, if no epoch
        was chosen by one and no validation image was trained on.
        """
        cfg = self.cfg
        if not cfg.TEST.VAL_SCORE or cfg.DATASET.TRAIN_ON_VAL:
            return
        if self.best_result == -math.inf and any(task.val for task in self.tasks):
            self.best_result = self.test(split="val")

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load the prompt in a run's folder (see `load_start`) and log its warnings."""
        if directory and self.model.prompt is not None:
            for warning in load_start(self.model.prompt, self.setup, directory, epoch):
                log.warning("%s", warning)


def mean_score(scores: dict[str, float]) -> float:
    """Return the mean of the tasks' scores, the main process's in every process."""
    return distributed.from_main(lambda: sum(scores.values()) / len(scores))


def with_validation_images(task: Task) -> Task:
    """Return a copy of a task that also trains on its validation images, each once."""
    images = list(task.train_x)
    known = {sample.impath for sample in images}
    images += [sample for sample in task.val or [] if sample.impath not in known]
    merged = copy.copy(task)
    merged._train_x = images
    return merged
