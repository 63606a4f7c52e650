"""The forward pass of CLIP's text tower over sequences that hold context vectors."""

import torch
import torch.nn.functional as F
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from prompting.prompts import full_precision
from prompting.tokens import TokenBatch


def check_text_tower(clip: nn.Module) -> None:
    """Raise ValueError unless the text tower is causal and reads its result at the end token, as CLIP's does."""
    if clip.attn_mask is None:
        raise ValueError("this text tower has no causal mask; prompts need CLIP's causal text tower")
    if clip.text_pool_type not in ("argmax", "eos"):
        raise ValueError(f"this text tower pools by {clip.text_pool_type!r}; prompts need the end token (argmax, eos)")


def encode_tokens(clip: nn.Module, batch: TokenBatch, ctx: Tensor | None = None, share_prefix: bool = True) -> Tensor:
    """Text features (B, d), not normalised.

    ctx: (n_ctx, width) for all sequences or (B, n_ctx, width), put into the slots of `batch`.
    share_prefix: compute what precedes the name once for all sequences where it is the same. Exact, as attention is
    causal.
    """
    x = _embed(clip, batch, ctx)
    blocks = clip.transformer.resblocks
    if all(type(block) is ResidualAttentionBlock for block in blocks):
        shared = share_prefix and batch.prefix > 1 and len(x) > 1 and ctx is not None and ctx.dim() == 2
        x = _run(blocks, x, batch.ends, batch.prefix if shared else 0)
    else:
        length = x.shape[1]
        x = clip.transformer(x, attn_mask=clip.attn_mask[:length, :length])
        x = x[torch.arange(len(x), device=x.device), batch.ends]
    x = clip.ln_final(x)
    if isinstance(clip.text_projection, nn.Linear):
        return clip.text_projection(x)
    return x if clip.text_projection is None else x @ clip.text_projection


def _embed(clip: nn.Module, batch: TokenBatch, ctx: Tensor | None) -> Tensor:
    """Token embeddings with the contexts in their slots, plus positions: (B, L, width), float32 where weights are."""
    with full_precision(batch.ids):
        with torch.no_grad():
            x = clip.token_embedding(batch.ids)
            if batch.slots is not None:
                x = x * (1.0 - batch.slots.sum(-1, keepdim=True))
            x = x + clip.positional_embedding[: x.shape[1]]
        if ctx is not None:
            x = x + (batch.slots.to(ctx.dtype) @ ctx).to(x.dtype)
    return x


def _run(blocks: nn.ModuleList, x: Tensor, ends: Tensor, prefix: int) -> Tensor:
    """The blocks' output at `ends` (B,), as (B, width), for embedded sequences x (B, L, width).

    The first `prefix` places are the same in all rows and go through the blocks once. The last block computes
    `ends` only.
    """
    head, x = x[:1, :prefix], x[:, prefix:]
    rows, length, ends = torch.arange(len(x), device=x.device), x.shape[1], ends - prefix
    visible = torch.ones(length, prefix + length, dtype=torch.bool, device=x.device).tril(prefix)
    for i, block in enumerate(blocks):
        q, k, v = _project(block, x)
        if prefix:
            q_head, k_head, v_head = _project(block, head)
            k = torch.cat([k_head.expand(len(k), -1, -1, -1), k], dim=2)
            v = torch.cat([v_head.expand(len(v), -1, -1, -1), v], dim=2)
        if i == len(blocks) - 1:
            q, x, visible = q[rows, :, ends].unsqueeze(2), x[rows, ends].unsqueeze(1), visible[ends, None, None]
        elif prefix:
            head = _finish(block, head, F.scaled_dot_product_attention(q_head, k_head, v_head, is_causal=True))
        x = _finish(block, x, F.scaled_dot_product_attention(q, k, v, attn_mask=visible))
    return x[:, 0]


def _project(block: ResidualAttentionBlock, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values, each (B, heads, L, width / heads)."""
    attention = block.attn
    packed = F.linear(block.ln_1(x), attention.in_proj_weight, attention.in_proj_bias)
    packed = packed.unflatten(-1, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    return packed[0], packed[1], packed[2]


def _finish(block: ResidualAttentionBlock, x: Tensor, attended: Tensor) -> Tensor:
    """The block's rest after attention: output map, residuals and MLP. attended: (B, heads, L, width / heads)."""
    x = x + block.ls_1(block.attn.out_proj(attended.transpose(1, 2).flatten(2)))
    return x + block.ls_2(block.mlp(block.ln_2(x)))
