"""VPT: learned tokens among the image patches (Jia et al. 2022; MVLPT paper, eq. 3),
and MVPT, its multitask form.
"""

from prompting.prompts import VisualPrompt
from trainers.base import PromptTrainer, at_least_one, register_with_multitask_form
from trainers.engine.context import PromptSetup


def require_image_tower(setup: PromptSetup) -> None:
    """Raise ValueError if the image tower takes no prompts."""
    cfg, reason = setup.cfg, setup.shape.unsupported_reason
    if reason:
        raise ValueError(
            f"{cfg.TRAINER.NAME} needs a vision transformer: {reason}; with {cfg.MODEL.BACKBONE.NAME} use CoOp"
        )


def build_visual_prompt(setup: PromptSetup) -> VisualPrompt:
    """Return the prompt of TRAINER.MVLPT.VPT.*; ValueError without a transformer."""
    shape = setup.shape
    node = setup.cfg.TRAINER.MVLPT.VPT
    require_image_tower(setup)
    layers = shape.image_layers if node.DEEP else 1
    project = node.PROJECT if node.PROJECT > -1 else None
    n_ctx = at_least_one("TRAINER.MVLPT.VPT.N_CTX", node.N_CTX)
    return VisualPrompt(
        n_ctx, shape.image_width, layers, shape.patch_size, node.DROPOUT, project
    )


@register_with_multitask_form
class VPT(PromptTrainer):
    """Learn a visual prompt, deep unless TRAINER.MVLPT.VPT.DEEP is False. Class
    features are those of "a photo of a {}.".
    """

    defaults = {"TRAINER.MVLPT.VPT.N_CTX": 16}
    reads = ("TRAINER.MVLPT.VPT.",)
    make_prompt = staticmethod(build_visual_prompt)
