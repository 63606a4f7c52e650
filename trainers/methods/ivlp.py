"""IVLP: independent deep prompts of both towers (Khattak et al. 2023); also MIVLP."""

from torch import Tensor
from yacs.config import CfgNode

from prompting.deep import IVLPPrompt
from prompting.tokens import plain_name, words_to_context
from trainers.base import PromptTrainer, at_least_one, register_with_multitask_form
from trainers.engine.context import PromptSetup
from trainers.engine.settings import MAX_VECTORS

from .vpt import require_image_tower


def initial_words(
    setup: PromptSetup, words: str, n_ctx: int
) -> tuple[Tensor | None, str]:
    """Return the embeddings (n_ctx, width) of the first tokens of CTX_INIT, and the
    words that remain; none for more vectors than tokens, as the official code does.
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


def build_ivlp_prompt(setup: PromptSetup, key: str, node: CfgNode) -> IVLPPrompt:
    """Return the prompt of a node with the keys of TRAINER.IVLP."""
    shape = setup.shape
    check_depth(f"{key}.PROMPT_DEPTH_TEXT", node.PROMPT_DEPTH_TEXT, shape.text_layers)
    if node.PROMPT_DEPTH_VISION:
        require_image_tower(setup)
        depth = node.PROMPT_DEPTH_VISION
        check_depth(f"{key}.PROMPT_DEPTH_VISION", depth, shape.image_layers, least=0)
    for name in ("N_CTX_TEXT", "N_CTX_VISION"):
        at_least_one(f"{key}.{name}", node[name])
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


@register_with_multitask_form
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
        return build_ivlp_prompt(setup, "TRAINER.IVLP", setup.cfg.TRAINER.IVLP)
