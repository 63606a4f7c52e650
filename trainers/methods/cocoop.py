"""CoCoOp: a text context that moves with the image (Zhou et al. 2022). Written as
plugins for Dassl are: a `TrainerX` with its own model, on Dassl's loaders and
evaluator. One text pass is made for each image, so batches are small.
"""

from collections import OrderedDict
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from dassl.data import DataManager
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_optimizer
from dassl.utils import load_pretrained_weights
from PIL import Image
from torch import Tensor, nn

from prompting.backbones.backbone import Backbone, Preprocessing, differences
from prompting.checkpoints.foreign import checkpoint_path, read_checkpoint
from prompting.checkpoints.prompt_files import load_state
from prompting.model import PromptedCLIP
from prompting.prompts import Contexts, TextPrompt, full_precision
from prompting.shape import clip_shape
from prompting.tokens import plain_name, words_to_context
from toolkit.common.images import normalize, resize
from toolkit.common.schedules import build_lr_scheduler
from toolkit.common.structured import read_json, write_json
from toolkit.common.text import naming
from trainers.base import at_least_one
from trainers.features.builders import (
    configured_backbone,
    preprocessing_of,
    training_transform,
)


class PromptLearner(TextPrompt):
    """A shared context and a small net whose output, one vector an image, is added to
    all of its vectors. dim: width of image features. Names are CoCoOp's checkpoints'.
    """

    def __init__(
        self, n_ctx: int, width: int, dim: int, init: Tensor | None = None
    ) -> None:
        super().__init__(n_ctx, width, position="end", init=init)
        bottleneck = max(dim // 16, 1)
        layers = {
            "linear1": nn.Linear(dim, bottleneck),
            "relu": nn.ReLU(),
            "linear2": nn.Linear(bottleneck, width),
        }
        self.meta_net = nn.Sequential(OrderedDict(layers))

    def conditional(self, features: Tensor) -> Tensor:
        """Return contexts (B, n_ctx, width) for image features (B, dim) of unit length."""
        with full_precision(features):
            return self.ctx + self.meta_net(features.float()).unsqueeze(1)


class CustomCLIP(nn.Module):
    """A frozen CLIP whose class features depend on the image."""

    def __init__(
        self, backbone: Backbone, learner: PromptLearner, classnames: list[str]
    ) -> None:
        super().__init__()
        self.prompt_learner, self.classnames = learner, classnames
        self.clip = PromptedCLIP(backbone.clip, learner, backbone.tokenizer)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (B, C) of normalised images (B, 3, H, W)."""
        features = self.clip.encode_images(image)
        contexts = self.prompt_learner.conditional(features)
        rows = []
        for feature, context in zip(features, contexts, strict=True):
            classes = self.clip.encode_classes(
                self.classnames, contexts=Contexts(text=context)
            )
            rows.append(self.clip.logits(feature[None], classes))
        return torch.cat(rows)


def pixels(image: Image.Image, pre: Preprocessing, mode: str) -> Tensor:
    """Return a PIL image as normalised floats (3, S, S)."""
    resized = resize(image, pre.size, mode, pre.interpolation)
    return normalize(resized, pre.mean, pre.std)


RECORD = "record.json"  # beside checkpoints


@TRAINER_REGISTRY.register()
class CoCoOp(TrainerX):
    """Learn a context before the class name, and a net that moves it by the image."""

    reads = ("TRAINER.COCOOP.",)

    def check_cfg(self, cfg) -> None:
        node = cfg.TRAINER.COCOOP
        if node.PREC not in ("fp16", "fp32", "amp"):
            raise ValueError(
                f"TRAINER.COCOOP.PREC is {node.PREC!r}; it is one of fp16, fp32, amp"
            )
        if not node.CTX_INIT:
            at_least_one("TRAINER.COCOOP.N_CTX", node.N_CTX)

    def build_data_loader(self) -> None:
        from torchvision import transforms as T

        cfg = self.cfg
        self.backbone = configured_backbone(cfg)
        self.pre = preprocessing_of(cfg, self.backbone.preprocessing)
        self.mode = "crop" if cfg.DATASET.CENTER_CROP else "squash"
        plain = T.Lambda(partial(pixels, pre=self.pre, mode=self.mode))
        train = training_transform(cfg, self.backbone.preprocessing) or plain
        dm = self.dm = DataManager(cfg, custom_tfm_train=train, custom_tfm_test=plain)
        self.train_loader_x, self.train_loader_u = dm.train_loader_x, dm.train_loader_u
        self.val_loader, self.test_loader = dm.val_loader, dm.test_loader
        self.num_classes, self.lab2cname = dm.num_classes, dm.lab2cname
        self.num_source_domains = dm.num_source_domains

    def build_model(self) -> None:
        node, backbone = self.cfg.TRAINER.COCOOP, self.backbone
        shape, init = clip_shape(backbone.clip), None
        if node.CTX_INIT:
            init = words_to_context(
                backbone.clip, backbone.tokenizer, plain_name(node.CTX_INIT)
            ).cpu()
        n_ctx = node.N_CTX if init is None else len(init)
        learner = PromptLearner(n_ctx, shape.text_width, shape.embed_dim, init)
        if self.cfg.MODEL.INIT_WEIGHTS:
            load_pretrained_weights(learner, self.cfg.MODEL.INIT_WEIGHTS)
        names = list(self.dm.dataset.classnames)
        self.model = CustomCLIP(backbone, learner, names).to(self.device)
        self.optim = build_optimizer(learner, self.cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, self.cfg.OPTIM)
        # prompts stay float32
        self.amp = self.device.type == "cuda" and node.PREC != "fp32"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp)
        self.register_model("prompt_learner", learner, self.optim, self.sched)

    def forward_backward(self, batch: dict) -> dict[str, float]:
        image, label = self.parse_batch_train(batch)
        with torch.autocast(self.device.type, torch.float16, enabled=self.amp):
            output = self.model(image)
            loss = F.cross_entropy(output, label)
        self.model_zero_grad()
        self.model_backward(self.scaler.scale(loss))
        self.scaler.step(self.optim)
        self.scaler.update()
        if self.batch_idx + 1 == self.num_batches:
            self.update_lr()
        return {"loss": loss.item(), "acc": compute_accuracy(output, label)[0].item()}

    def model_inference(self, input: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.float16, enabled=self.amp):
            return self.model(input)

    def parse_batch_train(self, batch: dict) -> tuple[Tensor, Tensor]:
        return batch["img"].to(self.device), batch["label"].to(self.device)

    def record(self) -> dict:
        """Return the metadata for the use of its prompt: backbone and preprocessing."""
        node = self.cfg.MODEL.BACKBONE
        known = self.backbone.record(node.NAME, node.PRETRAINED)
        return known | {"preprocessing": self.pre.record(self.mode)}

    def save_model(self, epoch: int, directory: str, *args, **options) -> None:
        """Write a checkpoint, and `RECORD` beside it."""
        super().save_model(epoch, directory, *args, **options)
        write_json(Path(directory, "prompt_learner", RECORD), self.record())

    def load_model(self, directory: str, epoch: int | None = None) -> None:
        """Load a learner, strictly, from a run's folder, also CoCoOp's or the reference
        MVLPT's. Raise ValueError for another backbone or preprocessing.
        """
        if not directory:
            return
        path = checkpoint_path(directory, epoch)
        self._check_record(Path(path).with_name(RECORD))
        with naming(path):
            load_state(self.model.prompt_learner, read_checkpoint(path).state)

    def _check_record(self, file: Path) -> None:
        """Raise ValueError naming both values if a record contradicts this run."""
        if not file.is_file():
            return
        stored = read_json(file)
        if not isinstance(stored, dict):
            raise ValueError(f"{file}: expected an object, found {str(stored)[:40]}")
        self.backbone.check_record(stored, str(file))
        known = stored.get("preprocessing") or {}
        other = differences(known, self.pre.record(self.mode))
        if other:
            raise ValueError(
                f"{file}: its prompt was trained with another preprocessing: {other}"
            )
