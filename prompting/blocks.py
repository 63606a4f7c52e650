"""The parts of a transformer block, so that towers can say what attends to what and which places are needed at all."""

import torch.nn.functional as F
from open_clip.transformer import QuickGELU, ResidualAttentionBlock
from torch import Tensor, nn


def are_plain(blocks: nn.ModuleList) -> bool:
    """Whether all are open_clip's standard blocks, whose parts are known here."""
    return all(type(block) is ResidualAttentionBlock for block in blocks)


def project(block: ResidualAttentionBlock, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of x (B, L, width) and keys and values of y (B, M, width), by default x; each (B, heads, L or M, width /
    heads)."""
    attention, width = block.attn, x.shape[-1]
    weight, bias, heads = attention.in_proj_weight, attention.in_proj_bias, attention.num_heads
    if y is None:
        return _split(F.linear(block.ln_1(x), weight, bias), 3, heads)
    (q,) = _split(F.linear(block.ln_1(x), weight[:width], bias[:width]), 1, heads)
    return q, *_split(F.linear(block.ln_1(y), weight[width:], bias[width:]), 2, heads)


def finish(block: ResidualAttentionBlock, x: Tensor, attended: Tensor) -> Tensor:
    """The block's rest after attention: output map, residuals and MLP. attended: (B, heads, L, width / heads)."""
    x = x + block.ls_1(block.attn.out_proj(attended.transpose(1, 2).flatten(2)))
    return x + block.ls_2(_mlp(block.mlp, block.ln_2(x)))


def _mlp(mlp: nn.Sequential, x: Tensor) -> Tensor:
    if type(mlp.gelu) is not QuickGELU:
        return mlp(x)
    # x * sigmoid(1.702 x) = silu(1.702 x) / 1.702: a third of the passes over memory, and one tensor kept for backward
    return mlp.c_proj(F.silu(mlp.c_fc(x).mul_(1.702)).div_(1.702))


def _split(packed: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """(B, L, parts * width) as `parts` tensors (B, heads, L, width / heads)."""
    return packed.unflatten(-1, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
