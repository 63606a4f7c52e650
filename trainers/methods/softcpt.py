"""SoftCPT: text vectors made from the task's name (Ding et al. 2022); also MSoftCPT."""

from prompting.name_aware import SoftCPTPrompt
from trainers.base import PromptTrainer, register_with_multitask_form
from trainers.engine.context import PromptSetup
from trainers.engine.settings import MAX_VECTORS


@register_with_multitask_form
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
        node, shape = setup.cfg.TRAINER.SOFTCPT, setup.shape
        return SoftCPTPrompt(
            node.N_CTX,
            shape.text_width,
            shape.embed_dim,
            task_n_ctx=node.TASK_N_CTX,
            class_n_ctx=node.CLASS_N_CTX,
        )
