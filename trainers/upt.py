"""UPT: a text and a visual prompt that pass through one light Transformer (Zang et al. 2022; MVLPT paper, eq. 4)."""

from dassl.engine import TRAINER_REGISTRY

from .base import PromptTrainer
from .prompts import unified_prompt


@TRAINER_REGISTRY.register()
class UPT(PromptTrainer):
    """A unified prompt; TRAINER.MVLPT.PROJECT_METHOD chooses θ."""

    defaults = {"TRAINER.MVLPT.COOP.N_CTX": 4, "TRAINER.MVLPT.VPT.N_CTX": 4}

    def build_prompt(self):
        return unified_prompt(self)
