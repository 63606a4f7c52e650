"""From configuration to prompt modules: the only place that reads the prompts' keys."""

from __future__ import annotations

from prompting.prompts import TextPrompt, VisualPrompt
from prompting.tokens import plain_name, words_to_context
from prompting.unified import UnifiedPrompt

from .settings import PROJECTIONS


def text_prompt(trainer) -> TextPrompt:
    """TRAINER.MVLPT.COOP.*: a shared context, class-specific (CSC), or starting from words (CTX_INIT)."""
    node = trainer.cfg.TRAINER.MVLPT.COOP
    init, length = None, node.N_CTX
    if node.CTX_INIT:
        backbone = trainer.frozen.backbone
        init = words_to_context(backbone.clip, backbone.tokenizer, plain_name(node.CTX_INIT))
        length = len(init)
    classes = trainer.num_classes if node.CSC else None
    return TextPrompt(_length("COOP", length), trainer.shape.text_width, classes, node.CLASS_TOKEN_POSITION, init)


def visual_prompt(trainer) -> VisualPrompt:
    """TRAINER.MVLPT.VPT.*: deep or shallow, on a vision transformer."""
    node, shape = trainer.cfg.TRAINER.MVLPT.VPT, trainer.shape
    if shape.refusal:
        raise ValueError(
            f"{trainer.cfg.TRAINER.NAME} needs a vision transformer: {shape.refusal}; "
            f"with {trainer.cfg.MODEL.BACKBONE.NAME} use CoOp"
        )
    project = node.PROJECT if node.PROJECT > -1 else None
    return VisualPrompt(
        _length("VPT", node.N_CTX),
        shape.image_width,
        shape.image_layers if node.DEEP else 1,
        shape.patch_size,
        node.DROPOUT,
        project,
    )


def unified_prompt(trainer) -> UnifiedPrompt:
    """Both, coupled by θ (TRAINER.MVLPT.PROJECT_*)."""
    node = trainer.cfg.TRAINER.MVLPT
    return UnifiedPrompt(
        text_prompt(trainer),
        visual_prompt(trainer),
        node.PROJECT_DIM,
        node.PROJECT_HEADS,
        node.PROJECT_LAYERS,
        PROJECTIONS[node.PROJECT_METHOD],
    )


def _length(node: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"TRAINER.MVLPT.{node}.N_CTX is {value}; this trainer needs at least 1")
    return value
