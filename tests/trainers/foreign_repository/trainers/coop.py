"""A trainer called as CoOp's: a vector for each class, added to its text feature."""

import torch
from clip import clip
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.engine.trainer import SummaryWriter  # noqa: F401
from dassl.optim import build_lr_scheduler, build_optimizer
from dassl.optim.radam import RAdam  # noqa: F401
from torch import nn
from torch.nn import functional as F


def load_clip_to_cpu(cfg):
    return clip.load(cfg.MODEL.BACKBONE.NAME)


class PromptLearner(nn.Module):
    def __init__(self, classes, width):
        super().__init__()
        self.ctx = nn.Parameter(torch.empty(classes, width))
        nn.init.normal_(self.ctx, std=0.02)


class CustomCLIP(nn.Module):
    def __init__(self, classes, clip_model):
        super().__init__()
        self.image_encoder = clip_model.visual
        self.prompt_learner = PromptLearner(classes, clip_model.visual.output_dim)

    def forward(self, image):
        features = F.normalize(self.image_encoder(image), dim=-1)
        return 20 * features @ F.normalize(self.prompt_learner.ctx, dim=-1).t()


@TRAINER_REGISTRY.register()
class CoOp(TrainerX):
    def build_model(self):
        cfg = self.cfg
        print(f"words: {cfg.TRAINER.COOP.CTX_INIT!r}")
        clip_model = load_clip_to_cpu(cfg)
        self.model = CustomCLIP(len(self.dm.dataset.classnames), clip_model)
        self.model.image_encoder.requires_grad_(False)
        self.model.to(self.device)
        learner = self.model.prompt_learner
        self.optim = build_optimizer(learner, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model("prompt_learner", learner, self.optim, self.sched)

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        loss = F.cross_entropy(self.model(image), label)
        self.model_backward_and_update(loss)
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        return {"loss": loss.item()}

    def parse_batch_train(self, batch):
        return batch["img"].to(self.device), batch["label"].to(self.device)


@TRAINER_REGISTRY.register()
class OnGPU(CoOp):
    """Asks for a GPU and float16 in each form, whatever there is."""

    def build_model(self):
        super().build_model()
        self.model.cuda().half().to("cuda")
        self.offset = torch.zeros((), device="cuda:0")
        assert not isinstance(nn.Parameter(torch.ones(2)).cuda(), nn.Parameter)

    def parse_batch_train(self, batch):
        image = batch["img"].cuda(non_blocking=True).type(torch.float16)
        return image + self.offset, batch["label"].to(torch.device("cuda"))

    def parse_batch_test(self, batch):
        return self.parse_batch_train(batch)


@TRAINER_REGISTRY.register()
class NeedsGPU(CoOp):
    def build_model(self):
        super().build_model()
        torch.cuda.current_device()


@TRAINER_REGISTRY.register()
class Untested(CoOp):
    """Tests nothing after training, and loads a model with the configuration."""

    def after_train(self):
        print("Finish training")

    def load_model(self, directory, cfg, epoch=None):
        print(f"loading a model of {cfg.DATASET.NAME}")
        super().load_model(directory, epoch)


CUSTOM_TEMPLATES = {"OxfordPets": "a photo of a {}, a type of pet."}


@TRAINER_REGISTRY.register()
class Templates(CoOp):
    def build_model(self):
        self.template = CUSTOM_TEMPLATES[self.cfg.DATASET.NAME]
        super().build_model()
