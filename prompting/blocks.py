"""The parts of a transformer block, so that towers can choose the queries, the keys and
the outputs that are computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from open_clip.transformer import ResidualAttentionBlock


def are_standard(blocks: nn.ModuleList) -> bool:
    """Return True if all are open_clip's standard blocks, whose parts are known here."""
    from open_clip.transformer import ResidualAttentionBlock

    return all(type(block) is ResidualAttentionBlock for block in blocks)


def qkv(
    block: ResidualAttentionBlock, x: Tensor, y: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor]:
    """Return queries of x (B, L, width), and keys and values of y (B, M, width), by
    default x; each is (B, heads, L or M, width / heads).
    """
    attention = block.attn
    width = x.shape[-1]
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    x = block.ln_1(x)
    if y is None:
        packed = F.linear(x, weight, bias)
        q, k, v = _split_heads(packed, 3, attention.num_heads)
        return q, k, v
    packed = F.linear(x, weight[:width], bias[:width])
    (q,) = _split_heads(packed, 1, attention.num_heads)
    packed = F.linear(block.ln_1(y), weight[width:], bias[width:])
    k, v = _split_heads(packed, 2, attention.num_heads)
    return q, k, v


def attention_output_and_mlp(
    block: ResidualAttentionBlock, x: Tensor, attended: Tensor
) -> Tensor:
    """Return the block's output after attention: output map, residuals and MLP.
    attended: (B, heads, L, width / heads).
    """
    from open_clip.transformer import QuickGELU

    joined = attended.transpose(1, 2).flatten(2)
    x = x + block.ls_1(block.attn.out_proj(joined))
    mlp: Any = block.mlp
    hidden = block.ln_2(x)
    if type(mlp.gelu) is not QuickGELU:
        return x + block.ls_2(mlp(hidden))
    # x * sigmoid(1.702 x) = silu(1.702 x) / 1.702: a third of the passes over memory,
    # and one tensor kept for backward
    scaled = mlp.c_fc(hidden).mul_(1.702)
    hidden = F.silu(scaled).div_(1.702)
    return x + block.ls_2(mlp.c_proj(hidden))


def _split_heads(packed: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Split (B, L, parts * width) into `parts` tensors (B, heads, L, width / heads)."""
    split = packed.unflatten(-1, (parts, heads, -1))
    return split.permute(2, 0, 3, 1, 4).unbind(0)
