"""The forward pass of a vision transformer with prompt tokens."""

from functools import partial

import torch
from open_clip.transformer import ResidualAttentionBlock, VisionTransformer
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from prompting.blocks import are_standard, attention_output_and_mlp, qkv


def encode_prompted_images(
    visual: VisionTransformer, images: Tensor, tokens: Tensor, before_norm: bool = False
) -> Tensor:
    """Return image features (B, d), not normalised, of images (B, 3, H, W) with prompt
    tokens (layers, n_ctx, width).

    The first set enters after the positional embedding, between class token and
    patches: [c, v_1 .. v_n, patches]; after ln_pre, or before it if `before_norm`. When
    deep, each further block replaces the previous set by its own (paper, eq. 3); behind
    the last set the blocks see the outputs. Honours open_clip's
    `set_grad_checkpointing`.

    Raises ValueError for images or a number of layers that the tower does not take.
    """
    expected = tuple(visual.image_size)
    if tuple(images.shape[-2:]) != expected:
        raise ValueError(
            f"images of {tuple(images.shape[-2:])} pixels; this image tower takes {expected}"
        )
    blocks = visual.transformer.resblocks
    if not 1 <= len(tokens) <= len(blocks):
        raise ValueError(
            f"prompts for {len(tokens)} layers; the tower has {len(blocks)}"
        )
    batch = images.shape[0]
    n_ctx = tokens.shape[1]
    with torch.no_grad():
        position = visual.positional_embedding
        patches = visual.conv1(images).flatten(2).transpose(1, 2)
        patches = visual.ln_pre(patches + position[1:])
        cls = visual.ln_pre(visual.class_embedding + position[0])
        cls = cls.to(patches.dtype).expand(batch, 1, -1)
    if before_norm:
        first = visual.ln_pre(tokens[:1])
        tokens = torch.cat([first, tokens[1:]])
    tokens = tokens.to(patches.dtype).unsqueeze(1)
    tokens = tokens.expand(-1, batch, -1, -1)
    x = torch.cat([cls, tokens[0], patches], dim=1)
    standard = are_standard(blocks)
    recompute = visual.transformer.grad_checkpointing and torch.is_grad_enabled()
    for i, block in enumerate(blocks):
        if 0 < i < len(tokens):
            cls, patches = x[:, :1], x[:, 1 + n_ctx :]
            x = torch.cat([cls, tokens[i], patches], dim=1)
        run = block
        if standard:
            is_last = i == len(blocks) - 1
            run = partial(_run_block, block, class_token_only=is_last)
        if recompute:
            x = checkpoint(run, x, use_reentrant=False)
        else:
            x = run(x)
    x = visual.ln_post(x[:, 0])
    if visual.proj is None:
        return x
    return x @ visual.proj


def _run_block(
    block: ResidualAttentionBlock, x: Tensor, class_token_only: bool
) -> Tensor:
    """Return the block's output, (B, L, width), or (B, 1, width), as nothing reads the
    last block's other outputs.
    """
    if class_token_only:
        class_token = x[:, :1]
        q, k, v = qkv(block, x[:, :1], x)
        x = class_token
    else:
        q, k, v = qkv(block, x)
    return attention_output_and_mlp(block, x, scaled_dot_product_attention(q, k, v))
