"""The sizes of a CLIP model that a prompt must match, and a check that it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from prompting.blocks import are_standard
from prompting.image_tower import image_tower
from prompting.inserted import Insertion
from prompting.prompts import Contexts, Prompt

if TYPE_CHECKING:
    from open_clip import CLIP


@dataclass(frozen=True)
class ClipShape:
    """Sizes of an open_clip CLIP; those of the image tower's tokens are None if it
    cannot hold visual prompts. unsupported_reason says why it cannot ("" if it can).
    """

    embed_dim: int
    text_width: int
    text_layers: int
    context_length: int
    image_tower: str
    image_width: int | None
    image_layers: int | None
    patch_size: int | None
    unsupported_reason: str


def clip_shape(clip: CLIP) -> ClipShape:
    """Return the sizes of an open_clip CLIP."""
    tower = image_tower(clip.visual)
    projection = clip.text_projection
    embed_dim = clip.ln_final.weight.shape[0]
    if isinstance(projection, nn.Linear):
        embed_dim = projection.out_features
    elif projection is not None:
        embed_dim = projection.shape[1]
    return ClipShape(
        embed_dim=embed_dim,
        text_width=clip.ln_final.weight.shape[0],
        text_layers=len(clip.transformer.resblocks),
        context_length=clip.positional_embedding.shape[0],
        image_tower=type(clip.visual).__name__,
        image_width=getattr(tower, "width", None),
        image_layers=getattr(tower, "layers", None),
        patch_size=getattr(tower, "patch_size", None),
        unsupported_reason=tower.unsupported_reason,
    )


def check_fits(prompt: Prompt, clip: CLIP) -> Contexts:
    """Return the vectors of `prompt` after checking that it can enter `clip`. Raises
    ValueError when its widths or its number of layers differ, or when the image tower
    takes no visual prompt.
    """
    training = prompt.training
    with torch.no_grad():
        contexts = prompt.eval().contexts()
    prompt.train(training)
    text, visual, offsets = contexts.text, contexts.visual, contexts.class_offsets
    shape = clip_shape(clip)
    dim = shape.embed_dim
    if offsets is not None:
        _check_width("the prompt's class offsets are", offsets, "the features", dim)
    if text is not None:
        text = text.unsqueeze(0) if text.dim() == 2 else text
        _check_text(text, shape)
        replaces = contexts.class_map is not None or contexts.insertion is not None
        deep = replaces or len(text) > 1
        if deep and not are_standard(clip.transformer.resblocks):
            raise ValueError("deep text prompts need open_clip's standard text blocks")
    _check_maps(contexts, shape)
    if visual is not None:
        _check_visual(visual, shape)
    if contexts.insertion is not None:
        _check_insertion(contexts.insertion, shape)
    return contexts._replace(text=text)


def _check_width(subject: str, vectors: Tensor, other: str, expected: int) -> None:
    width = vectors.shape[-1]
    if width != expected:
        raise ValueError(f"{subject} {width} wide, {other} {expected}")


def _check_text(text: Tensor, shape: ClipShape) -> None:
    layers, n_ctx = len(text), text.shape[-2]
    _check_width("the text prompt is", text, "the text tower", shape.text_width)
    if n_ctx > shape.context_length - 3:
        raise ValueError(
            f"n_ctx {n_ctx} leaves no room for a class name in a context of {shape.context_length} tokens"
        )
    if layers > shape.text_layers:
        raise ValueError(
            f"the text prompt has {layers} layers; the text tower has {shape.text_layers}"
        )


def _check_maps(contexts: Contexts, shape: ClipShape) -> None:
    if contexts.class_block >= shape.text_layers:
        raise ValueError(
            f"class vectors enter before block {contexts.class_block}; the text tower "
            f"has blocks 0 to {shape.text_layers - 1}"
        )
    for map_ in (contexts.class_map, contexts.text_map):
        dim = getattr(map_, "dim", shape.embed_dim)
        if dim != shape.embed_dim:
            raise ValueError(
                f"the prompt's map takes features {dim} wide, the backbone's are {shape.embed_dim}"
            )


def _check_insertion(insertion: Insertion, shape: ClipShape) -> None:
    layers = min(shape.text_layers, shape.image_layers or 0)
    if max(insertion.blocks) >= layers:
        raise ValueError(
            f"vectors enter before block {max(insertion.blocks)}; the towers have blocks "
            f"0 to {layers - 1}"
        )
    projection, dim = insertion.projection, shape.embed_dim
    _check_width("the prompt's features are", projection, "the backbone's", dim)


def _check_visual(visual: Tensor, shape: ClipShape) -> None:
    if shape.unsupported_reason:
        raise ValueError(
            f"visual prompts need a vision transformer: {shape.unsupported_reason}; use a text prompt instead"
        )
    width, layers = shape.image_width or 0, shape.image_layers or 0
    _check_width("the visual prompt is", visual, "the image tower", width)
    if len(visual) > layers:
        raise ValueError(
            f"the visual prompt has {len(visual)} layers; the image tower takes {layers} (deep) or fewer"
        )
