"""The forward pass of CLIP's text tower over sequences that hold context vectors."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prompting.blocks import are_plain, finish, project
from prompting.prompts import full_precision
from prompting.tokens import TokenBatch

Prefix = list[tuple[Tensor, Tensor]]  # each block's keys and values (1, heads, P, width / heads) of the first P places


def check_text_tower(clip: nn.Module) -> None:
    """Raise ValueError unless the text tower is causal and reads its result at the end token, as CLIP's does."""
    if clip.attn_mask is None:
        raise ValueError("this text tower has no causal mask; prompts need CLIP's causal text tower")
    if clip.text_pool_type not in ("argmax", "eos"):
        raise ValueError(f"this text tower pools by {clip.text_pool_type!r}; prompts need the end token (argmax, eos)")


def encode_prefix(clip: nn.Module, batch: TokenBatch, ctx: Tensor) -> Prefix | None:
    """What all sequences with a shared context (n_ctx, width) have in common: the keys and values of the places before
    the name, which see nothing of the name as attention is causal. None where a block is not of the standard kind."""
    blocks = clip.transformer.resblocks
    if not are_plain(blocks):
        return None
    x, prefix = _embed(clip, batch.ids[:1, : batch.prefix], batch.slots[:1, : batch.prefix], ctx, 0), []
    for i, block in enumerate(blocks):
        q, k, v = project(block, x)
        prefix.append((k, v))
        if i < len(blocks) - 1:
            x = finish(block, x, F.scaled_dot_product_attention(q, k, v, is_causal=True))
    return prefix


def encode_tokens(
    clip: nn.Module, batch: TokenBatch, ctx: Tensor | None = None, prefix: Prefix | None = None
) -> Tensor:
    """Text features (B, d), not normalised.

    ctx: (n_ctx, width) for all sequences or (B, n_ctx, width), put into the slots of `batch`.
    prefix: what `encode_prefix` gives for these contexts; the places that it covers are not computed again. Exact.
    """
    start = 0 if prefix is None else batch.prefix
    slots = None if batch.slots is None else batch.slots[:, start:]
    x = _embed(clip, batch.ids[:, start:], slots, ctx, start)
    ends = batch.ends - start
    blocks = clip.transformer.resblocks
    if are_plain(blocks):
        x = _run(blocks, x, ends, prefix)
    else:
        length = x.shape[1]
        x = clip.transformer(x, attn_mask=clip.attn_mask[:length, :length])
        x = x[torch.arange(len(x), device=x.device), ends]
    x = clip.ln_final(x)
    if isinstance(clip.text_projection, nn.Linear):
        return clip.text_projection(x)
    return x if clip.text_projection is None else x @ clip.text_projection


def _embed(clip: nn.Module, ids: Tensor, slots: Tensor | None, ctx: Tensor | None, start: int) -> Tensor:
    """Embeddings (B, L, width) of places from `start`: tokens, contexts in their slots, and positions; float32 where
    weights are."""
    with full_precision(ids):
        with torch.no_grad():
            x = clip.token_embedding(ids)
            if slots is not None:
                x = x * (1.0 - slots.sum(-1, keepdim=True))
            x = x + clip.positional_embedding[start : start + x.shape[1]]
        if ctx is not None:
            x = x + (slots.to(ctx.dtype) @ ctx).to(x.dtype)
    return x


def _run(blocks: nn.ModuleList, x: Tensor, ends: Tensor, prefix: Prefix | None) -> Tensor:
    """The blocks' output at `ends` (B,), as (B, width), for embedded places x (B, L, width). The last block computes
    `ends` only."""
    rows, length = torch.arange(len(x), device=x.device), x.shape[1]
    hidden = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
    for i, block in enumerate(blocks):
        if i < len(blocks) - 1:
            q, k, v = project(block, x)
        else:
            last = x[rows, ends].unsqueeze(1)
            q, k, v = project(block, last, x)
            x, hidden = last, hidden[ends, None]
        if prefix is None:
            mask = ~hidden if hidden.dim() == 2 else ~hidden.unsqueeze(1)
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        else:
            attended = _attend(q, k, v, hidden, *prefix[i])
        x = finish(block, x, attended)
    return x[:, 0]


def _attend(q: Tensor, k: Tensor, v: Tensor, hidden: Tensor, first_k: Tensor, first_v: Tensor) -> Tensor:
    """Attention of q (B, heads, L, e) to the prefix (1, heads, P, e), which all see, and to k, v (B, heads, M, e) where
    not `hidden`; without copying the prefix for every sequence."""
    q, k, v = (
        (q * q.shape[-1] ** -0.5).transpose(0, 1).contiguous(),
        *(t.transpose(0, 1).contiguous() for t in (k, v)),
    )
    own = (q @ k.mT).masked_fill(hidden, float("-inf"))  # (heads, B, L, M), as all from here
    weights = torch.cat([_shared(q, first_k[0].mT), own], dim=-1).softmax(-1).to(v.dtype)
    places = first_k.shape[2]
    return (_shared(weights[..., :places], first_v[0]) + weights[..., places:] @ v).transpose(0, 1)


def _shared(x: Tensor, matrix: Tensor) -> Tensor:
    """x (heads, B, L, n) @ matrix (heads, n, m) as one product a head."""
    return (x.flatten(1, 2) @ matrix).unflatten(1, x.shape[1:3])
