"""Prompts trained with the official implementations: their parameter names, and the
module that a state dict implies. Of the reference MVLPT, CoOp, KgCoOp and ProGrad the
vectors enter as `TextPrompt`, `VisualPrompt` or `UnifiedPrompt`; of IVLP and PromptSRC
as `IVLPPrompt`; of MaPLe as `MaPLePrompt`.
"""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from prompting.checkpoints.prompt_files import load_state
from prompting.deep import IVLPPrompt, MaPLePrompt
from prompting.name_aware import SoftCPTPrompt, TCPPrompt
from prompting.prompts import Prompt, TextPrompt, VisualPrompt
from prompting.representation import MMRLPrompt
from prompting.unified import UnifiedPrompt
from toolkit.common.structured import read_yaml
from toolkit.common.text import some

State = dict[str, Tensor]

BUFFERS = ("token_prefix", "token_suffix")  # the class names' embeddings
_TABLES = read_yaml(Path(__file__).with_name("official_names.yaml"))


def is_maple(state: State) -> bool:
    """Return True for MaPLe's names."""
    return "ctx" in state and "proj.weight" in state


def is_ivlp(state: State) -> bool:
    """Return True for names of IVLP or PromptSRC."""
    return "ctx" in state and any("VPT" in name for name in state)


def rename(state: State) -> State:
    """Return the state dict in float32 under the names of our prompt module, also of
    older checkpoints (upt_proj...), without buffers that depend on class names. Raises
    ValueError naming keys of no official implementation.
    """
    given, state = state, {}
    for name, value in given.items():
        if name not in BUFFERS:
            state[current_name(name)] = value.float()
    if is_maple(state):
        return _rename_layers(state, _TABLES["layers"]["maple"])
    if is_ivlp(state):
        return _rename_layers(state, _TABLES["layers"]["ivlp"])
    is_unified = "ctx" in state and "vpt_embeddings" in state
    renamed: State = {}
    unknown = []
    for name, value in state.items():
        ours = _translate(name, _TABLES["prefixes"])
        if ours is None:
            unknown.append(name)
            continue
        if not is_unified:
            ours = ours.removeprefix("text.").removeprefix("visual.")
        renamed[ours] = value
    _check_unknown(unknown)
    return renamed


def current_name(name: str) -> str:
    """Return the name of a tensor in newer checkpoints, without prefixes of modules."""
    name = name.removeprefix("module.").removeprefix("prompt_learner.")
    if "mvlpt_proj" in name:
        return name
    return name.replace("upt_proj", "mvlpt_proj")


def _translate(name: str, prefixes: dict[str, str]) -> str | None:
    """Return a name with its known prefix replaced, or None."""
    for old, new in prefixes.items():
        if name == old or (old.endswith(".") and name.startswith(old)):
            return new + name.removeprefix(old)
    return None


def _check_unknown(names: list[str]) -> None:
    if names:
        raise ValueError(
            f"not the names of a prompt of the reference: {some(sorted(names))}"
        )


def _layer_names(first: str, others: str, start: int) -> Iterator[str]:
    yield first
    for number in itertools.count(start):
        yield others.format(number)


def _stack(layers: list[Tensor]) -> Tensor:
    shapes = {tuple(layer.shape) for layer in layers}
    if len(shapes) > 1:
        raise ValueError(f"its layers differ: {', '.join(map(str, sorted(shapes)))}")
    return torch.stack(layers)


def _rename_layers(state: State, layers: dict) -> State:
    renamed = {}
    for ours, official in layers.items():
        names = map(current_name, _layer_names(*official))
        present = itertools.takewhile(state.__contains__, names)
        values = [state.pop(name) for name in present]
        if "{}" not in ours and values:
            renamed[ours] = _stack(values)
        elif "{}" in ours and not values:
            raise ValueError(f"MaPLe's {current_name(official[0])} is missing")
        else:
            for number, value in enumerate(values):
                renamed[ours.format(number)] = value
    _check_unknown(list(state))
    return renamed


def prompt_from_reference(
    state: State,
    position: str = "middle",
    patch_size: int = 16,
    heads: int = 1,
    theta: str | None = None,
    fixed_words: str = "",
) -> Prompt:
    """Return the prompt of these trained tensors; names and shapes tell method and
    sizes. patch_size: of the initialisation. theta: by default "per-token" if there are
    blocks, as such checkpoints were trained with it, "mlp" if there are only maps, else
    "identity". Raises ValueError when the tensors make no known prompt.
    """
    state = rename(state)
    prompt: Prompt
    if "text" in state:
        prompt = _deep_prompt(state, fixed_words)
    else:
        parts = {}
        for name, value in state.items():
            parts[name.removeprefix("text.").removeprefix("visual.")] = value
        text = _text_prompt(parts, position, fixed_words)
        visual = _visual_prompt(parts, patch_size)
        either = text or visual
        if either is None:
            raise ValueError("no prompt: neither ctx nor vpt_embeddings is there")
        prompt = either
        if text and visual:
            prompt = _unified_prompt(state, text, visual, heads, theta)
    load_state(prompt, state)
    return prompt


def _text_prompt(parts: State, position: str, fixed_words: str) -> TextPrompt | None:
    if "ctx" not in parts:
        return None
    _check_axes("ctx", parts["ctx"], (2, 3))
    *classes, n_ctx, width = parts["ctx"].shape
    return TextPrompt(
        n_ctx, width, classes[0] if classes else None, position, fixed_words=fixed_words
    )


def _check_axes(name: str, value: Tensor, expected: tuple[int, ...]) -> None:
    """Raise ValueError if a tensor has another number of axes than expected."""
    if value.ndim not in expected:
        counts = " or ".join(map(str, expected))
        raise ValueError(
            f"{name} has the shape {tuple(value.shape)}; its axes are {counts}"
        )


def _visual_prompt(parts: State, patch_size: int) -> VisualPrompt | None:
    if "embeddings" not in parts:
        return None
    for name, axes in (("embeddings", 3), ("embeddings_deep", 3), ("proj.weight", 2)):
        if name in parts:
            _check_axes(name, parts[name], (axes,))
    _, n_ctx, dim = parts["embeddings"].shape
    layers = 1 + len(parts.get("embeddings_deep", ()))
    if "proj.weight" not in parts:
        return VisualPrompt(n_ctx, dim, layers, patch_size)
    width = len(parts["proj.weight"])
    return VisualPrompt(n_ctx, width, layers, patch_size, project=dim)


def _unified_prompt(
    state: State, text: TextPrompt, visual: VisualPrompt, heads: int, theta: str | None
) -> UnifiedPrompt:
    blocks = len(
        {name.split(".")[2] for name in state if name.startswith("mixer.resblocks.")}
    )
    dim = None
    for name in (
        "visual_pre.weight",
        "text_pre.weight",
        "mixer.resblocks.0.ln_1.weight",
    ):
        if name in state:
            dim = state[name].shape[0]
    if theta is None and blocks:
        theta = "per-token"
    elif theta is None:
        theta = "identity" if dim is None else "mlp"
    return UnifiedPrompt(text, visual, dim or 128, heads, max(blocks, 1), theta)


def _deep_prompt(state: State, fixed_words: str) -> Prompt:
    _check_axes("ctx", state["text"][0], (2,))
    layers, n_text, width = state["text"].shape
    if "projections.0.weight" in state:
        image_width = state["projections.0.weight"].shape[0]
        return MaPLePrompt(n_text, width, image_width, layers, fixed_words=fixed_words)
    text = (n_text, width, layers)
    if "visual" not in state:
        return IVLPPrompt(*text, 0, 0, 0, fixed_words=fixed_words)
    visual = state["visual"]
    _check_axes("image_encoder.VPT", visual[0], (2,))
    visual_layers, n_visual, image_width = visual.shape
    image = (n_visual, image_width, visual_layers)
    return IVLPPrompt(*text, *image, fixed_words=fixed_words)


def to_reference(prompt: Prompt) -> State:
    """Return the prompt's tensors under the official names, on the CPU. Raises
    ValueError if no official implementation computes it in the same way.
    """
    if isinstance(prompt, UnifiedPrompt):
        _check_theta(prompt)
    state = official_names(prompt, prompt.state_dict())
    return {name: value.detach().float().cpu().clone() for name, value in state.items()}


def official_names(prompt: Prompt, state: State) -> State:
    """Return tensors of the prompt (values or gradients) under the official names.
    Raises ValueError for a prompt that no official implementation has.
    """
    for deep in (IVLPPrompt, MaPLePrompt):
        if isinstance(prompt, deep):
            return _official_layers(state, _TABLES["layers"][deep.kind])
    for kind in (TCPPrompt, MMRLPrompt, SoftCPTPrompt):
        if isinstance(prompt, kind):
            return _official_names(state, _TABLES["names"][kind.kind])
    prefixes = {TextPrompt: "text.", VisualPrompt: "visual.", UnifiedPrompt: ""}
    if type(prompt) not in prefixes:
        raise ValueError(f"the reference has no {prompt.kind!r} prompt")
    official = {ours: name for name, ours in _TABLES["prefixes"].items()}
    renamed = {}
    for name, value in state.items():
        known = _translate(prefixes[type(prompt)] + name, official)
        if known is None:
            raise ValueError(f"the reference has no tensor for {name!r}")
        renamed[known] = value
    return renamed


def _official_layers(state: State, layers: dict) -> State:
    renamed = {}
    for ours, official in layers.items():
        values = list(state.get(ours, ()))
        if "{}" in ours:
            numbers = range(len(state["text"]))
            values = [state[ours.format(number)] for number in numbers]
        for name, value in zip(_layer_names(*official), values, strict=False):
            renamed[name] = value
    return renamed


def _official_names(state: State, patterns: dict[str, str]) -> State:
    renamed = {}
    for name, value in state.items():
        for pattern, official in patterns.items():
            found = re.fullmatch(pattern, name)
            if found is not None:
                renamed[found.expand(official)] = value
    return renamed


def _check_theta(prompt: UnifiedPrompt) -> None:
    """Raise ValueError for a θ that the reference MVLPT would compute differently."""
    if prompt.theta == "attention":
        raise ValueError(
            "the reference's θ maps each vector by itself, but this prompt's vectors attend to all others"
        )
    if prompt.theta == "mlp":
        raise ValueError("the reference's θ can't be an mlp: it stops at that setting")
    if prompt.theta == "per-token" and prompt.layers != 1:
        raise ValueError(
            f"the reference's θ has one block; this prompt's has {prompt.layers}"
        )
