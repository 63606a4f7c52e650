"""Both towers with vectors that are inserted behind the first token from some block on
(MMRL). The sequence grows by n_ctx vectors before the first block of `blocks`; before
the others the vectors of that block enter in their place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prompting.blocks import attention_output_and_mlp, qkv
from prompting.text_tower import project_text
from prompting.tokens import TokenBatch

if TYPE_CHECKING:
    from open_clip import CLIP
    from open_clip.transformer import VisionTransformer


class Insertion(NamedTuple):
    """How vectors enter, and which outputs are read.

    blocks: counted from 0, increasing. share: of the new vectors in a later block, the
        rest is the previous block's output for the old ones. projection: (image_width,
        embed_dim), of the mean vector; added to CLIP's own if `adds`. weight: of the
        class token's logits; those of the vectors have 1 - weight.
    """

    blocks: Sequence[int]
    share: float
    projection: Tensor
    adds: bool
    weight: float


def encode_inserted_text(
    clip: CLIP, batch: TokenBatch, vectors: Tensor, insertion: Insertion
) -> Tensor:
    """Return text features (B, d), not normalised, with vectors (blocks, n_ctx, width)."""
    with torch.no_grad():
        x = clip.token_embedding(batch.ids)
        x = x + clip.positional_embedding[: x.shape[1]]
    x = _run_blocks(clip.transformer.resblocks, x, vectors, insertion, causal=True)
    rows = torch.arange(len(x), device=x.device)
    return project_text(clip, x[rows, batch.ends + vectors.shape[1]])


def encode_inserted_images(
    visual: VisionTransformer, images: Tensor, vectors: Tensor, insertion: Insertion
) -> tuple[Tensor, Tensor]:
    """Return image features (B, d) of the class token and of the inserted vectors, not
    normalised, of images (B, 3, H, W).
    """
    with torch.no_grad():
        patches = visual.conv1(images).flatten(2).transpose(1, 2)
        cls = visual.class_embedding.to(patches.dtype).expand(patches.shape[0], 1, -1)
        x = torch.cat([cls, patches], dim=1) + visual.positional_embedding
        x = visual.ln_pre(x)
    x = _run_blocks(visual.transformer.resblocks, x, vectors, insertion, causal=False)
    x = visual.ln_post(x[:, : 1 + vectors.shape[1]])
    projection = insertion.projection
    if insertion.adds:
        projection = visual.proj + projection
    return x[:, 0] @ visual.proj, x[:, 1:].mean(1) @ projection


def _run_blocks(
    blocks: nn.ModuleList,
    x: Tensor,
    vectors: Tensor,
    insertion: Insertion,
    causal: bool,
) -> Tensor:
    """Return the last block's output (B, L + n_ctx, width) for tokens x (B, L, width)."""
    length = vectors.shape[1]
    numbers = {block: number for number, block in enumerate(insertion.blocks)}
    for i, block in enumerate(blocks):
        if i in numbers:
            entering = vectors[numbers[i]].to(x.dtype).expand(x.shape[0], -1, -1)
            rest = x[:, 1:]
            if numbers[i] > 0:
                old, rest = rest[:, :length], rest[:, length:]
                entering = insertion.share * entering + (1 - insertion.share) * old
            x = torch.cat([x[:, :1], entering, rest], dim=1)
        q, k, v = qkv(block, x)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        x = attention_output_and_mlp(block, x, attended)
    return x
