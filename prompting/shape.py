"""The sizes of a CLIP model that a prompt must match, and whether a prompt does."""

from dataclasses import dataclass

import torch
from open_clip.timm_model import TimmModel
from open_clip.transformer import VisionTransformer
from torch import nn

from prompting.prompts import Contexts, Prompt


@dataclass(frozen=True)
class ClipShape:
    """Sizes of an open_clip CLIP; those of the image tower's tokens are None where it cannot hold visual prompts.

    refusal says why it cannot ("" where it can).
    """

    embed_dim: int
    text_width: int
    context_length: int
    image_tower: str
    image_width: int | None
    image_layers: int | None
    patch_size: int | None
    refusal: str


def clip_shape(clip: nn.Module) -> ClipShape:
    """The sizes of an open_clip CLIP."""
    visual = clip.visual
    refusal = _refusal(visual)
    plain = not refusal
    return ClipShape(
        embed_dim=_embed_dim(clip),
        text_width=clip.ln_final.weight.shape[0],
        context_length=clip.positional_embedding.shape[0],
        image_tower=type(visual).__name__,
        image_width=visual.conv1.out_channels if plain else None,
        image_layers=len(visual.transformer.resblocks) if plain else None,
        patch_size=visual.conv1.kernel_size[0] if plain else None,
        refusal=refusal,
    )


def check_fits(prompt: Prompt, clip: nn.Module) -> Contexts:
    """The vectors of `prompt`, once it is known to enter `clip`.

    Raises ValueError when its widths or its number of layers differ, or when the image tower takes no visual prompt.
    """
    shape = clip_shape(clip)
    training = prompt.training
    prompt.eval()
    with torch.no_grad():
        text, visual = prompt.contexts()
    prompt.train(training)
    if text is not None:
        if text.shape[-1] != shape.text_width:
            raise ValueError(f"the text prompt is {text.shape[-1]} wide, the text tower {shape.text_width}")
        if text.shape[-2] > shape.context_length - 3:
            raise ValueError(
                f"n_ctx {text.shape[-2]} leaves no room for a class name in a context of {shape.context_length} tokens"
            )
    if visual is not None:
        if shape.refusal:
            raise ValueError(f"visual prompts need a vision transformer: {shape.refusal}; use a text prompt instead")
        if visual.shape[-1] != shape.image_width:
            raise ValueError(f"the visual prompt is {visual.shape[-1]} wide, the image tower {shape.image_width}")
        if visual.shape[0] not in (1, shape.image_layers):
            raise ValueError(
                f"the visual prompt has {visual.shape[0]} layers; the image tower takes {shape.image_layers} (deep) "
                "or 1 (shallow)"
            )
    return Contexts(text, visual)


def _refusal(visual: nn.Module) -> str:
    if isinstance(visual, TimmModel):
        return f"this image tower is timm's {type(visual.trunk).__name__}"
    if not isinstance(visual, VisionTransformer):
        return f"this image tower is a {type(visual).__name__}"
    if visual.attn_pool is not None or visual.pool_type != "tok":
        return "this VisionTransformer does not read its result from the class token"
    return ""


def _embed_dim(clip: nn.Module) -> int:
    projection = clip.text_projection
    if isinstance(projection, nn.Linear):
        return projection.out_features
    return clip.ln_final.weight.shape[0] if projection is None else projection.shape[1]
