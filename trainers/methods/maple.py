"""MaPLe: text prompts mapped to image prompts (Khattak et al. 2023); also MMaPLe."""

from prompting.deep import MaPLePrompt
from trainers.base import PromptTrainer, at_least_one, register_with_multitask_form
from trainers.engine.context import PromptSetup
from trainers.engine.settings import MAX_VECTORS

from .ivlp import check_depth, initial_words
from .vpt import require_image_tower


@register_with_multitask_form
class MaPLe(PromptTrainer):
    """Learn text vectors in the first blocks, each mapped to the image tower's."""

    keys = {
        "TRAINER.MAPLE.N_CTX": 2,
        "TRAINER.MAPLE.CTX_INIT": "a photo of a",
        "TRAINER.MAPLE.PROMPT_DEPTH": 9,
    }
    ranges = {"TRAINER.MAPLE.N_CTX": (0, MAX_VECTORS)}
    reads = ()

    @staticmethod
    def make_prompt(setup: PromptSetup) -> MaPLePrompt:
        node, shape = setup.cfg.TRAINER.MAPLE, setup.shape
        require_image_tower(setup)
        at_least_one("TRAINER.MAPLE.N_CTX", node.N_CTX)
        layers = min(shape.text_layers, shape.image_layers)
        check_depth("TRAINER.MAPLE.PROMPT_DEPTH", node.PROMPT_DEPTH, layers)
        init, fixed_words = initial_words(setup, node.CTX_INIT, node.N_CTX)
        return MaPLePrompt(
            node.N_CTX,
            shape.text_width,
            shape.image_width,
            node.PROMPT_DEPTH,
            init,
            fixed_words,
        )
