"""VPT: learnt tokens among the image patches (Jia et al. 2022; MVLPT paper, eq. 3)."""

from dassl.engine import TRAINER_REGISTRY

from .base import PromptTrainer
from .prompts import visual_prompt


@TRAINER_REGISTRY.register()
class VPT(PromptTrainer):
    """A visual prompt, deep unless TRAINER.MVLPT.VPT.DEEP is False. Class features are those of "a photo of a {}."."""

    defaults = {"TRAINER.MVLPT.VPT.N_CTX": 16}

    def build_prompt(self):
        return visual_prompt(self)
