"""CoOp: learnt words around the class name (Zhou et al. 2022; MVLPT paper, eq. 2)."""

from dassl.engine import TRAINER_REGISTRY

from .base import PromptTrainer
from .prompts import text_prompt


@TRAINER_REGISTRY.register()
class CoOp(PromptTrainer):
    """A text prompt. The image tower is constant: its features are computed once."""

    defaults = {"TRAINER.MVLPT.COOP.N_CTX": 16}

    def build_prompt(self):
        return text_prompt(self)
