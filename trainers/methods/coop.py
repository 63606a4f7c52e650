"""CoOp: learned words around the class name (Zhou et al. 2022; MVLPT paper, eq. 2), and
MCoOp, its multitask form.
"""

from prompting.prompts import TextPrompt
from prompting.tokens import plain_name, words_to_context
from trainers.base import PromptTrainer, at_least_one, register_with_multitask_form
from trainers.engine.context import PromptSetup


def build_text_prompt(setup: PromptSetup) -> TextPrompt:
    """Return the prompt of TRAINER.MVLPT.COOP.*: shared, CSC or from CTX_INIT."""
    node = setup.cfg.TRAINER.MVLPT.COOP
    init, length, classes = None, node.N_CTX, None
    if node.CTX_INIT:
        init = words_to_context(
            setup.backbone.clip, setup.backbone.tokenizer, plain_name(node.CTX_INIT)
        )
        length = len(init)
    if node.CSC:
        classes = setup.num_classes
    n_ctx = at_least_one("TRAINER.MVLPT.COOP.N_CTX", length)
    return TextPrompt(
        n_ctx, setup.shape.text_width, classes, node.CLASS_TOKEN_POSITION, init
    )


@register_with_multitask_form
class CoOp(PromptTrainer):
    """Learn a text prompt. The image tower is constant: its features are computed once."""

    defaults = {"TRAINER.MVLPT.COOP.N_CTX": 16}
    reads = ("TRAINER.MVLPT.COOP.",)
    make_prompt = staticmethod(build_text_prompt)
