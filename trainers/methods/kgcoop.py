"""KgCoOp: CoOp near frozen class features (Yao et al. 2023); multitask: MKgCoOp."""

from yacs.config import CfgNode

from trainers.base import register_with_multitask_form

from .coop import CoOp


@register_with_multitask_form
class KgCoOp(CoOp):
    """Learn a text prompt by CE + W (1 - mean cosine to frozen class features)."""

    keys = {"TRAINER.KGCOOP.W": 8.0}
    ranges = {"TRAINER.KGCOOP.W": (0, 1e9)}
    defaults = {
        "TRAINER.MVLPT.COOP.N_CTX": 4,
        "TRAINER.MVLPT.COOP.CTX_INIT": "a photo of a",
        "TRAINER.MVLPT.COOP.CLASS_TOKEN_POSITION": "end",
    }

    @staticmethod
    def loss_weights(cfg: CfgNode) -> dict[str, float]:
        return {"text_cosine": cfg.TRAINER.KGCOOP.W}
