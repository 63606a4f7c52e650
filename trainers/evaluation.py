"""Tasks, a frozen CLIP with a prompt, and their scores: everything of a trainer but the training."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import ClassVar

import torch
from dassl.data.transforms import build_transform
from dassl.engine import TrainerX
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from datasets import Task, build_task
from datasets.multitask import CACHE_BUDGET, MultitaskDataset
from prompting.backbones.loading import differences
from prompting.checkpoints.foreign import Checkpoint, checkpoint_path, position_in, read_checkpoint
from prompting.checkpoints.prompt_files import load_prompts, load_state, save_prompts
from prompting.model import PromptedCLIP
from prompting.prompts import Prompt
from prompting.shape import clip_shape

from .engine import distributed, results
from .engine.settings import check, task_names
from .features.builders import build_images, build_store, preprocessing_of
from .features.extraction import class_features, encode_images, probabilities
from .features.loaders import FeatureDataset, build_loader
from .features.store import LazyFeatures

log = logging.getLogger(__name__)

SPLITS = ("train", "val", "test")


class PromptEvaluator(TrainerX):
    """Scores a prompt of a frozen CLIP on one or several tasks.

    A trainer says what prompt it has (`build_prompt`) and its defaults; whether several tasks may share the prompt is
    `joint`.
    """

    defaults: ClassVar[dict] = {}  # configuration keys of this trainer whose defaults differ
    joint: ClassVar[bool] = False  # may several tasks share the prompt?

    def build_prompt(self) -> Prompt | None:
        """The prompt; None for plain CLIP."""
        raise NotImplementedError

    # -- what is built -------------------------------------------------------------------------------------------

    def check_cfg(self, cfg) -> None:
        check(cfg, self.joint)

    def build_data_loader(self) -> None:
        cfg = self.cfg
        self.store = build_store(cfg)
        self.backbone, self.device = self.store.backbone, torch.device(self.store.settings.device)
        self.tasks = [build_task(cfg, name) for name in task_names(cfg)]
        self.sets: dict[str, MultitaskDataset] = {}
        for split in SPLITS:
            self.sets[split] = self._dataset(split)
        union = self.sets["test"]
        self.num_classes, self.lab2cname, self.num_source_domains = union.num_classes, union.lab2cname, 0
        self.train_loader_x = self.train_loader_u = None
        self.val_loader = self._loader(self.sets["val"]) if len(self.sets["val"]) else None
        self.test_loader = self._loader(self.sets["test"])
        self._features: dict[str, LazyFeatures] = {}  # of the splits' images without a prompt

    def _loader(self, dataset, batch_sampler=None) -> DataLoader:
        """Return a loader of batches of the test size in order, or of a sampler's batches."""
        settings = self.store.settings
        return build_loader(dataset, settings.batch_size, settings.workers, settings.device, batch_sampler)

    def _dataset(self, split: str) -> MultitaskDataset:
        cfg, own = self.cfg, self.backbone.preprocessing
        augment = None
        if split == "train" and set(cfg.INPUT.TRANSFORMS) - {"normalize", "center_crop"}:
            pre = preprocessing_of(cfg, own)
            changed = cfg.clone()
            changed.defrost()
            changed.INPUT.SIZE = (pre.size, pre.size)
            changed.INPUT.PIXEL_MEAN, changed.INPUT.PIXEL_STD = list(pre.mean), list(pre.std)
            changed.INPUT.INTERPOLATION = pre.interpolation
            augment = build_transform(changed, is_train=True)
        budget = CACHE_BUDGET
        if split == "val":  # needed while the training images are
            budget -= self.sets["train"].image_bytes
        return build_images(cfg, self.tasks, split, own, augment, budget)

    def build_model(self) -> None:
        backbone = self.backbone
        self.shape = clip_shape(backbone.clip)
        prompt = self.build_prompt()
        self.model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer).to(self.device)
        if not self.model.has_visual_prompt:  # its features are kept in the place of an image
            for dataset in self.sets.values():
                dataset.forget_images(for_good=True)
        if self.cfg.MODEL.COMPILE and self.model.has_visual_prompt:
            self.model.compile_image_tower()
        self.compare: dict[str, dict[str, float]] = {}  # other scores of the same tasks, kept beside the results
        self.facts: dict = {}  # what else a record of results.json says of the run
        self.notes: list[str] = []  # what to know of the prompt that it starts from
        self.amp = self.store.settings.precision

    # -- evaluation ----------------------------------------------------------------------------------------------

    def _constant_features(self, split: str) -> LazyFeatures:
        """Return the features of a split's images without a prompt.

        In files are kept those of splits that all runs share: not of few-shot samples.
        """
        if split not in self._features:
            shared = split == "test" or self.cfg.DATASET.NUM_SHOTS < 0
            self._features[split] = self.store.lazy(self.sets[split], in_files=shared)
        return self._features[split]

    def _image_features(self, split: str, task: int | None = None, zero_shot: bool = False) -> Tensor:
        """Return image features (N, d) of a split, or of one of its tasks; with `zero_shot` those without a prompt."""
        if self.model.has_visual_prompt and not zero_shot:
            images = self.sets[split]
            if task is not None:
                images = Subset(images, images.rows(task))
            return encode_images([self.model], images, self.store.settings)[0]
        features = self._constant_features(split)
        return features.all() if task is None else features.of_task(task)

    def _constant_items(self) -> FeatureDataset | None:
        """Return the training images as features, or None if they are not constant and few.

        They are if no prompt is in the image tower and images have no random transform, or INPUT.CACHED_VIEWS views.
        """
        dataset, views = self.sets["train"], self.cfg.INPUT.CACHED_VIEWS
        if self.model.has_visual_prompt:
            return None
        if dataset.transform is None:
            features = self._constant_features("train")
            if distributed.world() > 1:  # computed together, so all at once
                features.all()
            return FeatureDataset(dataset, [features])
        if not views:
            return None
        return FeatureDataset(dataset, self.store.views(dataset, views, max(self.cfg.SEED, 0)))

    @torch.no_grad()
    def predict(self, split: str, zero_shot: bool = False) -> dict[str, Tensor]:
        """Probabilities (N, C) of the evaluated tasks, float32 on the CPU; `zero_shot`: of plain CLIP with the tasks'
        templates."""
        dataset = self.sets[split]
        self.set_model_mode("eval")
        model = self.store.encoder if zero_shot else self.model
        wanted = [k for k, task in enumerate(self.tasks) if self._evaluates(task.name) and dataset.rows(k)]
        only = wanted[0] if len(wanted) == 1 < len(self.tasks) else None
        features = self._image_features(split, only, zero_shot)
        out = {}
        for k in wanted:
            rows = dataset.rows(k)
            images = features if k == only else features[rows.start : rows.stop]
            out[self.tasks[k].name] = probabilities(model, images, class_features(model, self.tasks[k]))
        return out

    def _evaluates(self, name: str) -> bool:
        key = self.cfg.DATASET.MULTITASK_EVALKEY
        return key in ("average", name)

    def scores(self, split: str, probabilities: dict[str, Tensor]) -> dict[str, float]:
        """The official metric of each task in percent."""
        index = {task.name: k for k, task in enumerate(self.tasks)}
        return {
            name: results.score(self.tasks[index[name]], self.sets[split].targets(index[name]), values)
            for name, values in probabilities.items()
        }

    def test(self, split: str | None = None) -> float:
        """The mean score of the tasks in percent. On the test split, predictions and results are written."""
        split = split or self.cfg.TEST.SPLIT
        probabilities = self.predict(split)
        scores = self.scores(split, probabilities)
        mean = distributed.from_main(lambda: sum(scores.values()) / len(scores))
        if split == "test" and distributed.main():
            results.write(self, probabilities, scores)
        for name, value in scores.items():
            self.write_scalar(f"{split}/{name}", value, getattr(self, "epoch", 0))
        self.write_scalar(f"{split}/mean", mean, getattr(self, "epoch", 0))
        return mean

    def init_writer(self, log_dir: str) -> None:
        """Curves are written by the main process."""
        if distributed.main():
            super().init_writer(log_dir)

    # -- prompts in files ------------------------------------------------------------------------------------------

    def save_prompts(self, directory: str) -> None:
        """Write prompts.safetensors: what `prompting` needs to use the prompt elsewhere."""
        if not distributed.main():
            return
        pre = preprocessing_of(self.cfg, self.backbone.preprocessing)
        metadata = {
            "method": self.cfg.TRAINER.NAME,
            "backbone": results.backbone_name(self.cfg),
            "pretrained": os.path.basename(self.cfg.MODEL.BACKBONE.PRETRAINED),
            "preprocessing": pre.record(self._mode()),
            "tasks": [task.name for task in self.tasks],
            "classes": {task.name: list(task.classnames) for task in self.tasks},
        }
        save_prompts(os.path.join(directory, "prompts.safetensors"), self.model.prompt, metadata)

    def _mode(self) -> str:
        """The name of what makes images square."""
        return _crop(self.tasks) if self.cfg.DATASET.CENTER_CROP else "squash"

    def _check_preprocessing(self, directory: str) -> list[str]:
        """What to know where the prompt in a run's folder was learnt on images that were prepared otherwise."""
        path = Path(directory) / "prompts.safetensors"
        if not path.is_file():
            return []
        pre = preprocessing_of(self.cfg, self.backbone.preprocessing)
        other = differences(load_prompts(path)[1].get("preprocessing") or {}, pre.record(self._mode()))
        return [f"{path}: its prompt was learnt with another preprocessing: {other}"] if other else []

    def _check_classes(self, directory: str, path: str) -> None:
        """A class-specific context serves only the classes that it was learnt for."""
        stored = Path(directory) / "prompt_learner" / "classes.json"
        if not self.cfg.TRAINER.MVLPT.COOP.CSC or not stored.is_file():
            return
        known, wanted = results.read_json(stored), self.tasks[0].classnames
        other = [name for name, stored_name in zip(wanted, known, strict=False) if name != stored_name]
        if other and len(known) == len(wanted):
            raise ValueError(
                f"{path} holds contexts for another class list: {', '.join(other[:3])} stand elsewhere or not there"
            )

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load a prompt, strictly, from a run's folder, which may be the reference's or CoOp's: the best one, the last
        one where no best was kept, or that of `epoch`. What to know of another's file stands in `notes` afterwards."""
        if not directory or self.model.prompt is None:
            return
        path = checkpoint_path(directory, epoch)
        checkpoint = read_checkpoint(path)
        self._check_classes(directory, path)
        state = checkpoint.prompt_state()
        self.notes = self._check_preprocessing(directory)
        self.notes += self._check_foreign(checkpoint) if checkpoint.foreign else []
        try:
            load_state(self.model.prompt, state)
        except ValueError as error:
            holds = checkpoint.describe()
            raise ValueError(f"{path}{f' holds {holds}' if holds else ''}: {error}") from None
        epoch = "?" if checkpoint.epoch is None else checkpoint.epoch
        log.debug("loaded the prompt of epoch %s from %s", epoch, os.path.basename(os.path.normpath(directory)))

    def _check_foreign(self, checkpoint: Checkpoint) -> list[str]:
        """Whether the configuration computes with the tensors what they were trained for: a ValueError where it does
        not, else what shapes do not tell."""
        path, file, node = checkpoint.path, os.path.basename(checkpoint.path), self.cfg.TRAINER.MVLPT
        if checkpoint.per_token and getattr(self.model.prompt, "theta", "per-token") != "per-token":
            raise ValueError(
                f"{path} was trained with the reference's θ, which maps each vector by itself: set "
                f"TRAINER.MVLPT.PROJECT_METHOD to per-token (it is {node.PROJECT_METHOD})"
            )
        notes = [checkpoint.left_out] if checkpoint.left_out else []
        if not self.model.has_text_prompt:
            return notes
        key, position = "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION", position_in(os.path.abspath(path))
        if position not in (None, node.COOP.CLASS_TOKEN_POSITION):
            here = node.COOP.CLASS_TOKEN_POSITION
            notes.append(f"{file}: its folder's name says that class names stand at the {position}; {key} is {here}")
        if node.COOP.CSC:
            notes.append(f"{file}: its contexts are taken to be in the order of this task's classes")
        return notes


def _crop(tasks: list[Task]) -> str:
    """What all tasks do to reach a square, or "crop" where they differ."""
    modes = {task.crop for task in tasks}
    return modes.pop() if len(modes) == 1 else "crop"
