"""The forward pass of CLIP's text tower over sequences that hold context vectors.
Contexts are (layers, n_ctx, width), shared by all sequences, or (layers, B, n_ctx,
width). The first layer enters with the tokens; each further one replaces its
predecessor before its block, without positional embeddings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from prompting.blocks import are_standard, attention_output_and_mlp, qkv
from prompting.prompts import full_precision
from prompting.tokens import TokenBatch

if TYPE_CHECKING:
    from open_clip import CLIP


# a block, and the vectors (B, n_ctx, width) that replace the contexts before it
ClassVectors = tuple[int, Tensor]
# each block's keys and values (1, heads, P, width / heads) of the first P tokens
Prefix = list[tuple[Tensor, Tensor]]


def encode_prefix(clip: CLIP, batch: TokenBatch, contexts: Tensor) -> Prefix | None:
    """Return the keys and values that all sequences with shared contexts (layers,
    n_ctx, width) have in common. These are the keys and values of the tokens before the
    name, which see nothing of the name as attention is causal. None if it is not, if
    nothing precedes the name, if contexts are class-specific, or if a block is not of
    the standard kind.
    """
    blocks = clip.transformer.resblocks
    if contexts.dim() == 4:
        return None
    if clip.attn_mask is None or not batch.prefix or not are_standard(blocks):
        return None
    ids = batch.ids[:1, : batch.prefix]
    slots = batch.slots[:1, : batch.prefix]
    x = _embed(clip, ids, slots, contexts, 0)
    prefix = []
    for i, block in enumerate(blocks):
        if 0 < i < len(contexts):
            x = _replace(x, slots, contexts[i])
        q, k, v = qkv(block, x)
        prefix.append((k, v))
        if i < len(blocks) - 1:
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = attention_output_and_mlp(block, x, attended)
    return prefix


def encode_tokens(
    clip: CLIP,
    batch: TokenBatch,
    contexts: Tensor | None = None,
    prefix: Prefix | None = None,
    class_vectors: ClassVectors | None = None,
) -> Tensor:
    """Return text features (B, d), not normalised.

    contexts: put into the slots of `batch`; None if it has none. prefix: the result of
        `encode_prefix` for these contexts; the tokens that it covers are not computed
        again. Exact. The last block computes the tokens that are read only.
    """
    start = 0 if prefix is None else batch.prefix
    ids, slots = batch.ids[:, start:], batch.slots[:, start:]
    x = _embed(clip, ids, slots, contexts, start)
    length = x.shape[1]
    ends = batch.ends - start
    if clip.text_pool_type == "last":
        ends = torch.full_like(ends, length - 1)
    rows = torch.arange(len(x), device=x.device)
    mask = clip.attn_mask
    blocks = clip.transformer.resblocks
    if not are_standard(blocks):
        if mask is not None:
            mask = mask[:length, :length]
        x = clip.transformer(x, attn_mask=mask)
        return project_text(clip, x[rows, ends])
    causal_mask = torch.zeros(1, length, length, dtype=torch.bool, device=x.device)
    if mask is not None:
        causal_mask = torch.ones_like(causal_mask).triu(1)
    replaced: dict[int, Tensor] = {}
    if contexts is not None:
        replaced = {i: contexts[i] for i in range(1, len(contexts))}
    if class_vectors is not None:
        replaced[class_vectors[0]] = class_vectors[1]
    for i, block in enumerate(blocks):
        if i in replaced:
            x = _replace(x, slots, replaced[i])
        if i < len(blocks) - 1:
            q, k, v = qkv(block, x)
        else:
            last = x[rows, ends].unsqueeze(1)
            q, k, v = qkv(block, last, x)
            x = last
            causal_mask = causal_mask[0, ends, None]
        if prefix is not None:
            attended = _attend(q, k, v, causal_mask, *prefix[i])
        else:
            mask = ~causal_mask.unsqueeze(1)
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = attention_output_and_mlp(block, x, attended)
    return project_text(clip, x[:, 0])


def project_text(clip: CLIP, x: Tensor) -> Tensor:
    """Return the text features (B, d) of the last block's end tokens (B, width)."""
    x = clip.ln_final(x)
    if clip.text_projection is None:
        return x
    if isinstance(clip.text_projection, nn.Linear):
        return clip.text_projection(x)
    return x @ clip.text_projection


def _embed(clip: CLIP, ids: Tensor, slots: Tensor, contexts: Tensor | None, start: int):
    """Return embeddings (B, L, width) of the tokens from `start`: words, contexts of
    the first layer in their slots, and positions. In float32 if weights are.
    """
    with full_precision(ids):
        with torch.no_grad():
            x = clip.token_embedding(ids)
            if contexts is not None:
                filled = slots.sum(-1, keepdim=True)
                x = x * (1.0 - filled)
            end = start + x.shape[1]
            x = x + clip.positional_embedding[start:end]
        if contexts is not None:
            entering = slots.to(contexts.dtype) @ contexts[0]
            x = x + entering.to(x.dtype)
    return x


def _replace(x: Tensor, slots: Tensor, context: Tensor) -> Tensor:
    """Return x (B, L, width) with a deeper layer's context in the slots."""
    with full_precision(x):
        entering = slots.to(context.dtype) @ context
    filled = slots.any(-1, keepdim=True)
    return torch.where(filled, entering.to(x.dtype), x)


def _attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    causal_mask: Tensor,
    prefix_k: Tensor,
    prefix_v: Tensor,
) -> Tensor:
    """Return the attention of q (B, heads, L, e) to the prefix (1, heads, P, e), not
    copied for each sequence, and to k, v (B, heads, M, e), masked by `causal_mask`.
    """
    q = q * q.shape[-1] ** -0.5
    q = q.transpose(0, 1).contiguous()  # (heads, B, L, e), as all from here
    k = k.transpose(0, 1).contiguous()
    v = v.transpose(0, 1).contiguous()
    scores = (q @ k.mT).masked_fill(causal_mask, float("-inf"))
    prefix_scores = _shared_matmul(q, prefix_k[0].mT)
    scores = torch.cat([prefix_scores, scores], dim=-1)
    weights = scores.softmax(-1).to(v.dtype)
    length = prefix_k.shape[2]
    from_prefix = _shared_matmul(weights[..., :length], prefix_v[0])
    attended = from_prefix + weights[..., length:] @ v
    return attended.transpose(0, 1)


def _shared_matmul(x: Tensor, matrix: Tensor) -> Tensor:
    """Multiply x (heads, B, L, n) by matrix (heads, n, m) as one product a head."""
    return (x.flatten(1, 2) @ matrix).unflatten(1, x.shape[1:3])
