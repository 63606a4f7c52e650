"""MaPLe: deep text prompts and image prompts that are a map of them (Khattak et al.
2023), and MMaPLe, its multitask form.
"""

from dassl.engine import TRAINER_REGISTRY

from prompting.deep import MaPLePrompt
from trainers.base import PromptTrainer
from trainers.engine.context import PromptSetup
from trainers.engine.settings import MAX_VECTORS

from .ivlp import check_depth, initial_words, require_image_tower


@TRAINER_REGISTRY.register()
class MaPLe(PromptTrainer):
    """Learn text vectors in the first blocks, and a linear map a block to the image
    tower's.
    """

    keys = {
        "TRAINER.MAPLE.N_CTX": 2,
        "TRAINER.MAPLE.CTX_INIT": "a photo of a",
        "TRAINER.MAPLE.PROMPT_DEPTH": 9,
    }
    ranges = {"TRAINER.MAPLE.N_CTX": (0, MAX_VECTORS)}

    reads = ()

    @staticmethod
    def make_prompt(setup: PromptSetup) -> MaPLePrompt:
        """Return the prompt that TRAINER.MAPLE.* describes."""
        node, shape = setup.cfg.TRAINER.MAPLE, setup.shape
        require_image_tower(setup)
        if node.N_CTX < 1:
            raise ValueError(
                f"TRAINER.MAPLE.N_CTX is {node.N_CTX}; this trainer needs at least 1"
            )
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


@TRAINER_REGISTRY.register()
class MMaPLe(MaPLe):
    """MaPLe on batches of several tasks."""

    multitask = True
