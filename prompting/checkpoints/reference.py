"""Prompts trained with the official implementations: their parameter names, and the
module that a state dict implies.

Of the reference MVLPT, CoOp, KgCoOp and ProGrad the vectors enter as `TextPrompt`,
`VisualPrompt` or `UnifiedPrompt`; of IVLP and PromptSRC as `IVLPPrompt`; of MaPLe as
`MaPLePrompt`.
"""

import re

import torch
from torch import Tensor

from prompting.checkpoints.prompt_files import load_state
from prompting.class_aware import TCPPrompt
from prompting.deep import IVLPPrompt, MaPLePrompt
from prompting.prompts import Prompt, TextPrompt, VisualPrompt
from prompting.representation import MMRLPrompt
from prompting.task_aware import SoftCPTPrompt
from prompting.unified import UnifiedPrompt

State = dict[str, Tensor]

BUFFERS = ("token_prefix", "token_suffix")  # the class names' embeddings
TEXT_BLOCK = "text_encoder.transformer.resblocks.{}.VPT_shallow"
IMAGE_FIRST = "image_encoder.VPT"
IMAGE_BLOCK = "image_encoder.transformer.resblocks.{}.VPT_shallow"
DEEP_TEXT = "compound_prompts_text.{}"
DEEP_MAP = "compound_prompt_projections.{}"
MMRL_NAMES = {  # pattern of ours -> official
    r"tokens": r"representation_learner.compound_rep_tokens",
    r"text_maps\.(\d+\..*)": r"representation_learner.compound_rep_tokens_r2tproj.\1",
    r"image_maps\.(\d+\..*)": r"representation_learner.compound_rep_tokens_r2vproj.\1",
    r"text_maps\.weight": r"representation_learner.srra_r2tproj.weight",
    r"image_maps\.weight": r"representation_learner.srra_r2vproj.weight",
    r"text_maps\.([A-Za-z]+)\.(\d+)": r"representation_learner.srra_r2tproj.srra.\2.\1",
    r"image_maps\.([A-Za-z]+)\.(\d+)": r"representation_learner.srra_r2vproj.srra.\2.\1",
    r"projection": r"image_encoder.proj_rep",
    r"projection_a": r"image_encoder.A",
    r"projection_b": r"image_encoder.B",
}
SOFTCPT_NAMES = {  # ours -> official
    "task_ctx": "task_prompt_learner.ctx",
    "class_ctx": "class_prompt_learner.ctx",
    "projection": "prompt_gen.proj",
}
_PREFIXES = {  # of the reference MVLPT -> ours
    "ctx": "text.ctx",
    "vpt_embeddings": "visual.embeddings",
    "vpt_embeddings_deep": "visual.embeddings_deep",
    "vpt_proj.": "visual.proj.",
    "mvlpt_proj_ctx_coop_pre.": "text_pre.",
    "mvlpt_proj_ctx_coop_post.": "text_post.",
    "mvlpt_proj_ctx_vpt_pre.": "visual_pre.",
    "mvlpt_proj_ctx_vpt_post.": "visual_post.",
    "mvlpt_proj.": "mixer.",
}


def is_maple(state: State) -> bool:
    """Return True for MaPLe's names."""
    return "ctx" in state and "proj.weight" in state


def is_ivlp(state: State) -> bool:
    """Return True for names of IVLP or PromptSRC."""
    return "ctx" in state and any("VPT" in name for name in state)


def rename(state: State) -> State:
    """Return the state dict under the names of the prompt module that it belongs to, in
    float32.

    Names of older checkpoints (upt_proj...) are understood; buffers that depend on
    class names are dropped. Raises ValueError naming every key that is none of an
    official implementation's.
    """
    given, state = state, {}
    for name, value in given.items():
        if name not in BUFFERS:
            state[current_name(name)] = value.float()
    if is_maple(state):
        return _rename_maple(state)
    if is_ivlp(state):
        return _rename_ivlp(state)
    is_unified = "ctx" in state and "vpt_embeddings" in state
    renamed: State = {}
    unknown = []
    for name, value in state.items():
        prefix = _known_prefix(name, _PREFIXES)
        if prefix is None:
            unknown.append(name)
            continue
        ours = _PREFIXES[prefix] + name[len(prefix) :]
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


def _known_prefix(name: str, prefixes: dict[str, str]) -> str | None:
    """Return the name itself if it is known, or the prefix with a dot at its end that
    it begins with.
    """
    if name in prefixes:
        return name
    for prefix in prefixes:
        if prefix.endswith(".") and name.startswith(prefix):
            return prefix
    return None


def _check_unknown(names: list[str]) -> None:
    if not names:
        return
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    raise ValueError(
        f"not the names of a prompt of the reference: {', '.join(sorted(names)[:5])}{more}"
    )


def _pop_layers(state: State, pattern: str, first: int) -> list[Tensor]:
    """Remove and return the tensors named by `pattern` with the numbers from `first`
    on.
    """
    layers: list[Tensor] = []
    while pattern.format(first + len(layers)) in state:
        layers.append(state.pop(pattern.format(first + len(layers))))
    return layers


def _stack(layers: list[Tensor]) -> Tensor:
    shapes = {tuple(layer.shape) for layer in layers}
    if len(shapes) > 1:
        raise ValueError(
            f"its layers have different shapes: {', '.join(map(str, sorted(shapes)))}"
        )
    return torch.stack(layers)


def _rename_ivlp(state: State) -> State:
    text = [state.pop("ctx")]
    text += _pop_layers(state, TEXT_BLOCK, first=1)
    renamed = {"text": _stack(text)}
    if IMAGE_FIRST in state:
        visual = [state.pop(IMAGE_FIRST)]
        visual += _pop_layers(state, IMAGE_BLOCK, first=1)
        renamed["visual"] = _stack(visual)
    _check_unknown(list(state))
    return renamed


def _rename_maple(state: State) -> State:
    text = [state.pop("ctx")]
    text += _pop_layers(state, DEEP_TEXT, first=0)
    renamed = {"text": _stack(text)}
    for part in ("weight", "bias"):
        if f"proj.{part}" not in state:
            raise ValueError(f"MaPLe's proj.{part} is missing")
        layers = [state.pop(f"proj.{part}")]
        layers += _pop_layers(state, f"{DEEP_MAP}.{part}", first=0)
        for number, value in enumerate(layers):
            renamed[f"projections.{number}.{part}"] = value
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
    """Return the prompt of these trained tensors; method and sizes follow from names
    and shapes.

    position, heads, fixed_words: not in the tensors. patch_size: only plays a part in
    initialisation. theta: by default "per-token" if there are blocks, as those
    checkpoints were trained with it, "mlp" if there are only maps, else "identity".
    Raises ValueError when the tensors make no known prompt.
    """
    state = rename(state)
    prompt: Prompt
    if "projections.0.weight" in state:
        prompt = _maple_prompt(state, fixed_words)
    elif "text" in state:
        prompt = _ivlp_prompt(state, fixed_words)
    else:
        text = _text_prompt(state, position, fixed_words)
        visual = _visual_prompt(state, patch_size)
        if text is not None and visual is not None:
            prompt = _unified_prompt(state, text, visual, heads, theta)
        elif text is not None:
            prompt = text
        elif visual is not None:
            prompt = visual
        else:
            raise ValueError(
                "no prompt: neither ctx nor vpt_embeddings is among the tensors"
            )
    load_state(prompt, state)
    return prompt


def _text_prompt(state: State, position: str, fixed_words: str) -> TextPrompt | None:
    ctx = state.get("text.ctx", state.get("ctx"))
    if ctx is None:
        return None
    _check_axes("ctx", ctx, (2, 3))
    *classes, n_ctx, width = ctx.shape
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


def _visual_prompt(state: State, patch_size: int) -> VisualPrompt | None:
    shallow = state.get("visual.embeddings", state.get("embeddings"))
    if shallow is None:
        return None
    deep = state.get("visual.embeddings_deep", state.get("embeddings_deep"))
    projection = state.get("visual.proj.weight", state.get("proj.weight"))
    _check_axes("embeddings", shallow, (3,))
    if deep is not None:
        _check_axes("embeddings_deep", deep, (3,))
    if projection is not None:
        _check_axes("proj.weight", projection, (2,))
    _, n_ctx, dim = shallow.shape
    layers = 1 if deep is None else 1 + len(deep)
    if projection is None:
        return VisualPrompt(n_ctx, dim, layers, patch_size)
    return VisualPrompt(n_ctx, projection.shape[0], layers, patch_size, project=dim)


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


def _ivlp_prompt(state: State, fixed_words: str) -> IVLPPrompt:
    _check_axes("ctx", state["text"][0], (2,))
    layers, n_text, width = state["text"].shape
    visual_layers, n_visual, image_width = 0, 0, 0
    if "visual" in state:
        _check_axes(IMAGE_FIRST, state["visual"][0], (2,))
        visual_layers, n_visual, image_width = state["visual"].shape
    return IVLPPrompt(
        n_text,
        width,
        layers,
        n_visual,
        image_width,
        visual_layers,
        fixed_words=fixed_words,
    )


def _maple_prompt(state: State, fixed_words: str) -> MaPLePrompt:
    _check_axes("ctx", state["text"][0], (2,))
    layers, n_ctx, width = state["text"].shape
    image_width = state["projections.0.weight"].shape[0]
    return MaPLePrompt(n_ctx, width, image_width, layers, fixed_words=fixed_words)


def to_reference(prompt: Prompt) -> State:
    """Return the prompt's tensors under the official names, on the CPU.

    Raises ValueError for a prompt that no official implementation has or would compute
    in the same way.
    """
    _check_unified(prompt)
    state = official_names(prompt, prompt.state_dict())
    return {name: value.detach().float().cpu().clone() for name, value in state.items()}


def official_names(prompt: Prompt, state: State) -> State:
    """Return tensors of the prompt (values or gradients) under the official names.

    Raises ValueError for a prompt that no official implementation has.
    """
    if isinstance(prompt, IVLPPrompt):
        return _official_ivlp(state)
    if isinstance(prompt, MaPLePrompt):
        return _official_maple(state)
    if isinstance(prompt, TCPPrompt):
        return _official_tcp(state)
    if isinstance(prompt, MMRLPrompt):
        return _official_mmrl(state)
    if isinstance(prompt, SoftCPTPrompt):
        return {SOFTCPT_NAMES[name]: value for name, value in state.items()}
    prefixes = {TextPrompt: "text.", VisualPrompt: "visual.", UnifiedPrompt: ""}
    if type(prompt) not in prefixes:
        raise ValueError(f"the reference has no {prompt.kind!r} prompt")
    official = {ours: name for name, ours in _PREFIXES.items()}
    renamed = {}
    for name, value in state.items():
        name = prefixes[type(prompt)] + name
        prefix = _known_prefix(name, official)
        if prefix is None:
            raise ValueError(f"the reference has no tensor for {name!r}")
        renamed[official[prefix] + name[len(prefix) :]] = value
    return renamed


def _official_ivlp(state: State) -> State:
    renamed = {"prompt_learner.ctx": state["text"][0]}
    for layer, value in enumerate(state["text"][1:], start=1):
        renamed[TEXT_BLOCK.format(layer)] = value
    if "visual" in state:
        renamed[IMAGE_FIRST] = state["visual"][0]
        for layer, value in enumerate(state["visual"][1:], start=1):
            renamed[IMAGE_BLOCK.format(layer)] = value
    return renamed


def _official_maple(state: State) -> State:
    renamed = {"prompt_learner.ctx": state["text"][0]}
    for number, value in enumerate(state["text"][1:]):
        renamed[f"prompt_learner.{DEEP_TEXT.format(number)}"] = value
    for name, value in state.items():
        found = re.fullmatch(r"projections\.(\d+)\.(weight|bias)", name)
        if found is None:
            continue
        layer = int(found[1])
        official = "proj" if layer == 0 else DEEP_MAP.format(layer - 1)
        renamed[f"prompt_learner.{official}.{found[2]}"] = value
    return renamed


def _official_tcp(state: State) -> State:
    renamed = {}
    for name, value in state.items():
        official = name.replace("class_map.", "meta_net.")
        renamed[f"prompt_learner.{official}"] = value
    return renamed


def _official_mmrl(state: State) -> State:
    renamed = {}
    for name, value in state.items():
        for pattern, official in MMRL_NAMES.items():
            found = re.fullmatch(pattern, name)
            if found is not None:
                renamed[found.expand(official)] = value
    return renamed


def _check_unified(prompt: Prompt) -> None:
    """Raise ValueError for a θ that the reference MVLPT would compute differently."""
    if not isinstance(prompt, UnifiedPrompt):
        return
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
