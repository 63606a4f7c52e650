"""TCP: text vectors made from frozen class features (Yao et al. 2024); also MTCP."""

from yacs.config import CfgNode

from prompting.name_aware import TCPPrompt
from trainers.base import PromptTrainer, register_with_multitask_form
from trainers.engine.context import PromptSetup
from trainers.engine.settings import MAX_VECTORS

from .ivlp import initial_words


@register_with_multitask_form
class TCP(PromptTrainer):
    """Learn text vectors, and a map of frozen class features to the vectors that replace
    them, with cross-entropy + W (1 - mean cosine of learned and frozen class features).
    """

    keys = {
        "TRAINER.TCP.N_CTX": 4,
        "TRAINER.TCP.CTX_INIT": "",
        "TRAINER.TCP.BLOCK": 8,
        "TRAINER.TCP.W": 8.0,
    }
    ranges = {"TRAINER.TCP.N_CTX": (1, MAX_VECTORS), "TRAINER.TCP.W": (0, 1e9)}
    reads = ()

    @staticmethod
    def make_prompt(setup: PromptSetup) -> TCPPrompt:
        node, shape = setup.cfg.TRAINER.TCP, setup.shape
        if not 0 <= node.BLOCK < shape.text_layers:
            raise ValueError(
                f"TRAINER.TCP.BLOCK is {node.BLOCK}; the text tower has blocks 0 to "
                f"{shape.text_layers - 1}"
            )
        init, fixed_words = initial_words(setup, node.CTX_INIT, node.N_CTX)
        return TCPPrompt(
            node.N_CTX, shape.text_width, shape.embed_dim, node.BLOCK, init, fixed_words
        )

    @staticmethod
    def loss_weights(cfg: CfgNode) -> dict[str, float]:
        return {"text_cosine": cfg.TRAINER.TCP.W}
