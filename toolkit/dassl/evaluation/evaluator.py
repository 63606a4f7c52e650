"""Accuracy and its relatives over a whole split."""

import logging
import os
from collections import OrderedDict
from collections.abc import Mapping

import torch
from torch import Tensor

from toolkit.common.text import printable

from .build import EVALUATOR_REGISTRY

logger = logging.getLogger(__name__)


class EvaluatorBase:
    """Collects batches with ``process`` and scores them all in ``evaluate``."""

    def __init__(self, cfg):
        self.cfg = cfg

    def reset(self) -> None:
        """Forget the collected batches."""
        raise NotImplementedError

    def process(self, mo: Tensor, gt: Tensor) -> None:
        """Collect one batch: model output ``mo`` and ground truth ``gt``."""
        raise NotImplementedError

    def evaluate(self) -> OrderedDict:
        """Return the results, the most important one first."""
        raise NotImplementedError


@EVALUATOR_REGISTRY.register()
class Classification(EvaluatorBase):
    """Accuracy, error rate and macro F1 in percent, for one label an image."""

    def __init__(self, cfg, lab2cname: Mapping[int, str] | None = None, **kwargs):
        super().__init__(cfg)
        if cfg.TEST.PER_CLASS_RESULT and lab2cname is None:
            raise ValueError(
                "TEST.PER_CLASS_RESULT needs the class names: pass lab2cname to the evaluator"
            )
        self._lab2cname = lab2cname
        self.reset()

    def reset(self) -> None:
        self._y_true: list[Tensor] = []
        self._y_pred: list[Tensor] = []

    def process(self, mo: Tensor, gt: Tensor) -> None:
        """Collect scores (B, C) and labels (B,)."""
        self._y_pred.append(mo.argmax(dim=1).cpu())
        self._y_true.append(gt.cpu())

    def evaluate(self) -> OrderedDict:
        """Return an OrderedDict of ``accuracy``, ``error_rate``, ``macro_f1`` (of the
        labels in the ground truth) and, if asked for, ``perclass_accuracy``. Raise
        ValueError if nothing was processed.
        """
        if not self._y_true:
            raise ValueError("The evaluator has processed no batch since its reset")
        truth = torch.cat(self._y_true).long()
        guess = torch.cat(self._y_pred)
        size = int(max(truth.max(), guess.max())) + 1
        counts = torch.bincount(truth * size + guess, minlength=size * size)
        cmat = counts.view(size, size).double()  # rows by true label
        hits = cmat.diagonal()
        truths = cmat.sum(dim=1)
        guesses = cmat.sum(dim=0)
        total = int(truths.sum())
        correct = int(hits.sum())
        accuracy = 100.0 * correct / total
        f1 = 2.0 * hits / (truths + guesses).clamp(min=1)
        macro_f1 = 100.0 * float(f1[truths > 0].mean())
        results = OrderedDict(
            accuracy=accuracy, error_rate=100.0 - accuracy, macro_f1=macro_f1
        )

        logger.info("=> result")
        logger.info("* total: %s", f"{total:,}")
        logger.info("* correct: %s", f"{correct:,}")
        logger.info("* accuracy: %.1f%%", accuracy)
        logger.info("* error: %.1f%%", results["error_rate"])
        logger.info("* macro_f1: %.1f%%", macro_f1)

        if self.cfg.TEST.PER_CLASS_RESULT:
            results["perclass_accuracy"] = self._per_class(hits, truths)
        if self.cfg.TEST.COMPUTE_CMAT:
            path = os.path.join(self.cfg.OUTPUT_DIR, "cmat.pt")
            occurs = (truths + guesses) > 0
            shares = cmat / truths[:, None].clamp(min=1)  # of each row
            # an array, as Dassl's
            torch.save(shares[occurs][:, occurs].numpy(), path)
            logger.info("Confusion matrix is saved to %s", path)
        return results

    def _per_class(self, hits: Tensor, truths: Tensor) -> float:
        """Log each label that occurs; return their mean accuracy in percent."""
        logger.info("=> per-class result")
        accuracies = []
        for label in truths.nonzero().flatten().tolist():
            total = int(truths[label])
            correct = int(hits[label])
            accuracy = 100.0 * correct / total
            accuracies.append(accuracy)
            counts = f"total: {total:,}\tcorrect: {correct:,}"
            name = printable(self._lab2cname[label])
            logger.info(
                "* class: %d (%s)\t%s\tacc: %.1f%%", label, name, counts, accuracy
            )
        mean = sum(accuracies) / len(accuracies)
        logger.info("* average: %.1f%%", mean)
        return mean
