"""The forward pass of a vision transformer with prompt tokens."""

from functools import partial

import torch
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from prompting.blocks import are_plain, finish, project


def encode_prompted_images(visual: VisionTransformer, images: Tensor, tokens: Tensor) -> Tensor:
    """Image features (B, d), not normalised, of images (B, 3, H, W) with prompt tokens (layers, n_ctx, width).

    The first set enters after ln_pre and the positional embedding, between class token and patches: [c, v_1 .. v_n,
    patches]. When deep, each further block sees its own set in the place of the previous one (paper, eq. 3).
    Honours open_clip's `set_grad_checkpointing`. Raises ValueError for images or a number of layers that the tower
    does not take.
    """
    expected = tuple(visual.image_size)
    if tuple(images.shape[-2:]) != expected:
        raise ValueError(f"images of {tuple(images.shape[-2:])} pixels; this image tower takes {expected}")
    if len(tokens) not in (1, len(visual.transformer.resblocks)):
        raise ValueError(f"prompts for {len(tokens)} layers; the tower has {len(visual.transformer.resblocks)}")
    batch, n_ctx = images.shape[0], tokens.shape[1]
    with torch.no_grad():
        position = visual.positional_embedding
        patches = visual.ln_pre(visual.conv1(images).flatten(2).transpose(1, 2) + position[1:])
        cls = visual.ln_pre(visual.class_embedding + position[0]).expand(batch, 1, -1)
    tokens = tokens.to(patches.dtype).unsqueeze(1).expand(-1, batch, -1, -1)
    x = torch.cat([cls.to(patches.dtype), tokens[0], patches], dim=1)
    last = len(visual.transformer.resblocks) - 1
    plain = are_plain(visual.transformer.resblocks)
    recompute = visual.transformer.grad_checkpointing and torch.is_grad_enabled()
    for i, block in enumerate(visual.transformer.resblocks):
        if 0 < i < len(tokens):
            x = torch.cat([x[:, :1], tokens[i], x[:, 1 + n_ctx :]], dim=1)
        run = partial(_block, block, class_token_only=i == last) if plain else block
        x = checkpoint(run, x, use_reentrant=False) if recompute else run(x)
    x = visual.ln_post(x[:, 0])
    return x if visual.proj is None else x @ visual.proj


def _block(block: nn.Module, x: Tensor, class_token_only: bool) -> Tensor:
    """The block's output, (B, L, width), or (B, 1, width): the last block's other outputs are read by no one."""
    if class_token_only:
        x, q, k, v = x[:, :1], *project(block, x[:, :1], x)
    else:
        q, k, v = project(block, x)
    return finish(block, x, scaled_dot_product_attention(q, k, v))
