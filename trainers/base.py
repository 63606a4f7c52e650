"""The one base of all trainers: tasks in, prompts learnt, scores and prediction files out.

A trainer says what prompt it learns (`build_prompt`) and its defaults; whether several tasks may share the prompt is
`joint`.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from dassl.data.transforms import build_transform
from dassl.engine import TrainerX
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.utils import load_checkpoint
from torch import Tensor
from torch.utils.data import Dataset
from tqdm import tqdm

from datasets import build_task
from datasets.multitask import MixingSampler, MultitaskDataset, label_distribution
from prompting.backbone import Preprocessing
from prompting.files import load_state, save_prompts
from prompting.model import PromptedCLIP
from prompting.prompts import Prompt
from prompting.shape import clip_shape

from . import results
from .frozen import Features, device_of, frozen, loader
from .settings import check, task_names

log = logging.getLogger(__name__)

SPLITS = {"train": "train", "val": "val", "test": "test"}
NEVER = -1e4  # a logit of a class of another task: its exponential is exactly 0 in float32


class PromptTrainer(TrainerX):
    """Learns a prompt of a frozen CLIP on one or several tasks."""

    defaults: ClassVar[dict] = {}  # configuration keys of this trainer whose defaults differ
    joint: ClassVar[bool] = False  # may several tasks share the prompt?

    def build_prompt(self) -> Prompt | None:
        """The prompt to learn; None for plain CLIP."""
        raise NotImplementedError

    # -- what is built -------------------------------------------------------------------------------------------

    def check_cfg(self, cfg) -> None:
        check(cfg, self.joint)

    def build_data_loader(self) -> None:
        cfg = self.cfg
        self.device = torch.device(device_of(cfg))
        self.frozen = frozen(cfg.MODEL.BACKBONE.NAME, cfg.MODEL.BACKBONE.PRETRAINED, device_of(cfg))
        self.tasks = [build_task(cfg, name) for name in task_names(cfg)]
        self.sets = {split: self._dataset(split) for split in SPLITS}
        union = self.sets["test"]
        self.num_classes, self.lab2cname, self.num_source_domains = union.num_classes, union.lab2cname, 0
        self.train_loader_x = self.train_loader_u = None
        self.val_loader = self.sets["val"] if len(self.sets["val"]) else None
        self.test_loader = self.sets["test"]

    def _dataset(self, split: str) -> MultitaskDataset:
        cfg, pre = self.cfg, preprocessing(self.cfg, self.frozen.backbone.preprocessing)
        augment = None
        if split == "train" and set(cfg.INPUT.TRANSFORMS) - {"normalize", "center_crop"}:
            changed = cfg.clone()
            changed.defrost()
            changed.INPUT.SIZE = (pre.size, pre.size)
            changed.INPUT.PIXEL_MEAN, changed.INPUT.PIXEL_STD = list(pre.mean), list(pre.std)
            changed.INPUT.INTERPOLATION = pre.interpolation
            augment = build_transform(changed, is_train=True)
        crop = None if cfg.DATASET.CENTER_CROP else "squash"
        return MultitaskDataset(
            self.tasks, split, pre.size, pre.interpolation, pre.mean, pre.std, crop, transform=augment
        )

    def build_model(self) -> None:
        cfg, backbone = self.cfg, self.frozen.backbone
        self.shape = clip_shape(backbone.clip)
        prompt = self.build_prompt()
        self.model = PromptedCLIP(backbone.clip, prompt, backbone.tokenizer).to(self.device)
        self.compare: dict[str, dict[str, float]] = {}  # other scores of the same tasks, kept beside the results
        self.facts: dict = {}  # what else a record of results.json says of the run
        self.bar = None
        self.amp = self._autocast_dtype()
        if prompt is None:
            return
        self.optim = build_optimizer(prompt, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.scaler = torch.amp.GradScaler(self.device.type) if self.amp is torch.float16 else None
        self.register_model("prompt_learner", prompt, self.optim, self.sched)

    def _autocast_dtype(self) -> torch.dtype | None:
        precision = self.cfg.TRAINER.MVLPT.PREC
        if self.device.type == "cpu" and precision in ("fp16", "amp"):
            return None
        return {"fp32": None, "fp16": torch.float16, "amp": torch.float16, "bf16": torch.bfloat16}[precision]

    def check_training(self) -> None:
        """Raise ValueError where there is nothing to learn from, or nothing to choose the best epoch by."""
        names = ", ".join(self.sets["train"].names)
        if not len(self.sets["train"]):
            raise ValueError(f"{names}: no training images (DATASET.NUM_SHOTS is {self.cfg.DATASET.NUM_SHOTS})")
        if self.cfg.TEST.FINAL_MODEL == "best_val" and not self.cfg.TEST.NO_TEST:
            for k, task in enumerate(self.tasks):
                if self._evaluates(task.name) and not self.sets["val"].rows(k):
                    raise ValueError(
                        f"TEST.FINAL_MODEL is best_val, but {task.name} has no validation images: set it to last_step"
                    )

    def _prepare_training(self) -> None:
        """The training loader; a frozen image tower's features stand in for images that no augmentation changes."""
        self.check_training()
        cfg, dataset = self.cfg, self.sets["train"]
        multi = cfg.MULTITASK
        self.sampler = MixingSampler(
            dataset.sizes,
            cfg.DATALOADER.TRAIN_X.BATCH_SIZE,
            multi.MIXING,
            multi.TEMPERATURE,
            multi.HOMOGENEOUS,
            seed=max(cfg.SEED, 0),
        )
        self.cached = not self.model.has_visual_prompt and dataset.transform is None
        items: Dataset = Features(dataset, self._image_features(dataset)) if self.cached else dataset
        self.train_loader_x = loader(items, cfg, self.sampler)

    # -- training ------------------------------------------------------------------------------------------------

    def before_train(self) -> None:
        self._prepare_training()
        super().before_train()
        label = ",".join(name.removeprefix("pocket-") for name in self.sets["train"].names)
        label = label if len(label) < 24 else f"{len(self.tasks)} tasks"
        self.bar = tqdm(
            total=self.max_epoch,
            initial=self.start_epoch,
            desc=f"{self.cfg.TRAINER.NAME} {label}",
            unit="epoch",
            leave=False,
            dynamic_ncols=True,
        )

    def before_epoch(self) -> None:
        self.sampler.set_epoch(self.epoch)

    def run_epoch(self) -> None:
        self.set_model_mode("train")
        self.num_batches = len(self.train_loader_x)
        losses = []
        for step, batch in enumerate(self.train_loader_x):
            self.batch_idx = step
            losses.append(self.forward_backward(batch)["loss"])
        self.epoch_loss = sum(losses) / len(losses)
        self.write_scalar("train/loss", self.epoch_loss, self.epoch)
        self.write_scalar("train/lr", self.get_current_lr(), self.epoch)

    def after_epoch(self) -> None:
        super().after_epoch()
        best = f" best val {self.best_result:.2f}" if self.best_result > float("-inf") else ""
        log.debug(
            "epoch %d/%d loss %.4f lr %.2e%s",
            self.epoch + 1,
            self.max_epoch,
            self.epoch_loss,
            self.get_current_lr(),
            best,
        )
        self.bar.set_postfix_str(f"loss {self.epoch_loss:.3f}{best}", refresh=False)
        self.bar.update()

    def train(self) -> None:
        try:
            super().train()
        finally:
            if self.bar is not None:
                self.bar.close()

    def after_train(self) -> None:
        self.bar.close()
        super().after_train()
        self.save_prompts(self.output_dir)

    def forward_backward(self, batch: dict[str, Tensor]) -> dict[str, float]:
        """One step on a batch that may mix tasks; the learning rate moves after the last batch of an epoch."""
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            loss = self.loss(batch)
        if self.scaler is None:
            self.model_backward_and_update(loss)
        else:
            self.model_zero_grad()
            self.model_backward(self.scaler.scale(loss))
            self.scaler.step(self.optim)
            self.scaler.update()
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        """Cross-entropy against each image's label distribution, over its own task's classes or over the union; ().

        Only classes that the loss needs are encoded: those of the tasks in the batch, or all for the union.
        """
        task, labels = batch["task"].to(self.device), batch["labels"].to(self.device)
        union = self.cfg.MULTITASK.LABEL_SPACE == "union"
        present = list(range(len(self.tasks))) if union else task.unique().tolist()
        sizes = torch.tensor([self.tasks[k].num_classes for k in present], device=self.device)
        first = sizes.cumsum(0) - sizes  # the first column of each present task
        position = torch.searchsorted(torch.tensor(present, device=self.device), task)

        contexts = self.model.contexts()
        images = batch["img"].to(self.device, non_blocking=True)
        features = images if self.cached else self.model.encode_images(images, contexts)
        logits = self.model.logits(features, self._class_features(present, contexts))
        if not union and len(present) > 1:
            owner = torch.arange(len(present), device=self.device).repeat_interleave(sizes)
            logits = logits.masked_fill(owner != position[:, None], NEVER)
        columns = torch.where(labels < 0, -1, labels + first[position][:, None])
        return F.cross_entropy(logits, label_distribution(columns, logits.shape[1]))

    def _class_features(self, present: list[int], contexts) -> Tensor:
        """Features of the classes of some tasks: in one pass with a text prompt; else each task's, which are kept."""
        names = [self.tasks[k].classnames for k in present]
        if self.model.has_text_prompt:
            return self.model.encode_classes([name for own in names for name in own], contexts=contexts)
        return torch.cat([self.model.encode_classes(own) for own in names])

    # -- evaluation ----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def _encode_all(self, dataset: Dataset, model: PromptedCLIP | None = None) -> Tensor:
        """Image features (N, d) of a dataset in its order."""
        model = model or self.model
        parts = []
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            for batch in loader(dataset, self.cfg):
                parts.append(model.encode_images(batch["img"].to(self.device, non_blocking=True)))
        return torch.cat(parts)

    def _image_features(self, dataset: MultitaskDataset) -> Tensor:
        if self.model.has_visual_prompt:
            return self._encode_all(dataset)
        return self._plain_features(dataset)

    def _plain_features(self, dataset: MultitaskDataset) -> Tensor:
        plain = PromptedCLIP(self.frozen.backbone.clip, None, self.frozen.backbone.tokenizer)
        return self.frozen.features(dataset, self.amp, lambda rows: self._encode_all(rows, plain))

    @torch.no_grad()
    def predict(self, split: str, zero_shot: bool = False) -> dict[str, Tensor]:
        """Probabilities (N, C) of the evaluated tasks, float32 on the CPU; `zero_shot`: of plain CLIP with the tasks'
        templates."""
        dataset, backbone = self.sets[split], self.frozen.backbone
        self.set_model_mode("eval")
        model = PromptedCLIP(backbone.clip, None, backbone.tokenizer) if zero_shot else self.model
        features = self._plain_features(dataset) if zero_shot else self._image_features(dataset)
        out = {}
        for k, task in enumerate(self.tasks):
            if not self._evaluates(task.name) or not dataset.rows(k):
                continue
            templates = task.templates if model.prompt is None else None
            classes = model.encode_classes(task.classnames, templates=templates)
            out[task.name] = model.logits(features[list(dataset.rows(k))], classes).float().softmax(1).cpu()
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
        mean = sum(scores.values()) / len(scores)
        if split == "test":
            results.write(self, probabilities, scores)
        for name, value in scores.items():
            self.write_scalar(f"{split}/{name}", value, getattr(self, "epoch", 0))
        self.write_scalar(f"{split}/mean", mean, getattr(self, "epoch", 0))
        return mean

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def save_prompts(self, directory: str) -> None:
        """Write prompts.safetensors: what `prompting` needs to use the prompt elsewhere."""
        pre = preprocessing(self.cfg, self.frozen.backbone.preprocessing)
        metadata = {
            "method": self.cfg.TRAINER.NAME,
            "backbone": os.path.basename(self.cfg.MODEL.BACKBONE.NAME),
            "preprocessing": {
                "size": pre.size,
                "mean": list(pre.mean),
                "std": list(pre.std),
                "interpolation": pre.interpolation,
                "crop": "crop" if self.cfg.DATASET.CENTER_CROP else "squash",
            },
            "tasks": [task.name for task in self.tasks],
        }
        save_prompts(os.path.join(directory, "prompts.safetensors"), self.model.prompt, metadata)

    def save_model(self, epoch, directory, is_best=False, val_result=None, model_name="") -> None:
        super().save_model(epoch, directory, is_best, val_result, model_name)
        if self.cfg.TRAINER.MVLPT.COOP.CSC:
            results.write_json(Path(directory) / "prompt_learner" / "classes.json", self.tasks[0].classnames)

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
        """Load a prompt, strictly, from a run's folder: the best one, the last one where no best was kept, or that of
        `epoch`."""
        if not directory or self.model.prompt is None:
            return
        path = results.checkpoint_path(directory, epoch)
        checkpoint = load_checkpoint(path)
        self._check_classes(directory, path)
        try:
            load_state(self.model.prompt, checkpoint["state_dict"])
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        log.debug(
            "loaded the prompt of epoch %s from %s",
            checkpoint.get("epoch", "?"),
            os.path.basename(os.path.normpath(directory)),
        )


def preprocessing(cfg, own: Preprocessing) -> Preprocessing:
    """The backbone's own preprocessing, or that of INPUT.* when INPUT.FROM_BACKBONE is False."""
    if cfg.INPUT.FROM_BACKBONE:
        return own
    return Preprocessing(
        cfg.INPUT.SIZE[0], tuple(cfg.INPUT.PIXEL_MEAN), tuple(cfg.INPUT.PIXEL_STD), cfg.INPUT.INTERPOLATION
    )
