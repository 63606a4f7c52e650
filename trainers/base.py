"""The base of all trainers that learn: a prompt stepped on batches that may mix tasks."""

import json
import logging
import math
import sys
import time
from pathlib import Path
from typing import ClassVar

import torch
from dassl.engine import TRAINER_REGISTRY
from dassl.optim import build_optimizer
from dassl.utils import save_checkpoint
from torch import Tensor
from torch.amp import GradScaler
from yacs.config import CfgNode

from datasets.mixing import MixingSampler
from prompting.anchored import AnchoredPrompt
from prompting.checkpoints.foreign import RECORD
from toolkit.common.plain_values import get_random_state, plain_values
from toolkit.common.progress import progress

# not of dassl.optim: the warm-up of an installed Dassl fails on torch >= 2.7
from toolkit.common.schedules import build_lr_scheduler
from toolkit.common.structured import write_json
from toolkit.common.text import printable, shortened

from . import losses
from .anchors import anchor_weights, build_anchors, zero_shot_odds
from .engine import distributed, results, resume, run_dir
from .engine.config import with_overrides
from .engine.context import PromptSetup
from .engine.start import CLASSES, prompt_record
from .evaluation import PromptEvaluator, mean_score
from .features.loaders import View
from .interpolation import WEIGHTS, check_validation, weight_of

log = logging.getLogger(__name__)

Batch = dict[str, Tensor]


class PromptTrainer(PromptEvaluator):
    """Learns a prompt of a frozen CLIP; nothing but the prompt is in the optimiser."""

    learns = True
    # keys with which the prompt of a run on one task serves any classes
    any_classes: ClassVar[dict] = {}
    # the loss has terms beside those that `loss_weights` names
    needs_anchor: ClassVar[bool] = False

    def build_model(self) -> None:
        super().build_model()
        prompt, cfg = self.model.prompt, self.cfg
        updates = cfg.OPTIM.MIN_UPDATES
        if updates and self.context.trains and self.sets["train"]:
            epochs = math.ceil(updates / len(self._build_sampler()))
            cfg = with_overrides(cfg, OPTIM__MAX_EPOCH=max(epochs, cfg.OPTIM.MAX_EPOCH))
        self.max_epoch = cfg.OPTIM.MAX_EPOCH
        self.optim = build_optimizer(prompt, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.scaler = GradScaler(self.device.type, enabled=self.amp is torch.float16)
        self.register_model("prompt_learner", prompt, self.optim, self.sched)
        self.average: losses.GaussianAverage | None = None  # of the prompt over epochs
        self.weights = anchor_weights(cfg) | self.loss_weights(cfg)
        self.anchors: list = []
        self.bar = None
        self.losses: list[Tensor] = []  # of the present epoch's steps

    def _build_sampler(self) -> MixingSampler:
        cfg, multi = self.cfg, self.cfg.MULTITASK
        return MixingSampler(
            self.sets["train"].sizes,
            cfg.DATALOADER.TRAIN_X.BATCH_SIZE,
            multi.MIXING,
            multi.TEMPERATURE,
            multi.HOMOGENEOUS,
            seed=max(cfg.SEED, 0),
            drop_last=cfg.DATALOADER.TRAIN_X.DROP_LAST,
        )

    @classmethod
    def class_specific_reason(cls, cfg: CfgNode) -> str:
        """Return why the prompt of a run on one task serves no other classes, or ""."""
        if cfg.TRAINER.MVLPT.COOP.CSC:
            return "TRAINER.MVLPT.COOP.CSC is True"
        return ""

    @staticmethod
    def loss_weights(cfg) -> dict[str, float]:
        """Return the weights of the method's terms in `losses.TERMS` by name."""
        return {}

    @classmethod
    def check_training(cls, setup: PromptSetup) -> None:
        cfg = setup.cfg
        if not any(task.train_x for task in setup.tasks):
            names = ", ".join(task.name for task in setup.tasks)
            raise ValueError(
                f"{names}: no training images (DATASET.NUM_SHOTS is {cfg.DATASET.NUM_SHOTS})"
            )
        check_validation(cfg, setup.tasks)
        if cfg.TEST.FINAL_MODEL != "best_val" or cfg.TEST.NO_TEST:
            return
        for task in setup.tasks:
            if cfg.DATASET.MULTITASK_EVALKEY in ("average", task.name) and not task.val:
                raise ValueError(
                    f"TEST.FINAL_MODEL is best_val, but {task.name} has no validation images: set it to last_step"
                )

    def _prepare_training(self) -> None:
        self.check_training(self.setup)
        self._warn_of_long_prompt()
        cfg, dataset = self.cfg, self.sets["train"]
        self.sampler = self._build_sampler()
        items = self._constant_items()
        self.cached = items is not None
        if items is None:
            items = dataset
            if dataset.transform is not None:
                items = View(dataset, 0, max(cfg.SEED, 0))
        if self.weights or self.needs_anchor:
            self.anchors = build_anchors(self)
        if self.weights and cfg.TRAINER.ANCHOR.ADAPTIVE:
            odds = zero_shot_odds(self)
            for name in self.weights:
                self.weights[name] *= odds
        shares, self.share_loss = distributed.share_training(
            self.sampler, self.model.prompt, self.loss
        )
        self.train_loader_x = self._loader(items, shares)

    def _warn_of_long_prompt(self) -> None:
        with torch.no_grad():
            vectors = self.model.prompt.contexts().visual
        if vectors is None:
            return
        side = self.setup.backbone.preprocessing.size // self.setup.shape.patch_size
        patches, length = side * side, vectors.shape[-2]
        if length > patches:
            log.warning(
                "%d visual vectors beside the %d tokens of an image: a step takes at least %d times as long as without",
                *(length, patches, 1 + length // patches),
            )

    def before_train(self) -> None:
        self._prepare_training()
        # a source prompt's weight was loaded
        if isinstance(self.model.prompt, AnchoredPrompt):
            self.model.prompt.weight.fill_(weight_of(self.cfg))
        super().before_train()
        if self.context.resume:
            self.start_epoch, self.losses = resume.restore(self)
            self.epoch = max(0, self.start_epoch - 1)
        distributed.same_randomness()
        self.bar = progress(
            total=self.max_epoch,
            initial=self.start_epoch,
            desc=self._label(),
            unit="epoch",
            leave=False,
        )

    def _label(self) -> str:
        names = [task.name.removeprefix("pocket-") for task in self.tasks]
        label = printable(",".join(names))
        if len(label) >= 24 and len(names) > 1:
            label = f"{len(names)} tasks"
        return f"{self.cfg.TRAINER.NAME} {shortened(label, 24)}"

    def before_epoch(self) -> None:
        self.sampler.set_epoch(self.epoch, first=len(self.losses))
        # features or images in views
        if hasattr(self.train_loader_x.dataset, "set_epoch"):
            self.train_loader_x.dataset.set_epoch(self.epoch)

    def run_epoch(self) -> None:
        self.set_model_mode("train")
        self.num_batches = len(self.train_loader_x)
        saved = time.monotonic()
        for step, batch in enumerate(self.train_loader_x, start=len(self.losses)):
            self.batch_idx = step
            self.losses.append(self.forward_backward(batch)["loss"])
            since = time.monotonic() - saved
            if since > resume.SECONDS and step + 1 < self.num_batches:
                resume.save(self, self.epoch, self.losses)
                saved = time.monotonic()
        # once an epoch, as reading a loss waits for the device
        losses = distributed.mean(torch.stack(self.losses)).tolist()
        self.losses = []
        for step, loss in enumerate(losses, start=1):
            if not math.isfinite(loss):
                raise FloatingPointError(
                    f"epoch {self.epoch + 1}, step {step}: the loss is not finite; lower OPTIM.LR "
                    f"(it is {self.cfg.OPTIM.LR:g}), or set TRAINER.MVLPT.PREC to fp32"
                )
        distributed.check_same(self.model.prompt)
        self.epoch_loss = sum(losses) / len(losses)
        self.write_scalar("train/loss", self.epoch_loss, self.epoch)
        self.write_scalar("train/lr", self.get_current_lr(), self.epoch)

    def after_epoch(self) -> None:
        epoch = self.epoch + 1
        if self.average is not None:
            self.average.add(self.model.prompt, self.epoch)
        if epoch == self.max_epoch:
            self.finish_prompt()
        super().after_epoch()
        if epoch == self.max_epoch:
            self.score_validation()
        val = best = ""
        if self.best_result > -math.inf:
            best = f" best val {self.best_result:.2f}"
        if "val" in self.means:
            val = f" val {self.means['val']:.2f}"
        lr = self.get_current_lr()
        values = f"loss {self.epoch_loss:.4f} lr {lr:.2e}{val}{best}"
        # in log.txt alone
        log.debug("%s: epoch %d/%d %s", self._label(), epoch, self.max_epoch, values)
        self.bar.set_postfix_str(f"loss {self.epoch_loss:.3f}{best}", refresh=False)
        self.bar.update()
        resume.save(self, epoch)

    def finish_prompt(self) -> None:
        """Change the prompt after its last epoch, before it is validated and saved: take
        the average, and set its weight beside zero-shot CLIP, which that has rounded.
        """
        if self.average is not None:
            self.average.load_into(self.model.prompt)
        if not isinstance(self.model.prompt, AnchoredPrompt):
            return
        weight = weight_of(self.cfg)
        if self.cfg.TEST.INTERPOLATE == "val":
            # of equally good ones the nearest
            nearest = sorted(WEIGHTS, key=lambda other: abs(other - weight))
            weight = max(nearest, key=self._validated)
        self.model.prompt.weight.fill_(weight)

    def _validated(self, weight: float) -> float:
        self.model.prompt.weight.fill_(weight)
        return mean_score(self.evaluate("val"))

    def train(self) -> None:
        try:
            super().train()
        finally:
            if self.bar is not None:
                self.bar.close()

    def after_train(self) -> None:
        self.bar.close()
        for split in ("train", "val"):  # the test images may need the memory
            self.sets[split].forget_images()
        super().after_train()
        if self.cfg.TEST.NO_TEST and distributed.main():
            self.records = results.write(self, {}, {})
        self.save_prompts(self.output_dir)
        run_dir.finish(self.output_dir, self.context.metadata)

    def forward_backward(self, batch: Batch) -> dict[str, Tensor]:
        """Take one step on a batch that may mix tasks; the learning rate moves after
        the last batch of an epoch. In fp16 a step whose gradients are not finite is
        left out and the loss scale lowered; `run_epoch` ends a run whose loss is not
        finite.
        """
        self.model_zero_grad()
        loss = self.compute_gradients(batch)
        self.scaler.step(self.optim)
        self.scaler.update()
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.detach()}

    def compute_gradients(self, batch: Batch) -> Tensor:
        """Set the prompt's gradients (scaled in fp16); return the loss ()."""
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            loss = self.share_loss(batch)
        self.scaler.scale(loss).backward()
        return loss

    def loss(self, batch: Batch) -> Tensor:
        """Return cross-entropy against each image's label distribution, over the classes
        of its own task or the union, plus the terms of `weights`; ().
        """
        return losses.total(self.outputs(batch), self.weights)

    def outputs(self, batch: Batch) -> losses.Outputs:
        """Return features and logits of a batch that may mix tasks, of classes that the
        loss needs: those of the tasks in the batch, or all for the union.
        """
        union = self.cfg.MULTITASK.LABEL_SPACE == "union"
        present = batch["task"].unique().tolist()  # positions of tasks
        if union:
            present = list(range(len(self.tasks)))
        device = self.device
        task = batch["task"].to(device, non_blocking=True)
        labels = batch["labels"].to(device, non_blocking=True)
        counts = [self.tasks[k].num_classes for k in present]
        sizes = torch.tensor(counts, device=device)
        first = sizes.cumsum(0) - sizes  # the first column of each present task
        groups = torch.searchsorted(torch.tensor(present, device=device), task)
        columns = torch.where(labels < 0, -1, labels + first[groups][:, None])
        if union:
            groups = torch.zeros_like(groups)
            sizes = sizes.sum(0, keepdim=True)

        contexts = self.model.contexts()
        images = batch["img"].to(device, non_blocking=True)
        parts = [images]
        if not self.cached:
            parts = self.model.encode_image_parts(images, contexts)
        features = parts[0]
        classes = self._class_features(present, contexts)
        frozen = []
        for anchor in self.anchors:
            frozen_images = features
            if self.model.has_visual_prompt:
                frozen_images = anchor.images(batch, images)
            frozen.append((frozen_images, anchor.classes(present)))
        second, weight = None, 1.0
        if len(parts) == 2:
            second, weight = parts[1], contexts.insertion.weight
        batch_parts = (features, classes, columns, groups, sizes)
        return losses.build_outputs(self.model, *batch_parts, frozen, second, weight)

    def _class_features(self, present: list[int], contexts) -> Tensor:
        """Return features of tasks' classes, in one pass if all share a text prompt."""
        tasks = [self.tasks[k] for k in present]
        uses_templates = self.model.prompt.task_templates
        differs = uses_templates or self.model.needs_task
        if self.model.has_text_prompt and not differs:
            names = [name for task in tasks for name in task.classnames]
            return self.model.encode_classes(names, contexts=contexts)
        features = []
        for task in tasks:
            templates = task.templates if uses_templates else None
            given = (task.classnames, templates, contexts)
            features.append(self.model.encode_classes(*given, task=task.name))
        return torch.cat(features)

    def save_model(
        self, epoch, directory, is_best=False, val_result=None, model_name=""
    ) -> None:
        """Write a checkpoint of the prompt with the metadata of prompts.safetensors."""
        if distributed.main():
            folder = Path(directory) / "prompt_learner"
            prompt = self.model.prompt
            record = prompt_record(self.setup) | {"config": prompt.config()}
            state = {
                "state_dict": prompt.state_dict(),
                "epoch": epoch + 1,
                "optimizer": self.optim.state_dict(),
                "scheduler": self.sched.state_dict(),
                "val_result": None if val_result is None else float(val_result),
                "best_result": float(self.best_result),
                "scaler": self.scaler.state_dict() or None,
                "rng": get_random_state(),
                RECORD: json.dumps(record),
            }
            save_checkpoint(
                plain_values(state), str(folder), is_best=is_best, model_name=model_name
            )
            if self.model.has_class_contexts:
                write_json(folder / CLASSES, self.tasks[0].classnames, indent=1)
        distributed.barrier()  # all may load it


def register_with_multitask_form(cls: type) -> type:
    """Register a trainer, and the same on batches of several tasks as "M<its name>"."""
    name = f"M{cls.__name__}"
    form = type(name, (cls,), {"multitask": True, "__module__": cls.__module__})
    setattr(sys.modules[cls.__module__], name, form)
    for trainer in (cls, form):
        TRAINER_REGISTRY.register()(trainer)
    return cls


def at_least_one(key: str, length: int) -> int:
    """Return `length`; raise ValueError naming its key if it is below 1."""
    if length < 1:
        raise ValueError(f"{key} is {length}; this trainer needs at least 1")
    return length
