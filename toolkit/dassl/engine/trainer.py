"""Trainers over one labelled loader, or over that and an unlabelled one."""

import datetime
import itertools
import logging
import os
import shutil
import time

import torch
from torch import Tensor, nn

from ..data import DataManager
from ..evaluation import build_evaluator
from ..modeling import build_backbone, build_head
from ..optim import build_lr_scheduler, build_optimizer
from ..utils import AverageMeter, MetricMeter, count_num_param, load_pretrained_weights
from ..utils.checkpoint import BEST_FILE, last_checkpoint
from .base import TrainerBase

logger = logging.getLogger(__name__)


class SimpleNet(nn.Module):
    """A registered backbone, perhaps a head, and a classifier if there are classes."""

    def __init__(self, cfg, model_cfg, num_classes: int, **kwargs):
        super().__init__()
        self.backbone = build_backbone(
            model_cfg.BACKBONE.NAME,
            verbose=cfg.VERBOSE,
            pretrained=model_cfg.BACKBONE.PRETRAINED,
            **kwargs,
        )
        width = self.backbone.out_features
        self.head = None
        if model_cfg.HEAD.NAME and model_cfg.HEAD.HIDDEN_LAYERS:
            self.head = build_head(
                model_cfg.HEAD.NAME,
                verbose=cfg.VERBOSE,
                in_features=width,
                hidden_layers=model_cfg.HEAD.HIDDEN_LAYERS,
                activation=model_cfg.HEAD.ACTIVATION,
                bn=model_cfg.HEAD.BN,
                dropout=model_cfg.HEAD.DROPOUT,
                **kwargs,
            )
            width = self.head.out_features
        self.classifier = nn.Linear(width, num_classes) if num_classes > 0 else None
        self.fdim = width  # of the features

    def forward(self, x: Tensor, return_feature: bool = False):
        """Return scores (B, C), or features without a classifier, or both."""
        features = self.backbone(x)
        if self.head is not None:
            features = self.head(features)
        if self.classifier is None:
            return features
        scores = self.classifier(features)
        if return_feature:
            return scores, features
        return scores


class SimpleTrainer(TrainerBase):
    """Builds data, model and evaluator from ``cfg``; tests and saves as it requires.
    Only with ``cfg.RESUME``, the folder of a run, does training continue from the last
    regular checkpoint there, on the same course as an uninterrupted run.
    """

    def __init__(self, cfg):
        super().__init__()
        self.check_cfg(cfg)
        use_cuda = torch.cuda.is_available() and cfg.USE_CUDA
        self.device = torch.device("cuda" if use_cuda else "cpu")
        self.start_epoch = self.epoch = 0
        self.max_epoch = cfg.OPTIM.MAX_EPOCH
        self.output_dir = cfg.OUTPUT_DIR
        self.cfg = cfg
        self.build_data_loader()
        self.build_model()
        self.evaluator = build_evaluator(cfg, lab2cname=self.lab2cname)
        self.best_result = float("-inf")

    def check_cfg(self, cfg) -> None:
        """Raise ValueError for a configuration that cannot run; called first."""

    def build_data_loader(self) -> None:
        """Set ``dm``, its loaders and the facts about its classes."""
        dm = DataManager(self.cfg)
        self.train_loader_x = dm.train_loader_x
        self.train_loader_u = dm.train_loader_u
        self.val_loader = dm.val_loader
        self.test_loader = dm.test_loader
        self.num_classes = dm.num_classes
        self.num_source_domains = dm.num_source_domains
        self.lab2cname = dm.lab2cname
        self.dm = dm

    def build_model(self) -> None:
        """Register a ``SimpleNet``; prompt trainers build their own model."""
        cfg = self.cfg
        self.model = SimpleNet(cfg, cfg.MODEL, self.num_classes)
        if cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(self.model, cfg.MODEL.INIT_WEIGHTS)
        self.model.to(self.device)
        logger.info("# params: %s", f"{count_num_param(self.model):,}")
        self.optim = build_optimizer(self.model, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("model", self.model, self.optim, self.sched)

    def train(self) -> None:
        """Train from ``start_epoch`` to ``max_epoch``."""
        super().train(self.start_epoch, self.max_epoch)

    def before_train(self) -> None:
        """Open the tensorboard writer, resume if ``cfg.RESUME`` is set, and start the
        clock. Raise FileNotFoundError if ``cfg.RESUME`` has no regular checkpoint.
        """
        os.makedirs(self.output_dir, exist_ok=True)
        self.init_writer(os.path.join(self.output_dir, "tensorboard"))
        if self.cfg.RESUME:
            self._resume(self.cfg.RESUME)
        elif any(map(last_checkpoint, self._folders(self.output_dir))):
            message = "%s holds checkpoints; set RESUME to continue from them"
            logger.warning(message, self.output_dir)
        self.time_start = time.time()

    def _folders(self, directory: str) -> list[str]:
        return [os.path.join(directory, name) for name in self.get_model_names()]

    def _resume(self, directory: str) -> None:
        self.start_epoch = self.resume_model_if_exist(directory)
        theirs, ours = self._folders(directory), self._folders(self.output_dir)
        if self.start_epoch == 0:
            raise FileNotFoundError(
                f"RESUME is set, but there is no regular checkpoint: {', '.join(theirs)}"
            )
        # a new folder needs the best model so far, too
        for there, here in zip(theirs, ours, strict=True):
            best, copy = os.path.join(there, BEST_FILE), os.path.join(here, BEST_FILE)
            if os.path.isfile(best) and not os.path.exists(copy):
                os.makedirs(here, exist_ok=True)
                shutil.copyfile(best, copy)

    def after_epoch(self) -> None:
        """Save the best model, with ``best_val``, and regular checkpoints."""
        last_epoch = self.epoch + 1 == self.max_epoch
        frequency = self.cfg.TRAIN.CHECKPOINT_FREQ
        if not self.cfg.TEST.NO_TEST and self.cfg.TEST.FINAL_MODEL == "best_val":
            result = self.test(split="val")
            if result > self.best_result:
                self.best_result = float(result)
                self.save_model(
                    self.epoch, self.output_dir, val_result=result, model_name=BEST_FILE
                )
        if last_epoch or (frequency > 0 and (self.epoch + 1) % frequency == 0):
            self.save_model(self.epoch, self.output_dir)

    def after_train(self) -> None:
        """Test the final model, log the time, close the writer."""
        logger.info("Finish training")
        if not self.cfg.TEST.NO_TEST:
            if self.cfg.TEST.FINAL_MODEL == "best_val":
                logger.info("Deploy the model with the best val performance")
                self.load_model(self.output_dir)
            else:
                logger.info("Deploy the last-epoch model")
            self.test()
        seconds = round(time.time() - self.time_start)
        logger.info("Elapsed: %s", datetime.timedelta(seconds=seconds))
        self.close_writer()

    @torch.no_grad()
    def test(self, split: str | None = None) -> float:
        """Return the evaluator's first result, accuracy in percent, on a split: "val" or
        "test", by default ``cfg.TEST.SPLIT``. Without a validation set the test set is
        used. Raise ValueError if there is no data.
        """
        self.set_model_mode("eval")
        self.evaluator.reset()
        split = self.cfg.TEST.SPLIT if split is None else split
        loader = self.val_loader
        if split == "val" and loader is None:
            logger.warning("There is no validation set: the test set is used instead")
        if split != "val" or loader is None:
            split, loader = "test", self.test_loader
        if loader is None:
            raise ValueError(f"The dataset has no {split} split to evaluate on")
        logger.info("Evaluate on the *%s* set", split)
        for batch in loader:
            input, label = self.parse_batch_test(batch)
            self.evaluator.process(self.model_inference(input), label)
        results = self.evaluator.evaluate()
        for name, value in results.items():
            self.write_scalar(f"{split}/{name}", value, self.epoch)
        return next(iter(results.values()))

    def model_inference(self, input: Tensor) -> Tensor:
        """Return ``self.model(input)``, scores (B, C)."""
        return self.model(input)

    def parse_batch_test(self, batch: dict) -> tuple[Tensor, Tensor]:
        """Return images and labels, on the device."""
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def _run_steps(self, batches, num_batches: int) -> None:
        self.set_model_mode("train")
        losses = MetricMeter()
        batch_time, data_time = AverageMeter(), AverageMeter()
        self.num_batches = num_batches
        frequency = self.cfg.TRAIN.PRINT_FREQ
        end = time.time()
        for self.batch_idx, arguments in enumerate(batches):
            data_time.update(time.time() - end)
            summary = self.forward_backward(*arguments)
            batch_time.update(time.time() - end)
            losses.update(summary)
            if (self.batch_idx + 1) % frequency == 0 or self.num_batches < frequency:
                self._log_step(losses, batch_time, data_time)
            step = self.epoch * self.num_batches + self.batch_idx
            for name, meter in losses.meters.items():
                self.write_scalar(f"train/{name}", meter.avg, step)
            self.write_scalar("train/lr", self.get_current_lr(), step)
            end = time.time()

    def _log_step(
        self, losses: MetricMeter, batch_time: AverageMeter, data_time: AverageMeter
    ) -> None:
        epochs = self.max_epoch - self.epoch
        remaining = epochs * self.num_batches - self.batch_idx - 1
        fields = [
            f"epoch [{self.epoch + 1}/{self.max_epoch}]",
            f"batch [{self.batch_idx + 1}/{self.num_batches}]",
            f"time {batch_time.val:.3f} ({batch_time.avg:.3f})",
            f"data {data_time.val:.3f} ({data_time.avg:.3f})",
            str(losses),
            f"lr {self.get_current_lr():.4e}",
            f"eta {datetime.timedelta(seconds=int(batch_time.avg * remaining))}",
        ]
        logger.info(" ".join(field for field in fields if field))


class TrainerX(SimpleTrainer):
    """Training on the labelled loader: a subclass defines ``forward_backward(batch)``,
    which calls ``update_lr()`` when ``batch_idx + 1 == num_batches``.
    """

    def run_epoch(self) -> None:
        """Make one pass over ``train_loader_x``."""
        if self.train_loader_x is None:
            raise ValueError("There is no training data: the set's train_x is empty")
        self._run_steps(zip(self.train_loader_x, strict=True), len(self.train_loader_x))

    def parse_batch_train(self, batch: dict):
        """Return images, labels and domains, on the device."""
        return tuple(batch[key].to(self.device) for key in ("img", "label", "domain"))


class TrainerXU(SimpleTrainer):
    """Training on pairs of batches: ``forward_backward(batch_x, batch_u)``.
    ``cfg.TRAIN.COUNT_ITER`` says whose length is the epoch's; the shorter loader starts
    again when it ends.
    """

    def run_epoch(self) -> None:
        """Make one epoch of pairs, or raise ValueError if they cannot be made."""
        if self.train_loader_x is None or self.train_loader_u is None:
            raise ValueError("This trainer needs both train_x and train_u (unlabelled)")
        len_x = len(self.train_loader_x)
        len_u = len(self.train_loader_u)
        lengths = {"train_x": len_x, "train_u": len_u, "smaller_one": min(len_x, len_u)}
        if self.cfg.TRAIN.COUNT_ITER not in lengths:
            raise ValueError(
                f"TRAIN.COUNT_ITER is {self.cfg.TRAIN.COUNT_ITER!r}; choose {', '.join(lengths)}"
            )
        length = lengths[self.cfg.TRAIN.COUNT_ITER]
        pairs = zip(
            _cycle(self.train_loader_x), _cycle(self.train_loader_u), strict=True
        )
        self._run_steps(itertools.islice(pairs, length), length)

    def parse_batch_train(self, batch_x: dict, batch_u: dict):
        """Return labelled images, their labels, and unlabelled images, on the device."""
        tensors = (batch_x["img"], batch_x["label"], batch_u["img"])
        return tuple(tensor.to(self.device) for tensor in tensors)


def _cycle(loader):
    while True:
        yield from loader


def __getattr__(name: str):
    # imported when it is used: tensorboard is slow to import, and optional
    if name == "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter

        return SummaryWriter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
