"""A trainer in the shape of MaPLe's: prompts in both towers, its own keys, and the
whole CLIP as the registered model.
"""

import torch
from dassl.engine import TRAINER_REGISTRY, TrainerX
from dassl.metrics import compute_accuracy
from dassl.optim import build_lr_scheduler, build_optimizer
from torch import nn
from torch.nn import functional as F
from trainers.others_coop import TextEncoder, _tokenizer, load_clip_to_cpu


class MultiModalPromptLearner(nn.Module):
    def __init__(self, cfg, classnames, clip_model):
        super().__init__()
        assert cfg.TRAINER.MAPLE.PROMPT_DEPTH >= 1, "the minimum prompt depth is 1"
        n_ctx, width = cfg.TRAINER.MAPLE.N_CTX, clip_model.ln_final.weight.shape[0]
        length = clip_model.positional_embedding.shape[0]
        text = cfg.TRAINER.MAPLE.CTX_INIT
        tokens = _tokenizer(
            [f"{text} {name.replace('_', ' ')}." for name in classnames],
            context_length=length,
        )
        with torch.no_grad():
            embedding = clip_model.token_embedding(tokens)
        self.ctx = nn.Parameter(embedding[0, 1 : 1 + n_ctx].clone())
        self.proj = nn.Linear(width, clip_model.visual.conv1.out_channels)
        self.register_buffer("token_prefix", embedding[:, :1])
        self.register_buffer("token_suffix", embedding[:, 1 + n_ctx :])
        self.tokenized_prompts = tokens

    def forward(self):
        ctx = self.ctx.unsqueeze(0).expand(len(self.token_prefix), -1, -1)
        return torch.cat([self.token_prefix, ctx, self.token_suffix], dim=1), self.proj(
            self.ctx
        )


class ImageEncoder(nn.Module):
    def __init__(self, visual):
        super().__init__()
        self.visual = visual

    def forward(self, x, shared_ctx):
        visual = self.visual
        x = visual.conv1(x).flatten(2).permute(0, 2, 1)
        x = (
            torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], dim=1)
            + visual.positional_embedding
        )
        x = torch.cat([visual.ln_pre(x), shared_ctx.expand(len(x), -1, -1)], dim=1)
        return visual.ln_post(visual.transformer(x)[:, 0]) @ visual.proj


class CustomCLIP(nn.Module):
    def __init__(self, cfg, classnames, clip_model):
        super().__init__()
        self.prompt_learner = MultiModalPromptLearner(cfg, classnames, clip_model)
        self.image_encoder = ImageEncoder(clip_model.visual)
        self.text_encoder = TextEncoder(clip_model)
        self.logit_scale = clip_model.logit_scale

    def forward(self, image, label=None):
        prompts, shared_ctx = self.prompt_learner()
        text = F.normalize(
            self.text_encoder(prompts, self.prompt_learner.tokenized_prompts), dim=-1
        )
        logits = (
            self.logit_scale.exp()
            * F.normalize(self.image_encoder(image, shared_ctx), dim=-1)
            @ text.t()
        )
        return (
            F.cross_entropy(logits, label) if self.prompt_learner.training else logits
        )


@TRAINER_REGISTRY.register()
class OthersMaPLe(TrainerX):
    def check_cfg(self, cfg):
        assert cfg.TRAINER.MAPLE.PREC in ["fp16", "fp32", "amp"]

    def build_model(self):
        cfg = self.cfg
        self.model = CustomCLIP(cfg, self.dm.dataset.classnames, load_clip_to_cpu(cfg))
        for name, param in self.model.named_parameters():
            param.requires_grad_("prompt_learner" in name)
        enabled = {
            name for name, param in self.model.named_parameters() if param.requires_grad
        }
        print(f"Parameters to be updated: {enabled}")
        self.model.to(self.device)
        self.optim = build_optimizer(self.model, cfg.OPTIM)
        self.sched = build_lr_scheduler(self.optim, cfg.OPTIM)
        self.register_model(
            "MultiModalPromptLearner", self.model, self.optim, self.sched
        )

    def forward_backward(self, batch):
        image, label = self.parse_batch_train(batch)
        loss = self.model(image, label)
        self.model_backward_and_update(loss)
        if (self.batch_idx + 1) == self.num_batches:
            self.update_lr()
        with torch.no_grad():
            self.set_model_mode("eval")
            accuracy = compute_accuracy(self.model(image), label)[0].item()
            self.set_model_mode("train")
        return {"loss": loss.item(), "acc": accuracy}

    def parse_batch_train(self, batch):
        return batch["img"].to(self.device), batch["label"].to(self.device)
