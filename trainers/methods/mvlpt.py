"""MVLPT: the reference's one trainer, whose method follows from its context lengths."""

from dassl.engine import TRAINER_REGISTRY

from prompting.prompts import Prompt
from trainers.base import PromptTrainer
from trainers.engine.context import PromptSetup

from .coop import build_text_prompt
from .upt import build_unified_prompt
from .vpt import build_visual_prompt


@TRAINER_REGISTRY.register()
class MVLPT(PromptTrainer):
    """Learn the prompt that the context lengths ask for, on one task or several."""

    multitask = True
    reads = ("TRAINER.MVLPT.",)

    @staticmethod
    def make_prompt(setup: PromptSetup) -> Prompt:
        """Return the text, visual or unified prompt of the lengths that are given."""
        node = setup.cfg.TRAINER.MVLPT
        text = node.COOP.N_CTX > 0 or bool(node.COOP.CTX_INIT)
        visual = node.VPT.N_CTX > 0
        if text and visual:
            return build_unified_prompt(setup)
        if text:
            return build_text_prompt(setup)
        if visual:
            return build_visual_prompt(setup)
        raise ValueError(
            "TRAINER.MVLPT.COOP.N_CTX and TRAINER.MVLPT.VPT.N_CTX are both 0: give one of them a length"
        )
