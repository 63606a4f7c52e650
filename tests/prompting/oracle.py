"""The reference implementation's arithmetic, written out in plain torch on tensors in
OpenAI's layout.

Slow and direct, one image and one sentence like the next: full context length, no
savings, nothing of `prompting`.
"""

import torch
import torch.nn.functional as F
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

CONTEXT = 77
TOKENIZER = SimpleTokenizer()
State = dict[str, Tensor]


def random_state(
    width: int,
    layers: int,
    patch: int,
    size: int,
    text_width: int,
    text_layers: int,
    features: int,
    seed: int = 0,
) -> State:
    """Return a random CLIP: a ViT for size x size pixels and a text tower; heads are 64
    wide in both.
    """
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int, std: float = 0.05, mean: float = 0.0) -> Tensor:
        return mean + std * torch.randn(*shape, generator=draw)

    state = {
        "visual.conv1.weight": normal(width, 3, patch, patch, std=0.1),
        "visual.class_embedding": normal(width, std=0.3),
        "visual.positional_embedding": normal((size // patch) ** 2 + 1, width, std=0.3),
        "visual.proj": normal(width, features, std=width**-0.5),
        "token_embedding.weight": normal(49408, text_width, std=0.4),
        "positional_embedding": normal(CONTEXT, text_width, std=0.3),
        "text_projection": normal(text_width, features, std=text_width**-0.5),
        "logit_scale": torch.tensor(2.5),
    }
    for name, dim in (
        ("visual.ln_pre", width),
        ("visual.ln_post", width),
        ("ln_final", text_width),
    ):
        state |= {f"{name}.weight": normal(dim, mean=1.0), f"{name}.bias": normal(dim)}
    for tower, dim, count in (
        ("visual.transformer", width, layers),
        ("transformer", text_width, text_layers),
    ):
        for i in range(count):
            state |= random_block(f"{tower}.resblocks.{i}.", dim, draw)
    return state


def random_block(prefix: str, width: int, draw: torch.Generator) -> State:
    shapes = {
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        "mlp.c_fc.weight": (4 * width, width),
        "mlp.c_fc.bias": (4 * width,),
        "mlp.c_proj.weight": (width, 4 * width),
        "mlp.c_proj.bias": (width,),
        "ln_2.weight": (width,),
        "ln_2.bias": (width,),
    }
    std = {2: width**-0.5, 1: 0.1}
    drawn = {
        name: std[len(shape)] * torch.randn(shape, generator=draw)
        for name, shape in shapes.items()
    }
    return {
        prefix + name: value + (name.startswith("ln") and name.endswith("weight"))
        for name, value in drawn.items()
    }


def random_prompt(
    case: str, shape: tuple[int, ...], classes: int = 4
) -> tuple[State, str]:
    """Return a random prompt under the reference's names for a model of
    `random_state(*shape)`, and the class name's position.
    """
    width, layers, _, _, text_width, _, _ = shape
    draw = torch.Generator().manual_seed(1)

    def normal(*size: int, std: float = 0.3) -> Tensor:
        return std * torch.randn(*size, generator=draw)

    if case in ("end", "middle", "front", "odd"):
        return {
            "ctx": normal(3 if case == "odd" else 4, text_width)
        }, "middle" if case == "odd" else case
    if case == "class-specific":
        return {"ctx": normal(classes, 4, text_width)}, "middle"
    dim = 40 if case == "projected" else width
    prompt = {"vpt_embeddings": normal(1, 3, dim)}
    if "shallow" not in case:
        prompt["vpt_embeddings_deep"] = normal(layers - 1, 3, dim)
    if case == "projected":
        prompt |= {
            "vpt_proj.weight": normal(width, dim),
            "vpt_proj.bias": normal(width),
        }
    if case.startswith("unified"):
        prompt["ctx"] = normal(4, text_width)
        for kind, size in (("coop", text_width), ("vpt", width)):
            for end, (rows, columns) in (("pre", (32, size)), ("post", (size, 32))):
                prompt[f"mvlpt_proj_ctx_{kind}_{end}.weight"] = normal(
                    rows, columns, std=columns**-0.5
                )
                prompt[f"mvlpt_proj_ctx_{kind}_{end}.bias"] = normal(rows, std=0.1)
        prompt |= random_block("mvlpt_proj.resblocks.0.", 32, draw)
    return prompt, "middle"


def norm(x: Tensor, state: State, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return (
        centred
        / (centred.pow(2).mean(-1, keepdim=True) + 1e-5).sqrt()
        * state[f"{name}.weight"]
        + state[f"{name}.bias"]
    )


def block(x: Tensor, state: State, name: str, heads: int, causal: bool) -> Tensor:
    """Return the output of one pre-norm block with QuickGELU for x (sequences, tokens,
    width).
    """
    length, width = x.shape[1:]
    packed = (
        norm(x, state, f"{name}.ln_1") @ state[f"{name}.attn.in_proj_weight"].T
        + state[f"{name}.attn.in_proj_bias"]
    )
    outputs = []
    for head in range(heads):
        part = slice(head * width // heads, (head + 1) * width // heads)
        q, k, v = (piece[..., part] for piece in packed.split(width, dim=-1))
        scores = q @ k.transpose(1, 2) / (width // heads) ** 0.5
        if causal:
            scores = scores + torch.full((length, length), float("-inf")).triu(1)
        outputs.append(scores.softmax(-1) @ v)
    x = (
        x
        + torch.cat(outputs, -1) @ state[f"{name}.attn.out_proj.weight"].T
        + state[f"{name}.attn.out_proj.bias"]
    )
    activations = (
        norm(x, state, f"{name}.ln_2") @ state[f"{name}.mlp.c_fc.weight"].T
        + state[f"{name}.mlp.c_fc.bias"]
    )
    activations = activations * torch.sigmoid(1.702 * activations)
    return (
        x
        + activations @ state[f"{name}.mlp.c_proj.weight"].T
        + state[f"{name}.mlp.c_proj.bias"]
    )


def depth(state: State, tower: str) -> int:
    return len(
        {
            name.split(".resblocks.")[1].split(".")[0]
            for name in state
            if name.startswith(f"{tower}.resblocks.")
        }
    )


def image_features(state: State, images: Tensor, prompts: list[Tensor]) -> Tensor:
    """Return unit-length features; prompts[0] enters behind the class token, prompts[i]
    replaces it before block i.
    """
    patch = state["visual.conv1.weight"].shape[-1]
    x = (
        F.conv2d(images, state["visual.conv1.weight"], stride=patch)
        .flatten(2)
        .transpose(1, 2)
    )
    cls = state["visual.class_embedding"].expand(len(x), 1, -1)
    x = norm(
        torch.cat([cls, x], 1) + state["visual.positional_embedding"],
        state,
        "visual.ln_pre",
    )
    count = prompts[0].shape[0] if prompts else 0
    for i in range(depth(state, "visual.transformer")):
        if i < len(prompts):
            x = torch.cat(
                [
                    x[:, :1],
                    prompts[i].expand(len(x), -1, -1),
                    x[:, 1 + (count if i else 0) :],
                ],
                1,
            )
        x = block(
            x,
            state,
            f"visual.transformer.resblocks.{i}",
            x.shape[-1] // 64,
            causal=False,
        )
    x = norm(x[:, 0], state, "visual.ln_post") @ state["visual.proj"]
    return x / x.norm(dim=-1, keepdim=True)


def text_features(
    state: State, names: list[str], ctx: Tensor | None, position: str
) -> Tensor:
    """Return unit-length features of "X .. X name." with the vectors of ctx, (n, width)
    or (classes, n, width), for the X.
    """
    features = []
    for row, name in enumerate(words.replace("_", " ") for words in names):
        context = None if ctx is None else ctx if ctx.dim() == 2 else ctx[row]
        count = 0 if context is None else len(context)
        sentence = (
            f"{' '.join(['X'] * count)} {name}." if count else f"a photo of a {name}."
        )
        ids = TOKENIZER([sentence], context_length=CONTEXT)[0]
        embedded = state["token_embedding.weight"][ids]
        if count:
            length = len(TOKENIZER.encode(name))
            start, name_part, rest = (
                embedded[:1],
                embedded[1 + count :][:length],
                embedded[1 + count + length :],
            )
            before = {"front": 0, "middle": count // 2, "end": count}[position]
            embedded = torch.cat(
                [start, context[:before], name_part, context[before:], rest]
            )
        x = (embedded + state["positional_embedding"]).unsqueeze(0)
        for i in range(depth(state, "transformer")):
            x = block(
                x, state, f"transformer.resblocks.{i}", x.shape[-1] // 64, causal=True
            )
        features.append(
            norm(x[0, ids.argmax()], state, "ln_final") @ state["text_projection"]
        )
    x = torch.stack(features)
    return x / x.norm(dim=-1, keepdim=True)


def couple(
    prompt: State, ctx: Tensor, tokens: Tensor, heads: int = 1
) -> tuple[Tensor, Tensor]:
    """Return the two kinds of vectors after maps and block; each vector is a separate
    sequence.
    """

    def linear(x: Tensor, name: str) -> Tensor:
        weight = prompt.get(f"mvlpt_proj_ctx_{name}.weight")
        return (
            x
            if weight is None
            else x @ weight.T + prompt[f"mvlpt_proj_ctx_{name}.bias"]
        )

    text = linear(ctx.flatten(0, -2), "coop_pre")
    mixed = torch.cat([text, linear(tokens.flatten(0, -2), "vpt_pre")]).unsqueeze(1)
    mixed = block(mixed, prompt, "mvlpt_proj.resblocks.0", heads, causal=False).squeeze(
        1
    )
    return (
        linear(mixed[: len(text)], "coop_post").view_as(ctx),
        linear(mixed[len(text) :], "vpt_post").view_as(tokens),
    )


def logits(
    state: State,
    prompt: State,
    images: Tensor,
    names: list[str],
    position: str = "middle",
) -> Tensor:
    """Return logits (B, C) for a prompt under the reference's names."""
    ctx, tokens = prompt.get("ctx"), prompt.get("vpt_embeddings")
    if "vpt_embeddings_deep" in prompt:
        tokens = torch.cat([tokens, prompt["vpt_embeddings_deep"]])
    if "vpt_proj.weight" in prompt:
        tokens = tokens @ prompt["vpt_proj.weight"].T + prompt["vpt_proj.bias"]
    if "mvlpt_proj.resblocks.0.ln_1.weight" in prompt:
        ctx, tokens = couple(prompt, ctx, tokens)
    image = image_features(state, images, [] if tokens is None else list(tokens))
    return (
        state["logit_scale"].exp()
        * image
        @ text_features(state, names, ctx, position).T
    )
