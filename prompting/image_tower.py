"""The forward pass of a vision transformer with prompt tokens. A tower is an open_clip
`VisionTransformer` or a timm trunk in open_clip's `TimmModel`; both state the same
facts, and `encode_prompted_images` asks for nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from prompting.blocks import are_standard, attention_output_and_mlp, qkv

if TYPE_CHECKING:
    from open_clip.timm_model import TimmModel
    from open_clip.transformer import ResidualAttentionBlock


class ClipTower:
    """The facts of an open_clip `VisionTransformer`. unsupported_reason: why it takes
    no prompt tokens; "" if it does, and only then the others are defined. norm_first:
    the norm before the first block. patch_size: in pixels. prefix_tokens: the number of
    class and register tokens before the patches. recomputes: its blocks run under
    activation checkpointing.
    """

    prefix_tokens: int = 1

    def __init__(self, visual: nn.Module) -> None:
        from open_clip.transformer import VisionTransformer

        self.visual: Any = visual
        self.unsupported_reason = ""
        if not isinstance(visual, VisionTransformer):
            self.unsupported_reason = f"this image tower is a {type(visual).__name__}"
        elif visual.attn_pool is not None or visual.pool_type != "tok":
            self.unsupported_reason = (
                "this VisionTransformer does not read its result from the class token"
            )
        else:
            self.norm_first: nn.Module = visual.ln_pre
            self.width: int = visual.conv1.out_channels
            self.layers = len(visual.transformer.resblocks)
            self.patch_size: int = visual.conv1.kernel_size[0]
            self.recomputes: bool = visual.transformer.grad_checkpointing

    def embed(self, images: Tensor) -> Tensor:
        """Return the input of the first block (B, prefix_tokens + patches, width)."""
        visual = self.visual
        position = visual.positional_embedding
        patches = visual.conv1(images).flatten(2).transpose(1, 2)
        patches = visual.ln_pre(patches + position[1:])
        cls = visual.ln_pre(visual.class_embedding + position[0])
        cls = cls.to(patches.dtype).expand(images.shape[0], 1, -1)
        return torch.cat([cls, patches], dim=1)

    def blocks(self, n_ctx: int) -> list[Callable[[Tensor], Tensor]]:
        """Return the blocks for sequences with n_ctx tokens after the prefix."""
        blocks = self.visual.transformer.resblocks
        if not are_standard(blocks):
            return list(blocks)
        *others, last = blocks
        run = [partial(_run_block, block) for block in others]
        return [*run, partial(_run_block, last, class_token_only=True)]

    def pool(self, x: Tensor) -> Tensor:
        """Return features (B, d) from the last block's output."""
        x = self.visual.ln_post(x[:, 0])
        if self.visual.proj is None:
            return x
        return x @ self.visual.proj


class TimmTower:
    """The facts of timm's vision transformers in open_clip's `TimmModel`, as those of
    `ClipTower`: SigLIP's (no class token, pooling by attention), EVA's and PE's (rotary
    positions), and plain ones.
    """

    def __init__(self, visual: TimmModel) -> None:
        from timm.models.eva import Eva
        from timm.models.vision_transformer import VisionTransformer

        trunk = visual.trunk
        self.visual, self.trunk = visual, trunk
        self.unsupported_reason = ""
        self._rotation: Tensor | None = None
        # a subclass may compute something else
        if type(trunk) not in (VisionTransformer, Eva):
            self.unsupported_reason = (
                f"this image tower is timm's {type(trunk).__name__}"
            )
        elif getattr(trunk, "rope_mixed", False):
            self.unsupported_reason = "this image tower of timm has rotary positions of its own in every block"
        elif trunk.attn_pool is None and trunk.global_pool != "token":
            self.unsupported_reason = "this image tower of timm reads its result neither from a class token nor by attention"
        else:
            self.norm_first: nn.Module = trunk.norm_pre
            self.width: int = trunk.embed_dim
            self.layers = len(trunk.blocks)
            self.patch_size: int = trunk.patch_embed.feat_ratio()
            self.prefix_tokens: int = trunk.num_prefix_tokens
            self.recomputes: bool = trunk.grad_checkpointing

    def embed(self, images: Tensor) -> Tensor:
        trunk = self.trunk
        x = trunk._pos_embed(trunk.patch_embed(images))
        if isinstance(x, tuple):
            x, self._rotation = x
        return trunk.norm_pre(x)

    def blocks(self, n_ctx: int) -> list[Callable[[Tensor], Tensor]]:
        """Return the blocks; rotary positions leave the n_ctx tokens as they are."""
        if self._rotation is None:
            return list(self.trunk.blocks)
        sines, cosines = self._rotation.chunk(2, -1)
        before = (0, 0, n_ctx, 0)
        sines = pad(sines, before)
        cosines = pad(cosines, before, value=1.0)
        rotation = torch.cat([sines, cosines], dim=-1)
        return [partial(block, rope=rotation) for block in self.trunk.blocks]

    def pool(self, x: Tensor) -> Tensor:
        x = self.trunk.forward_head(self.trunk.norm(x))
        return self.visual.head(x)


def image_tower(visual: nn.Module) -> ClipTower | TimmTower:
    """Return the facts of an image tower."""
    from open_clip.timm_model import TimmModel

    if isinstance(visual, TimmModel):
        return TimmTower(visual)
    return ClipTower(visual)


def encode_prompted_images(
    visual: Any, images: Tensor, tokens: Tensor, before_norm: bool = False
) -> Tensor:
    """Return image features (B, d), not normalised, of images (B, 3, H, W) with prompt
    tokens (layers, n_ctx, width): [c, v_1 .. v_n, patches] after the norm before the
    first block, or before it if `before_norm`. Before its block each further set
    replaces the previous one (paper, eq. 3); behind the last the blocks see the
    outputs, as does pooling by attention. Honours open_clip's `set_grad_checkpointing`.
    Raises ValueError for images or layers that the tower does not take.
    """
    expected = tuple(visual.image_size)
    if tuple(images.shape[-2:]) != expected:
        raise ValueError(
            f"images of {tuple(images.shape[-2:])} pixels; this image tower takes {expected}"
        )
    tower = image_tower(visual)
    if not 1 <= len(tokens) <= tower.layers:
        raise ValueError(f"prompts for {len(tokens)} layers; there are {tower.layers}")
    n_ctx = tokens.shape[1]
    start = tower.prefix_tokens
    with torch.no_grad():
        x = tower.embed(images)
    if before_norm:
        first = tower.norm_first(tokens[:1])
        tokens = torch.cat([first, tokens[1:]])
    tokens = tokens.to(x.dtype).unsqueeze(1)
    tokens = tokens.expand(-1, images.shape[0], -1, -1)
    x = torch.cat([x[:, :start], tokens[0], x[:, start:]], dim=1)
    recompute = tower.recomputes and torch.is_grad_enabled()
    for i, block in enumerate(tower.blocks(n_ctx)):
        if 0 < i < len(tokens):
            prefix, patches = x[:, :start], x[:, start + n_ctx :]
            x = torch.cat([prefix, tokens[i], patches], dim=1)
        if recompute:
            x = checkpoint(block, x, use_reentrant=False)
        else:
            x = block(x)
    return tower.pool(x)


def _run_block(
    block: ResidualAttentionBlock, x: Tensor, class_token_only: bool = False
) -> Tensor:
    """Return the block's output (B, L, width), or only (B, 1, width), which is read."""
    if class_token_only:
        class_token = x[:, :1]
        q, k, v = qkv(block, x[:, :1], x)
        x = class_token
    else:
        q, k, v = qkv(block, x)
    return attention_output_and_mlp(block, x, scaled_dot_product_attention(q, k, v))
