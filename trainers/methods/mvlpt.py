"""MVLPT: the reference's one trainer, whose method follows from its context lengths."""

from dassl.engine import TRAINER_REGISTRY

from prompting.prompts import Prompt
from trainers.base import PromptTrainer

from .coop import build_text_prompt
from .upt import build_unified_prompt
from .vpt import build_visual_prompt


@TRAINER_REGISTRY.register()
class MVLPT(PromptTrainer):
    """TRAINER.MVLPT.COOP.N_CTX gives a text prompt, TRAINER.MVLPT.VPT.N_CTX a visual one, both a unified one."""

    joint = True

    def build_prompt(self) -> Prompt:
        node = self.cfg.TRAINER.MVLPT
        text = node.COOP.N_CTX > 0 or bool(node.COOP.CTX_INIT)
        visual = node.VPT.N_CTX > 0
        if text and visual:
            return build_unified_prompt(self)
        if text:
            return build_text_prompt(self)
        if visual:
            return build_visual_prompt(self)
        raise ValueError("TRAINER.MVLPT.COOP.N_CTX and TRAINER.MVLPT.VPT.N_CTX are both 0: give one of them a length")
