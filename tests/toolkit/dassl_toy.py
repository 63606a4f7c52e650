"""A toy dataset of generated images and a trainer written as a prompt-learning plugin
is.
"""

import os

import numpy as np
import torch
from dassl.config import get_cfg_default
from dassl.data.datasets import DATASET_REGISTRY, DatasetBase, Datum
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from PIL import Image
from torch import nn
from torch.nn import functional as F

CLASSES = ["red", "green", "blue"]
SPLITS = {"train": 10, "val": 4, "test": 6}  # images a class


def write_images(root):
    """Write noisy 10 x 8 (width x height) PNGs with one brighter channel a class, all
    in ``root``.
    """
    rng = np.random.default_rng(0)
    for split, count in SPLITS.items():
        for label, name in enumerate(CLASSES):
            for i in range(count):
                pixels = rng.integers(0, 200, (8, 10, 3))
                pixels[..., label] += 30
                Image.fromarray(pixels.astype(np.uint8)).save(
                    root / f"{split}_{name}_{i}.png"
                )


@DATASET_REGISTRY.register()
class ToyColours(DatasetBase):
    def __init__(self, cfg):
        def read(split):
            return [
                Datum(
                    os.path.join(cfg.DATASET.ROOT, f"{split}_{name}_{i}.png"),
                    label,
                    i % 2,
                    name,
                )
                for label, name in enumerate(CLASSES)
                for i in range(SPLITS[split])
            ]

        train = self.generate_fewshot_dataset(
            read("train"), num_shots=cfg.DATASET.NUM_SHOTS
        )
        super().__init__(train_x=train, val=read("val"), test=read("test"))


class ToyLearner(nn.Linear):
    def forward(self, features):
        return super().forward(F.dropout(features, 0.2, self.training))


class ToyModel(nn.Module):
    """A trainable classifier with dropout on frozen random features."""

    def __init__(self, num_classes):
        super().__init__()
        self.frozen = nn.Linear(3 * 8 * 8, 16)
        self.prompt_learner = ToyLearner(16, num_classes)

    def forward(self, image):
        return self.prompt_learner(torch.tanh(self.frozen(image.flatten(1))))


@TRAINER_REGISTRY.register()
class ToyTrainer(TrainerX):
    stop_after = None  # epochs, to interrupt a run

    def check_cfg(self, cfg):
        self.calls = ["check_cfg"]
        self.lrs = []

    def build_data_loader(self):
        self.calls.append("build_data_loader")
        super().build_data_loader()

    def build_model(self):
        self.calls.append("build_model")
        cfg = self.cfg
        self.model = ToyModel(len(self.dm.dataset.classnames))
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_("prompt_learner" in name)
        self.model.to(self.device)
        self.optim = build_optimizer(self.model, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model(
            "prompt_learner", self.model.prompt_learner, self.optim, self.sched
        )

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        if self.batch_idx == 0:
            self.lrs.append(self.get_current_lr())
        output = self.model(image)
        loss = F.cross_entropy(output, label)
        self.model_backward_and_update(loss)
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}

    def parse_batch_train(self, batch):
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def after_epoch(self):
        super().after_epoch()
        if self.stop_after == self.epoch + 1:
            raise KeyboardInterrupt


def toy_config(root, output_dir, **optim):
    """Return the configuration of a six-epoch toy run with warm-up and cosine."""
    cfg = get_cfg_default()
    cfg.merge_from_list(
        [
            "DATASET.ROOT", str(root), "DATASET.NAME", "ToyColours", "DATASET.NUM_SHOTS", 8,
            "OUTPUT_DIR", str(output_dir), "TRAINER.NAME", "ToyTrainer", "SEED", 1, "INPUT.SIZE", (8, 8),
            "INPUT.TRANSFORMS", ("random_resized_crop", "random_flip", "normalize", "cutout"), "INPUT.CUTOUT_LEN", 2,
            "DATALOADER.NUM_WORKERS", 0, "DATALOADER.TRAIN_X.BATCH_SIZE", 8, "OPTIM.NAME", "sgd", "OPTIM.LR", 0.05,
            "OPTIM.MAX_EPOCH", 6, "OPTIM.LR_SCHEDULER", "cosine", "OPTIM.WARMUP_EPOCH", 1,
            "OPTIM.WARMUP_TYPE", "constant", "TRAIN.PRINT_FREQ", 2, "TRAIN.CHECKPOINT_FREQ", 2,
        ]
    )  # fmt: skip
    cfg.OPTIM.update(optim)
    return cfg
