"""The facts of timm's vision transformers in open_clip's `TimmModel`: SigLIP's (no class
token, pooling by attention), EVA's and PE's (rotary positions), and plain ones.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from open_clip.timm_model import TimmModel


class TimmTower:
    """The facts of a timm trunk, as `prompting.image_tower.ImageTower` asks for them."""

    def __init__(self, visual: TimmModel) -> None:
        self.visual = visual
        self.trunk = visual.trunk
        self.unsupported_reason = _unsupported_reason(visual)
        self._rotation: Tensor | None = None
        if not self.unsupported_reason:
            self.width: int = self.trunk.embed_dim
            self.layers = len(self.trunk.blocks)
            self.patch_size: int = self.trunk.patch_embed.feat_ratio()
            self.prefix_tokens: int = self.trunk.num_prefix_tokens
            self.recomputes: bool = self.trunk.grad_checkpointing

    def embed(self, images: Tensor) -> Tensor:
        trunk = self.trunk
        x = trunk._pos_embed(trunk.patch_embed(images))
        if isinstance(x, tuple):
            x, self._rotation = x
        return trunk.norm_pre(x)

    def norm_first(self, tokens: Tensor) -> Tensor:
        return self.trunk.norm_pre(tokens)

    def blocks(self, n_ctx: int) -> list[Callable[[Tensor], Tensor]]:
        """Return the blocks; those with rotary positions leave the n_ctx tokens after
        the prefix as they are.
        """
        if self._rotation is None:
            return list(self.trunk.blocks)
        rotation = _with_unrotated(self._rotation, n_ctx)
        return [partial(block, rope=rotation) for block in self.trunk.blocks]

    def pool(self, x: Tensor) -> Tensor:
        x = self.trunk.forward_head(self.trunk.norm(x))
        return self.visual.head(x)


def _with_unrotated(rotation: Tensor, n_ctx: int) -> Tensor:
    """Return the sines and cosines (patches, 2 d) behind those of n_ctx tokens without a
    position: sines 0, cosines 1.
    """
    sines, cosines = rotation.chunk(2, -1)
    zeros = torch.zeros_like(sines[:1]).expand(n_ctx, -1)
    ones = torch.ones_like(cosines[:1]).expand(n_ctx, -1)
    sines = torch.cat([zeros, sines])
    cosines = torch.cat([ones, cosines])
    return torch.cat([sines, cosines], dim=-1)


def _unsupported_reason(visual: TimmModel) -> str:
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    trunk = visual.trunk
    # a subclass may compute something else
    if type(trunk) not in (VisionTransformer, Eva):
        return f"this image tower is timm's {type(trunk).__name__}"
    if getattr(trunk, "rope_mixed", False):
        return "this image tower of timm has rotary positions of its own in every block"
    if trunk.attn_pool is None and trunk.global_pool != "token":
        return "this image tower of timm reads its result neither from a class token nor by attention"
    return ""
