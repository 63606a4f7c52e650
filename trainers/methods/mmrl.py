"""MMRL: vectors of a shared space that enter the last blocks of both towers (Guo and Gu
2025), MMRL++, whose maps are shared up to a low rank, and their multitask forms.
"""

from yacs.config import CfgNode

from prompting.representation import MMRLPPPrompt, MMRLPrompt
from trainers.base import PromptTrainer, register_with_multitask_form
from trainers.engine.context import PromptSetup
from trainers.engine.settings import MAX_VECTORS, MAX_WIDTH

from .vpt import require_image_tower


def common_arguments(setup: PromptSetup, key: str, node: CfgNode) -> tuple:
    """Return the sizes, blocks from 0 and weight that a node gives a prompt."""
    require_image_tower(setup)
    shape, numbers = setup.shape, list(node.REP_LAYERS)
    layers = min(shape.text_layers, shape.image_layers)
    known = set(range(1, layers + 1))
    if not numbers or numbers != sorted(known & set(numbers)):
        raise ValueError(
            f"{key}.REP_LAYERS is {numbers}; the towers have layers 1 to {layers}, in "
            "increasing order"
        )
    blocks = [number - 1 for number in numbers]
    sizes = (shape.text_width, shape.image_width, shape.embed_dim)
    return (node.N_REP_TOKENS, node.REP_DIM, *sizes, blocks, float(node.ALPHA))


@register_with_multitask_form
class MMRL(PromptTrainer):
    """Learn representation vectors, with ALPHA CE of the class token + (1 - ALPHA) CE of
    the vectors + REG_WEIGHT (2 - cosines to the frozen image and class features).
    """

    keys = {
        "TRAINER.MMRL.N_REP_TOKENS": 5,
        "TRAINER.MMRL.REP_DIM": 512,
        "TRAINER.MMRL.REP_LAYERS": [6, 7, 8, 9, 10, 11, 12],
        "TRAINER.MMRL.ALPHA": 0.7,
        "TRAINER.MMRL.REG_WEIGHT": 1.0,
    }
    ranges = {
        "TRAINER.MMRL.N_REP_TOKENS": (1, MAX_VECTORS),
        "TRAINER.MMRL.REP_DIM": (1, MAX_WIDTH),
        "TRAINER.MMRL.ALPHA": (0, 1),
        "TRAINER.MMRL.REG_WEIGHT": (0, 1e9),
    }
    reads = ()

    @staticmethod
    def make_prompt(setup: PromptSetup) -> MMRLPrompt:
        return MMRLPrompt(
            *common_arguments(setup, "TRAINER.MMRL", setup.cfg.TRAINER.MMRL)
        )

    @staticmethod
    def loss_weights(cfg: CfgNode) -> dict[str, float]:
        weight = cfg.TRAINER.MMRL.REG_WEIGHT
        return {"image_cosine": weight, "text_cosine": weight}


@register_with_multitask_form
class MMRLPP(PromptTrainer):
    """Learn MMRL's vectors with maps shared up to a low rank (MMRL++); the vectors of a
    later block are BETA new and 1 - BETA of the block before.
    """

    keys = {
        "TRAINER.MMRLPP.N_REP_TOKENS": 5,
        "TRAINER.MMRLPP.REP_DIM": 512,
        "TRAINER.MMRLPP.REP_LAYERS": [6, 7, 8, 9, 10, 11, 12],
        "TRAINER.MMRLPP.ALPHA": 0.7,
        "TRAINER.MMRLPP.REG_WEIGHT": 1.0,
        "TRAINER.MMRLPP.BETA": 0.9,
        "TRAINER.MMRLPP.REP_RANK": 4,
        "TRAINER.MMRLPP.PROJ_RANK": 64,
    }
    ranges = {
        "TRAINER.MMRLPP.N_REP_TOKENS": (1, MAX_VECTORS),
        "TRAINER.MMRLPP.REP_DIM": (1, MAX_WIDTH),
        "TRAINER.MMRLPP.ALPHA": (0, 1),
        "TRAINER.MMRLPP.REG_WEIGHT": (0, 1e9),
        "TRAINER.MMRLPP.BETA": (0, 1),
        "TRAINER.MMRLPP.REP_RANK": (1, MAX_WIDTH),
        "TRAINER.MMRLPP.PROJ_RANK": (1, MAX_WIDTH),
    }
    reads = ()

    @staticmethod
    def make_prompt(setup: PromptSetup) -> MMRLPPPrompt:
        node = setup.cfg.TRAINER.MMRLPP
        arguments = common_arguments(setup, "TRAINER.MMRLPP", node)
        return MMRLPPPrompt(*arguments, float(node.BETA), node.REP_RANK, node.PROJ_RANK)

    @staticmethod
    def loss_weights(cfg: CfgNode) -> dict[str, float]:
        weight = cfg.TRAINER.MMRLPP.REG_WEIGHT
        return {"image_cosine": weight, "text_cosine": weight}
