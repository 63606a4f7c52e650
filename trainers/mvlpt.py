"""MVLPT: the reference's one trainer, whose method follows from its context lengths."""

from dassl.engine import TRAINER_REGISTRY

from .base import PromptTrainer
from .prompts import text_prompt, unified_prompt, visual_prompt


@TRAINER_REGISTRY.register()
class MVLPT(PromptTrainer):
    """TRAINER.MVLPT.COOP.N_CTX gives a text prompt, TRAINER.MVLPT.VPT.N_CTX a visual one, both a unified one."""

    joint = True

    def build_prompt(self):
        node = self.cfg.TRAINER.MVLPT
        builders = {(True, False): text_prompt, (False, True): visual_prompt, (True, True): unified_prompt}
        chosen = (node.COOP.N_CTX > 0 or bool(node.COOP.CTX_INIT), node.VPT.N_CTX > 0)
        if chosen not in builders:
            raise ValueError(
                "TRAINER.MVLPT.COOP.N_CTX and TRAINER.MVLPT.VPT.N_CTX are both 0: give one of them a length"
            )
        return builders[chosen](self)
