"""The output of a run of a trainer written only for Dassl, beside Dassl's files:
results.json, predictions and tables, as of our own trainers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from datasets import Task, as_task, task_name
from elevater_eval import write_predictions
from toolkit.common.structured import write_json

from . import provenance, results, tables

log = logging.getLogger(__name__)


class LastTest:
    """Keeps the probabilities and labels that a trainer's evaluator was given in its
    last test.

    Attributes:
        split: "test" or "val". value: the result of `test`, None before.
        validation: the result on validation images, None if it was not asked for.
    """

    def __init__(self, trainer: Any) -> None:
        self.split = "test"
        self.value: float | None = None
        self.validation: float | None = None
        self._scores: list[Tensor] = []
        self._labels: list[Tensor] = []
        self._watch_evaluator(trainer.evaluator)
        self._watch_test(trainer)

    def _watch_evaluator(self, evaluator: Any) -> None:
        reset, process = evaluator.reset, evaluator.process

        def reset_too() -> None:
            self._scores.clear()
            self._labels.clear()
            reset()

        def process_too(output: Tensor, truth: Tensor) -> None:
            if isinstance(output, Tensor):
                scores = output.detach().float().cpu()
                self._scores.append(scores)
                self._labels.append(truth.detach().cpu())
            process(output, truth)

        evaluator.reset, evaluator.process = reset_too, process_too

    def _watch_test(self, trainer: Any) -> None:
        test = trainer.test

        def test_too(*args, **kwargs):
            split = kwargs.get("split")
            if args:
                split = args[0]
            split = split or trainer.cfg.TEST.SPLIT
            if split != "val" or trainer.val_loader is None:
                split = "test"
            self.split = split
            self.value = test(*args, **kwargs)
            return self.value

        trainer.test = test_too

    def validate(self, trainer: Any) -> None:
        """Score the trained model on the validation images, and keep the last test's
        probabilities.
        """
        kept = (self.split, self.value, list(self._scores), list(self._labels))
        self.validation = float(trainer.test(split="val"))
        self.split, self.value, self._scores, self._labels = kept

    def probabilities(self) -> Tensor | None:
        """Return the probabilities (N, C), None if nothing was tested."""
        if not self._scores:
            return None
        scores = torch.cat(self._scores)
        sums = scores.sum(dim=1)
        if (scores >= 0).all() and torch.allclose(
            sums, torch.ones_like(sums), atol=1e-3
        ):
            return scores
        return scores.softmax(dim=1)

    def labels(self) -> Tensor:
        """Return the labels (N,)."""
        return torch.cat(self._labels)


def dataset_of(trainer: Any) -> Any:
    """Return the data set of a trainer, None if it keeps none."""
    return getattr(getattr(trainer, "dm", None), "dataset", None)


def write(trainer: Any, cfg: CfgNode, tested: LastTest) -> list[dict]:
    """Write predictions/, results/ and results.json; return its records.

    cfg: the configuration of the run, with its own seed and shots.
    """
    folder = Path(cfg.OUTPUT_DIR)
    counts = count_parameters(trainer)
    records: list[dict] = []
    complete: list[Task] = []
    targets, scores = {}, {}
    for task, items, found in _by_task(trainer, cfg, tested):
        truth = _targets(task, items)
        record = {"task": task.name, "metric": task.metric}
        if found is not None:
            record |= _judged(task, truth, found)
        elif tested.value is not None and task.metric == "accuracy":
            record["score"] = round(float(tested.value), 6)
        if tested.split != "test" and "score" in record:
            record["split"] = tested.split
        records.append(record | _about(trainer, cfg, task, counts, tested.validation))
        if found is None or tested.split != "test" or len(items) != len(task.test):
            continue
        complete.append(task)
        targets[task.name] = truth
        scores[task.name] = found
        write_predictions(
            folder / "predictions" / f"seed{max(cfg.SEED, 0)}_{task.name}.json",
            model_name=f"{cfg.TRAINER.NAME}-{results.backbone_name(cfg)}",
            dataset_name=task.name,
            n_shot=int(cfg.DATASET.NUM_SHOTS),
            seed=max(cfg.SEED, 0),
            probabilities=found.numpy(),
            **counts,
        )
    if complete:
        tables.write(folder, complete, targets, scores, {})
    write_json(folder / "results.json", records, indent=1)
    return records


def _by_task(
    trainer: Any, cfg: CfgNode, tested: LastTest
) -> Iterator[tuple[Task, list, Tensor | None]]:
    """Yield each task, its tested images, and their probabilities (N, C) over its own
    classes.

    They are None if nothing was tested, or not each image in the order of the data set.
    """
    dataset = dataset_of(trainer)
    if dataset is None:
        return
    found = tested.probabilities()
    whole = as_task(dataset, task_name(cfg.DATASET.NAME))
    items = _items(whole, tested.split)
    if found is not None and not _fits(whole, items, found, tested.labels()):
        log.warning(
            "no predictions are written: the last test was not of each image and class of the data set, in its order"
        )
        found = None
    parts = getattr(dataset, "parts", None)
    if not parts:
        yield whole, items, found
        return
    first = 0
    for domain, task in enumerate(parts):
        columns = slice(first, first + task.num_classes)
        first += task.num_classes
        rows = [place for place, item in enumerate(items) if item.domain == domain]
        # those without a label are in no union
        labelled = [item for item in _items(task, tested.split) if item.labels]
        if found is None:
            yield task, labelled, None
            continue
        shares = found[rows, columns]
        yield task, labelled, shares / shares.sum(dim=1, keepdim=True).clamp(min=1e-30)


def _targets(task: Task, items: list) -> Tensor:
    """Return labels (N,), or 0 and 1 (N, C) of a multilabel task."""
    if task.label_kind != "multilabel":
        return torch.tensor([item.label for item in items])
    targets = torch.zeros(len(items), task.num_classes, dtype=torch.long)
    for row, item in zip(targets, items, strict=True):
        row[list(item.labels)] = 1
    return targets


def _items(task: Task, split: str) -> list:
    return task.val if split == "val" else task.test


def _fits(task: Task, items: list, found: Tensor, labels: Tensor) -> bool:
    if found.shape != (len(items), task.num_classes):
        return False
    return labels.tolist() == [item.label for item in items]


def _judged(task: Task, targets: Tensor, found: Tensor) -> dict:
    """Return the task's own metric in percent, and macro F1 beside accuracy."""
    score = results.score(task, targets, found)
    judged = {"score": round(score, 6)}
    if task.metric == "accuracy":
        predicted = tables.six_decimals(found).argmax(axis=1)
        macro_f1 = results.macro_f1(targets.numpy(), predicted)
        judged["macro_f1"] = round(macro_f1, 6)
    else:
        log.info("%s is scored by %s, not by accuracy", task.name, task.metric)
    return judged


def _about(
    trainer: Any,
    cfg: CfgNode,
    task: Task,
    counts: Mapping[str, int],
    validation: float | None,
) -> dict:
    """Return the part of a record about the run, as for our own trainers."""
    about: dict[str, Any] = {
        "trainer": cfg.TRAINER.NAME,
        "shots": int(cfg.DATASET.NUM_SHOTS),
        "seed": max(cfg.SEED, 0),
        "backbone": results.backbone_name(cfg),
        "classes": task.num_classes,
    }
    best = float(getattr(trainer, "best_result", float("-inf")))
    if best > float("-inf"):
        about["val_score"] = round(best, 6)
    elif validation is not None:
        about["val_score"] = round(validation, 6)
    for name, items in (
        ("train", task.train_x),
        ("val", task.val),
        ("test", task.test),
    ):
        about[f"{name}_images"] = len(items)
    about |= counts
    about |= {"data": provenance.of_data(task), **provenance.of_program()}
    about["machine"] = provenance.of_machine(trainer.device.type)
    return about


def count_parameters(trainer: Any) -> dict[str, int]:
    """Return the four counts of a prediction file, as far as names of modules tell them."""
    modules = [getattr(trainer, "model", None), *trainer._models.values()]
    parameters, visual, trainable = {}, {}, {}
    for module in modules:
        if not isinstance(module, nn.Module):
            continue
        for name, parameter in module.named_parameters():
            parameters[id(parameter)] = parameter.numel()
            if parameter.requires_grad:
                trainable[id(parameter)] = parameter.numel()
            elif "image_encoder" in name or "visual" in name:
                visual[id(parameter)] = parameter.numel()
    total = sum(parameters.values())
    learned = sum(trainable.values())
    return {
        "num_trainable_params": learned,
        "num_params": total,
        "num_visual_params": sum(visual.values()),
        "num_backbone_params": total - learned,
    }
