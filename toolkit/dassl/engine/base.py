"""The base of all trainers: models, checkpoints, and the order of the hooks."""

import logging
import os
from collections import OrderedDict

import torch
from torch import Tensor, nn

from toolkit.common.plain_values import get_random_state, set_random_state

from ..utils import load_checkpoint, save_checkpoint, tolist_if_not
from ..utils.checkpoint import BEST_FILE, last_checkpoint, restore

logger = logging.getLogger(__name__)

Names = str | list[str] | None  # of registered models; None for all


class TrainerBase:
    """Iterative training of registered models. A subclass registers each model it
    trains, with its optimiser and schedule; the name is also that of the checkpoints'
    folder. ``train`` runs ``before_train``, for each epoch ``before_epoch``,
    ``run_epoch``, ``after_epoch``, and last ``after_train``.
    """

    def __init__(self):
        self._models: OrderedDict[str, nn.Module] = OrderedDict()
        self._optims: OrderedDict = OrderedDict()
        self._scheds: OrderedDict = OrderedDict()
        self._writer = None

    def register_model(
        self,
        name: str = "model",
        model: nn.Module | None = None,
        optim=None,
        sched=None,
    ) -> None:
        """Register a model, perhaps with optimiser and schedule. Raise AttributeError
        before ``super().__init__()``, ValueError if the name is taken.
        """
        if "_models" not in self.__dict__:
            raise AttributeError("register_model() is called before super().__init__()")
        if name in self._models:
            raise ValueError(f"A model named {name!r} is already registered")
        self._models[name] = model
        self._optims[name] = optim
        self._scheds[name] = sched

    def get_model_names(self, names: Names = None) -> list[str]:
        """Return ``names`` as a list, or all; ValueError if unregistered."""
        if names is None:
            return list(self._models)
        names = tolist_if_not(names)
        for name in names:
            if name not in self._models:
                raise ValueError(
                    f"No model named {name!r}; registered: {', '.join(self._models) or 'none'}"
                )
        return names

    def save_model(
        self,
        epoch: int,
        directory: str,
        is_best: bool = False,
        val_result: float | None = None,
        model_name: str = "",
    ) -> None:
        """Save every model to ``<directory>/<name>/``, with all that a resume needs.
        epoch: index of the finished epoch. is_best: also write the best file.
        model_name: file name; default ``model.pth.tar-<epoch + 1>``.
        """
        scaler = getattr(self, "scaler", None)
        best_result = getattr(self, "best_result", None)
        for name in self.get_model_names():
            state = {
                "state_dict": self._models[name].state_dict(),
                "epoch": epoch + 1,
                "optimizer": _state_of(self._optims[name]),
                "scheduler": _state_of(self._scheds[name]),
                "val_result": None if val_result is None else float(val_result),
                "best_result": None if best_result is None else float(best_result),
                "scaler": _state_of(scaler),
                "rng": get_random_state(),
            }
            folder = os.path.join(directory, name)
            save_checkpoint(state, folder, is_best=is_best, model_name=model_name)

    def resume_model_if_exist(self, directory: str) -> int:
        """Restore all that `save_model` stored, and the gradient scaler (``scaler``),
        from the last regular checkpoints in ``directory``. Return the epoch to continue
        with; 0, and nothing is restored, if a model has none there.
        """
        paths = {}
        for name in self.get_model_names():
            paths[name] = last_checkpoint(os.path.join(directory, name))
        if not paths or None in paths.values():
            logger.info("No checkpoint found in %s, train from scratch", directory)
            return 0
        epoch, checkpoint = 0, {}
        for name, path in paths.items():
            checkpoint = load_checkpoint(path)
            epoch = restore(
                checkpoint, self._models[name], self._optims[name], self._scheds[name]
            )
            logger.info("Resumed %s from %s (epoch=%d)", name, path, epoch)
        if checkpoint.get("best_result") is not None:
            self.best_result = checkpoint["best_result"]
        if checkpoint.get("scaler") and getattr(self, "scaler", None) is not None:
            self.scaler.load_state_dict(checkpoint["scaler"])
        if checkpoint.get("rng"):
            set_random_state(checkpoint["rng"])
        return epoch

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load every model, strictly, from ``<directory>/<name>/``; from "" none.
        epoch: number in the file's name; None: the best file. Raises FileNotFoundError.
        """
        if not directory:
            logger.info("load_model() is skipped: no directory is given")
            return
        model_file = BEST_FILE if epoch is None else f"model.pth.tar-{epoch}"
        for name in self.get_model_names():
            path = os.path.join(directory, name, model_file)
            if not os.path.isfile(path):
                raise FileNotFoundError(f"No model found: {path}")
            checkpoint = load_checkpoint(path)
            val_result = checkpoint.get("val_result")
            shown = "none" if val_result is None else f"{val_result:.1f}"
            shown = f"(epoch={checkpoint['epoch']}, val_result={shown})"
            logger.info("Load %s to %s %s", path, name, shown)
            self._models[name].load_state_dict(checkpoint["state_dict"])

    def init_writer(self, log_dir: str) -> None:
        """Open a tensorboard writer; without the package only a warning is logged."""
        if self._writer is not None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(log_dir=log_dir)
        except ImportError:
            message = "tensorboard is not installed: no curves are written to %s"
            logger.warning(message, log_dir)

    def close_writer(self) -> None:
        """Close the writer, if there is one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def write_scalar(
        self, tag: str, scalar_value: float, global_step: int | None = None
    ) -> None:
        """Add a point to a curve; nothing happens without a writer."""
        if self._writer is not None:
            self._writer.add_scalar(tag, scalar_value, global_step)

    def train(self, start_epoch: int, max_epoch: int) -> None:
        """Run all hooks; ``before_train`` may change the first epoch."""
        self.start_epoch = start_epoch
        self.max_epoch = max_epoch
        self.before_train()
        for epoch in range(self.start_epoch, self.max_epoch):
            self.epoch = epoch
            self.before_epoch()
            self.run_epoch()
            self.after_epoch()
        self.after_train()

    def before_train(self) -> None:
        """Run the hook before the first epoch."""

    def after_train(self) -> None:
        """Run the hook after the last epoch."""

    def before_epoch(self) -> None:
        """Run the hook before each epoch."""

    def after_epoch(self) -> None:
        """Run the hook after each epoch."""

    def run_epoch(self) -> None:
        """Make one pass over the training data."""
        raise NotImplementedError

    def test(self) -> float:
        """Evaluate the registered models."""
        raise NotImplementedError

    def parse_batch_train(self, batch):
        """Return the model input and labels of a training batch."""
        raise NotImplementedError

    def parse_batch_test(self, batch):
        """Return the model input and labels of a test batch."""
        raise NotImplementedError

    def forward_backward(self, batch) -> dict | None:
        """Make one training step; return scalars to log."""
        raise NotImplementedError

    def model_inference(self, input: Tensor) -> Tensor:
        """Return the scores (B, C) of a test batch."""
        raise NotImplementedError

    def set_model_mode(self, mode: str = "train", names: Names = None) -> None:
        """Switch models to "train", "test" or "eval", or raise KeyError."""
        if mode not in ("train", "test", "eval"):
            raise KeyError(f"Unknown mode {mode!r}; choose train, test or eval")
        for name in self.get_model_names(names):
            if self._models[name] is not None:
                self._models[name].train(mode == "train")

    def update_lr(self, names: Names = None) -> None:
        """Step the schedules; once an epoch, after its last optimiser step."""
        for name in self.get_model_names(names):
            if self._scheds[name] is not None:
                self._scheds[name].step()

    def get_current_lr(self, names: Names = None) -> float:
        """Return the first learning rate of ``names``; 0 without one."""
        optims = self._optimizers(names)
        return optims[0].param_groups[0]["lr"] if optims else 0.0

    def detect_anomaly(self, loss: Tensor) -> None:
        """Raise FloatingPointError if a loss is infinite or NaN."""
        if not torch.isfinite(loss).all():
            raise FloatingPointError("Loss is infinite or NaN!")

    def model_zero_grad(self, names: Names = None) -> None:
        """Clear the gradients of the models of ``names``."""
        for optim in self._optimizers(names):
            optim.zero_grad()

    def model_backward(self, loss: Tensor) -> None:
        """Check the loss, then backpropagate it."""
        self.detect_anomaly(loss)
        loss.backward()

    def model_update(self, names: Names = None) -> None:
        """Step the optimisers of the models of ``names``."""
        for optim in self._optimizers(names):
            optim.step()

    def model_backward_and_update(self, loss: Tensor, names: Names = None) -> None:
        """Clear gradients, backpropagate, step."""
        self.model_zero_grad(names)
        self.model_backward(loss)
        self.model_update(names)

    def _optimizers(self, names: Names) -> list:
        optims = [self._optims[name] for name in self.get_model_names(names)]
        return [optim for optim in optims if optim is not None]


def _state_of(part) -> dict | None:
    return None if part is None else part.state_dict()
