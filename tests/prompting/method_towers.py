"""The towers of a random CLIP with vectors in them, in plain torch (see `oracle`)."""

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.prompting.oracle import TOKENIZER, State, block, depth, norm, random_state

NAMES = ["sea_lion", "St. Bernard", "what?", "ice cream van"]
SHAPE = (64, 3, 8, 32, 64, 3, 16)  # as `oracle.random_state` takes it
TEMPLATE = "a drawing of a {}, large."


def backbone() -> tuple[State, Tensor]:
    """Return a random CLIP in OpenAI's layout, and images."""
    state = random_state(*SHAPE)
    draw = torch.Generator().manual_seed(3)
    return state, torch.randn(6, 3, 32, 32, generator=draw)


def text_features(
    state: State,
    sentences: list[str],
    layers: list[Tensor] | dict[int, Tensor],
    first: int = 1,
) -> Tensor:
    """Return features, not normalised; layers[i] takes the positions `first`, first +
    1, ... before block i.
    """
    if isinstance(layers, list):
        layers = dict(enumerate(layers))
    ids = TOKENIZER(sentences, context_length=77)
    x = state["token_embedding.weight"][ids]
    for i in range(depth(state, "transformer")):
        if i in layers:
            end = first + layers[i].shape[-2]
            layer = layers[i].expand(len(x), -1, -1)
            x = torch.cat([x[:, :first], layer, x[:, end:]], 1)
        if i == 0:
            x = x + state["positional_embedding"]
        x = block(
            x, state, f"transformer.resblocks.{i}", x.shape[-1] // 64, causal=True
        )
    x = norm(x, state, "ln_final")
    return x[torch.arange(len(x)), ids.argmax(-1)] @ state["text_projection"]


def image_features(state: State, images: Tensor, layers: list[Tensor]) -> Tensor:
    """Return unit-length features; layers[0] comes after the patches and before ln_pre,
    layers[i] replaces it before block i.
    """
    x = (
        F.conv2d(images, state["visual.conv1.weight"], stride=8)
        .flatten(2)
        .transpose(1, 2)
    )
    x = torch.cat([state["visual.class_embedding"].expand(len(x), 1, -1), x], 1)
    x = x + state["visual.positional_embedding"]
    length = x.shape[1]
    for i in range(depth(state, "visual.transformer")):
        if i < len(layers):
            x = torch.cat([x[:, :length], layers[i].expand(len(x), -1, -1)], 1)
        if i == 0:
            x = norm(x, state, "visual.ln_pre")
        x = block(
            x,
            state,
            f"visual.transformer.resblocks.{i}",
            x.shape[-1] // 64,
            causal=False,
        )
    return unit(norm(x[:, 0], state, "visual.ln_post") @ state["visual.proj"])


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def plain(name: str) -> str:
    return name.replace("_", " ")
