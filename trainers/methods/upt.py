"""UPT: a text and a visual prompt that pass through one light Transformer (Zang et al.
2022; MVLPT paper, eq. 4), and MUPT, its multitask form.
"""

from prompting.unified import UnifiedPrompt
from trainers.base import PromptTrainer, register_with_multitask_form
from trainers.engine.context import PromptSetup
from trainers.engine.settings import PROJECTIONS

from .coop import build_text_prompt
from .vpt import build_visual_prompt


def build_unified_prompt(setup: PromptSetup) -> UnifiedPrompt:
    """Return a text and a visual prompt, coupled by θ (TRAINER.MVLPT.PROJECT_*)."""
    node = setup.cfg.TRAINER.MVLPT
    text = build_text_prompt(setup)
    visual = build_visual_prompt(setup)
    theta = PROJECTIONS[node.PROJECT_METHOD]
    return UnifiedPrompt(
        text, visual, node.PROJECT_DIM, node.PROJECT_HEADS, node.PROJECT_LAYERS, theta
    )


@register_with_multitask_form
class UPT(PromptTrainer):
    """Learn a unified prompt; TRAINER.MVLPT.PROJECT_METHOD chooses θ."""

    defaults = {"TRAINER.MVLPT.COOP.N_CTX": 4, "TRAINER.MVLPT.VPT.N_CTX": 4}
    reads = ("TRAINER.MVLPT.COOP.", "TRAINER.MVLPT.VPT.", "TRAINER.MVLPT.PROJECT_")
    make_prompt = staticmethod(build_unified_prompt)
