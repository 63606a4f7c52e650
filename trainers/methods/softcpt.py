"""SoftCPT: text vectors that are made from the name of the task (Ding et al. 2022), and
MSoftCPT, which trains the map on several tasks.
"""

from dassl.engine import TRAINER_REGISTRY

from prompting.task_aware import SoftCPTPrompt
from trainers.base import PromptTrainer
from trainers.engine.context import PromptSetup
from trainers.engine.settings import MAX_VECTORS


@TRAINER_REGISTRY.register()
class SoftCPT(PromptTrainer):
    """Learn words before the task's name and a map of its feature to the vectors before
    the class names, with cross-entropy.
    """

    keys = {
        "TRAINER.SOFTCPT.N_CTX": 16,
        "TRAINER.SOFTCPT.TASK_N_CTX": 4,
        "TRAINER.SOFTCPT.CLASS_N_CTX": 0,
    }

    reads = ()
    ranges = {
        "TRAINER.SOFTCPT.N_CTX": (1, MAX_VECTORS),
        "TRAINER.SOFTCPT.TASK_N_CTX": (1, MAX_VECTORS),
        "TRAINER.SOFTCPT.CLASS_N_CTX": (0, MAX_VECTORS),
    }

    @staticmethod
    def make_prompt(setup: PromptSetup) -> SoftCPTPrompt:
        """Return the prompt that TRAINER.SOFTCPT.* describes."""
        node, shape = setup.cfg.TRAINER.SOFTCPT, setup.shape
        return SoftCPTPrompt(
            node.N_CTX,
            shape.text_width,
            shape.embed_dim,
            task_n_ctx=node.TASK_N_CTX,
            class_n_ctx=node.CLASS_N_CTX,
        )


@TRAINER_REGISTRY.register()
class MSoftCPT(SoftCPT):
    """SoftCPT on batches of several tasks."""

    multitask = True
