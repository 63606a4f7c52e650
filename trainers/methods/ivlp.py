"""IVLP: independent deep text and image prompts (Khattak et al. 2023), and MIVLP, its
multitask form.
"""

from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from yacs.config import CfgNode

from prompting.deep import IVLPPrompt
from prompting.tokens import plain_name, words_to_context
from trainers.base import PromptTrainer
from trainers.engine.context import PromptSetup
from trainers.engine.settings import MAX_VECTORS


def initial_words(
    setup: PromptSetup, words: str, n_ctx: int
) -> tuple[Tensor | None, str]:
    """Return the embeddings (n_ctx, width) of the first tokens of CTX_INIT, and the
    words that remain before the class name.

    As the official code does, words are not used for more vectors than tokens.
    """
    if not words:
        return None, ""
    tokenizer = setup.backbone.tokenizer
    embeddings = words_to_context(setup.backbone.clip, tokenizer, plain_name(words))
    if n_ctx > len(embeddings):
        return None, ""
    remaining = tokenizer.encode(plain_name(words))[n_ctx:]
    return embeddings[:n_ctx], tokenizer.decode(remaining).strip() if remaining else ""


def check_depth(key: str, depth: int, layers: int, least: int = 1) -> None:
    """Raise ValueError naming the key if a tower of some layers has no such depth."""
    if not least <= depth <= layers:
        raise ValueError(
            f"{key} is {depth}; the tower has {layers} layers, so it is {least} to {layers}"
        )


def require_image_tower(setup: PromptSetup) -> None:
    """Raise ValueError if the image tower takes no prompts."""
    reason = setup.shape.unsupported_reason
    if reason:
        cfg = setup.cfg
        raise ValueError(
            f"{cfg.TRAINER.NAME} needs a vision transformer: {reason}; with {cfg.MODEL.BACKBONE.NAME} use CoOp"
        )


def build_ivlp_prompt(setup: PromptSetup, key: str, node: CfgNode) -> IVLPPrompt:
    """Return the prompt of a node with N_CTX_TEXT, N_CTX_VISION, CTX_INIT,
    PROMPT_DEPTH_TEXT and PROMPT_DEPTH_VISION.
    """
    shape = setup.shape
    check_depth(f"{key}.PROMPT_DEPTH_TEXT", node.PROMPT_DEPTH_TEXT, shape.text_layers)
    if node.PROMPT_DEPTH_VISION:
        require_image_tower(setup)
        check_depth(
            f"{key}.PROMPT_DEPTH_VISION",
            node.PROMPT_DEPTH_VISION,
            shape.image_layers,
            least=0,
        )
    for name in ("N_CTX_TEXT", "N_CTX_VISION"):
        if node[name] < 1:
            raise ValueError(
                f"{key}.{name} is {node[name]}; this trainer needs at least 1"
            )
    init, fixed_words = initial_words(setup, node.CTX_INIT, node.N_CTX_TEXT)
    return IVLPPrompt(
        node.N_CTX_TEXT,
        shape.text_width,
        node.PROMPT_DEPTH_TEXT,
        node.N_CTX_VISION,
        shape.image_width or 0,
        node.PROMPT_DEPTH_VISION,
        init,
        fixed_words,
    )


@TRAINER_REGISTRY.register()
class IVLP(PromptTrainer):
    """Learn independent vectors in the first blocks of both towers."""

    keys = {
        "TRAINER.IVLP.N_CTX_TEXT": 4,
        "TRAINER.IVLP.N_CTX_VISION": 4,
        "TRAINER.IVLP.CTX_INIT": "a photo of a",
        "TRAINER.IVLP.PROMPT_DEPTH_TEXT": 9,
        "TRAINER.IVLP.PROMPT_DEPTH_VISION": 9,
    }
    ranges = {
        "TRAINER.IVLP.N_CTX_TEXT": (0, MAX_VECTORS),
        "TRAINER.IVLP.N_CTX_VISION": (0, MAX_VECTORS),
    }

    reads = ()

    @staticmethod
    def make_prompt(setup: PromptSetup) -> IVLPPrompt:
        """Return the prompt that TRAINER.IVLP.* describes."""
        return build_ivlp_prompt(setup, "TRAINER.IVLP", setup.cfg.TRAINER.IVLP)


@TRAINER_REGISTRY.register()
class MIVLP(IVLP):
    """IVLP on batches of several tasks."""

    multitask = True
