"""ProGrad: CoOp with projected gradients (Zhu et al. 2023); also MProGrad."""

import torch
from torch import Tensor

from trainers import losses
from trainers.base import Batch, register_with_multitask_form
from trainers.engine import distributed

from .coop import CoOp


@register_with_multitask_form
class ProGrad(CoOp):
    """Learn a text prompt by the gradient of cross-entropy; that of each parameter is
    projected, with strength LAMBDA, if it is against that of distillation at T.
    """

    needs_anchor = True
    keys = {"TRAINER.PROGRAD.T": 1.0, "TRAINER.PROGRAD.LAMBDA": 1.0}
    ranges = {"TRAINER.PROGRAD.T": (1e-3, 1e9), "TRAINER.PROGRAD.LAMBDA": (0, 1e9)}
    defaults = {
        "TRAINER.MVLPT.COOP.N_CTX": 16,
        "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION": "end",
    }

    def loss(self, batch: Batch) -> Tensor:
        """Return cross-entropy with the terms of `weights`, and distillation; (2,)."""
        outputs = self.outputs(batch)
        general = losses.distillation(outputs, self.cfg.TRAINER.PROGRAD.T)
        return torch.stack([losses.total(outputs, self.weights), general])

    def compute_gradients(self, batch: Batch) -> Tensor:
        """Set the projected gradients of the prompt; return the cross-entropy ()."""
        # gradients are averaged below
        share_loss = getattr(self.share_loss, "module", self.share_loss)
        with torch.autocast(self.device.type, self.amp, enabled=self.amp is not None):
            values = share_loss(batch)
        loss, general = self.scaler.scale(values)
        parameters = [p for p in self.model.prompt.parameters() if p.requires_grad]
        strength = self.cfg.TRAINER.PROGRAD.LAMBDA
        gradients = losses.projected_gradients(
            loss, general, parameters, strength, distributed.mean
        )
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        return values[0]
