"""MMRL and MMRL++ in plain torch: three vectors enter the last two of three layers."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.prompting.method_towers import (
    NAMES,
    TEMPLATE,
    image_features,
    plain,
    text_features,
    unit,
)
from tests.prompting.oracle import TOKENIZER, State, block, norm

FIRST = 1  # the first block with vectors, counted from 0
COUNT = 3
CONFIGS = {
    "mmrl": {"n": 3, "rep": 8, "layers": [2, 3], "alpha": 0.7, "reg": 0.5},
    "mmrlpp": {
        "n": 3,
        "rep": 8,
        "layers": [2, 3],
        "alpha": 0.7,
        "reg": 0.5,
        "beta": 0.6,
        "rlora": 2,
        "plora": 4,
    },
}
TOKENS = "representation_learner.compound_rep_tokens"
MAPS = TOKENS + "_r2{}proj.{}"
SHARED = "representation_learner.srra_r2{}proj."


def random_prompt(method: str, normal: Callable[..., Tensor]) -> State:
    """Return a prompt under its official names."""
    prompt = {TOKENS: normal(3, 8)}
    for tower in ("t", "v"):
        if method == "mmrlpp":
            prompt[SHARED.format(tower) + "weight"] = normal(64, 8)
        for k in range(2):
            name = MAPS.format(tower, k)
            if method == "mmrlpp":
                name = SHARED.format(tower) + f"srra.{k}"
                prompt |= {f"{name}.A": normal(64, 2), f"{name}.B": normal(2, 8)}
            else:
                prompt[f"{name}.weight"] = normal(64, 8)
            prompt[f"{name}.bias"] = normal(64)
    if method == "mmrlpp":
        prompt["image_encoder.A"] = normal(64, 4)
        prompt["image_encoder.B"] = normal(4, 16)
    else:
        prompt["image_encoder.proj_rep"] = normal(64, 16)
    return prompt


def results(
    method: str, state: State, prompt: State, images: Tensor, labels: Tensor
) -> dict:
    """Return logits of both image features, features, terms and the loss."""
    config = CONFIGS[method]
    share = config.get("beta", 1.0)
    sentences = [TEMPLATE.format(plain(name)) for name in NAMES]
    text = text_with_vectors(state, sentences, vectors_of(prompt, "t"), share)
    projection = prompt.get("image_encoder.proj_rep")
    if projection is None:
        change = prompt["image_encoder.A"] @ prompt["image_encoder.B"]
        projection = state["visual.proj"] + change
    features, others = images_with_vectors(
        state, images, vectors_of(prompt, "v"), projection, share
    )
    logits = 100 * features @ text.T
    logits_rep = 100 * others @ text.T
    frozen_text = unit(text_features(state, sentences, []))
    frozen_images = image_features(state, images, [])
    alpha = config["alpha"]
    entropy = F.cross_entropy(logits, labels)
    entropy_rep = F.cross_entropy(logits_rep, labels)
    cos_image = 1 - (features * frozen_images).sum(-1).mean()
    cos_text = 1 - (text * frozen_text).sum(-1).mean()
    loss = alpha * entropy + (1 - alpha) * entropy_rep
    return {
        "logits": logits,
        "logits_rep": logits_rep,
        "logits_fusion": alpha * logits + (1 - alpha) * logits_rep,
        "features/text": text,
        "features/image": features,
        "frozen/text": frozen_text,
        "frozen/image": frozen_images,
        "terms/cross_entropy": entropy,
        "terms/cross_entropy_rep": entropy_rep,
        "terms/cos_image": cos_image,
        "terms/cos_text": cos_text,
        "loss": loss + config["reg"] * (cos_image + cos_text),
    }


def vectors_of(prompt: State, tower: str) -> list[Tensor]:
    """Return the vectors (3, 64) of each layer of a tower, "t" or "v"."""
    layers = []
    for k in range(2):
        name = MAPS.format(tower, k)
        if f"{name}.weight" in prompt:
            weight = prompt[f"{name}.weight"]
        else:
            name = SHARED.format(tower) + f"srra.{k}"
            change = prompt[f"{name}.A"] @ prompt[f"{name}.B"]
            weight = prompt[SHARED.format(tower) + "weight"] + change
        layers.append(prompt[TOKENS] @ weight.T + prompt[f"{name}.bias"])
    return layers


def run_blocks(
    x: Tensor, state: State, tower: str, vectors: list[Tensor], share: float
) -> Tensor:
    """Return what comes out of three blocks: vectors are inserted behind the first
    token, then `share` of them replaces what they became.
    """
    for i in range(3):
        if i >= FIRST:
            new = vectors[i - FIRST].expand(len(x), -1, -1)
            rest = x[:, 1:]
            if i > FIRST:
                new = share * new + (1 - share) * x[:, 1 : 1 + COUNT]
                rest = x[:, 1 + COUNT :]
            x = torch.cat([x[:, :1], new, rest], dim=1)
        prefix = f"{tower}.resblocks.{i}"
        x = block(x, state, prefix, 1, causal=tower == "transformer")
    return x


def text_with_vectors(
    state: State, sentences: list[str], vectors: list[Tensor], share: float
) -> Tensor:
    """Return unit-length features (sentences, 16)."""
    ids = TOKENIZER(sentences, context_length=77)
    x = state["token_embedding.weight"][ids] + state["positional_embedding"]
    x = norm(run_blocks(x, state, "transformer", vectors, share), state, "ln_final")
    ends = ids.argmax(-1) + COUNT
    return unit(x[torch.arange(len(x)), ends] @ state["text_projection"])


def images_with_vectors(
    state: State,
    images: Tensor,
    vectors: list[Tensor],
    projection: Tensor,
    share: float,
) -> tuple[Tensor, Tensor]:
    """Return unit-length features (images, 16) of the class token and of the vectors."""
    x = F.conv2d(images, state["visual.conv1.weight"], stride=8)
    x = x.flatten(2).transpose(1, 2)
    first = state["visual.class_embedding"].expand(len(x), 1, -1)
    x = torch.cat([first, x], dim=1) + state["visual.positional_embedding"]
    x = norm(x, state, "visual.ln_pre")
    x = run_blocks(x, state, "visual.transformer", vectors, share)
    x = norm(x[:, : 1 + COUNT], state, "visual.ln_post")
    features = x[:, 0] @ state["visual.proj"]
    return unit(features), unit(x[:, 1:].mean(dim=1) @ projection)
