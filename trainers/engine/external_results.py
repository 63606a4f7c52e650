"""The results of a trainer that was written for Dassl alone, as of our own trainers."""

import logging
from typing import Any

import torch
from torch import Tensor, nn
from yacs.config import CfgNode

from datasets import Task, as_task, task_name

from . import results

log = logging.getLogger(__name__)


class LastTest:
    """Keeps the probabilities and labels of a trainer's last test."""

    def __init__(self, trainer: Any) -> None:
        self.split = "test"  # or "val"
        self.value: float | None = None  # the result of `test`
        self.validation: float | None = None  # if it was asked for
        # the scores and labels of each batch
        self._outputs: list[tuple[Tensor, Tensor]] = []
        evaluator = trainer.evaluator
        reset, process, test = evaluator.reset, evaluator.process, trainer.test

        def reset_too() -> None:
            self._outputs.clear()
            reset()

        def process_too(output: Tensor, truth: Tensor) -> None:
            if isinstance(output, Tensor):
                scores = output.detach().float().cpu()
                self._outputs.append((scores, truth.detach().cpu()))
            process(output, truth)

        def test_too(*args, **kwargs):
            split = args[0] if args else kwargs.get("split")
            self.split = split or trainer.cfg.TEST.SPLIT
            if self.split != "val" or trainer.val_loader is None:
                self.split = "test"
            self.value = test(*args, **kwargs)
            return self.value

        evaluator.reset, evaluator.process = reset_too, process_too
        trainer.test = test_too

    def validate(self, trainer: Any) -> None:
        """Score the validation images, and keep the last test's probabilities."""
        kept = (self.split, self.value, list(self._outputs))
        self.validation = float(trainer.test(split="val"))
        self.split, self.value, self._outputs = kept

    def probabilities(self) -> Tensor | None:
        """Return the probabilities (N, C), None if nothing was tested."""
        if not self._outputs:
            return None
        scores = torch.cat([scores for scores, _ in self._outputs])
        sums = scores.sum(dim=1)
        is_sum_1 = torch.allclose(sums, torch.ones_like(sums), atol=1e-3)
        if (scores >= 0).all() and is_sum_1:
            return scores
        return scores.softmax(dim=1)

    def labels(self) -> Tensor:
        """Return the labels (N,)."""
        return torch.cat([labels for _, labels in self._outputs])


def dataset_of(trainer: Any) -> Any:
    """Return the data set of a trainer, None if it keeps none."""
    return getattr(getattr(trainer, "dm", None), "dataset", None)


def write(trainer: Any, cfg: CfgNode, tested: LastTest) -> list[dict]:
    """Write predictions/, results/ and results.json; return its records. cfg: the
    configuration of the run, with its own seed and shots.
    """
    counts = count_parameters(trainer)
    records: list[dict] = []
    complete = []
    for task, items, found in _by_task(trainer, cfg, tested):
        targets, judged = torch.from_numpy(task.targets(items)), {}
        if found is not None:
            if task.metric != "accuracy":
                log.info("%s is scored by %s, not by accuracy", task.name, task.metric)
            score = results.score(task, targets, found)
            judged = results.judged(task, targets, found, score)
            if tested.split == "test" and len(items) == len(task.test):
                complete.append((task, targets, found))
        elif tested.value is not None and task.metric == "accuracy":
            judged = {"score": round(float(tested.value), 6)}
        split = tested.split if judged else "test"
        record = results.begin_record(cfg, task, judged, split)
        record["backbone"] = results.backbone_name(cfg)
        sizes = [len(images) for images in (task.train_x, task.val, task.test)]
        origin = results.origin(trainer, task, sizes, counts, tested.validation)
        records.append(record | origin)
    results.write_files(cfg, complete, records, counts, {})
    return records


def _by_task(trainer: Any, cfg: CfgNode, tested: LastTest):
    """Yield each task, its tested images, and their probabilities (N, C), None if not
    each image was tested in the order of the data set.
    """
    dataset = dataset_of(trainer)
    if dataset is None:
        return
    found = tested.probabilities()
    whole = as_task(dataset, task_name(cfg.DATASET.NAME))
    items = _items(whole, tested.split)
    if found is not None:
        shape, labels = (len(items), whole.num_classes), tested.labels().tolist()
        if found.shape != shape or labels != [item.label for item in items]:
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


def _items(task: Task, split: str) -> list:
    return task.val if split == "val" else task.test


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
