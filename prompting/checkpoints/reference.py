"""Prompts trained with the reference implementation: its parameter names, and the module that a state dict implies."""

from torch import Tensor

from prompting.checkpoints.prompt_files import load_state
from prompting.prompts import Prompt, TextPrompt, VisualPrompt
from prompting.unified import UnifiedPrompt

BUFFERS = ("token_prefix", "token_suffix")  # the class names' embeddings
_UNIFIED = {  # reference name or prefix -> ours
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


def rename(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict under the names of the prompt module that it belongs to, in float32.

    Names of older checkpoints (upt_proj...) are understood; buffers that depend on class names are dropped. Raises
    ValueError naming every key that is none of the reference's.
    """
    renamed, unknown = {}, []
    unified = "ctx" in state and "vpt_embeddings" in state
    for key, value in state.items():
        name = key.replace("upt_proj", "mvlpt_proj") if "mvlpt_proj" not in key else key
        if name in BUFFERS:
            continue
        prefix = name if name in _UNIFIED else next((p for p in _UNIFIED if p[-1] == "." and name.startswith(p)), None)
        if prefix is None:
            unknown.append(key)
            continue
        ours = _UNIFIED[prefix] + name[len(prefix) :]
        renamed[ours if unified else ours.removeprefix("text.").removeprefix("visual.")] = value.float()
    if unknown:
        more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
        raise ValueError(f"not the names of a prompt of the reference: {', '.join(sorted(unknown)[:5])}{more}")
    return renamed


def prompt_from_reference(
    state: dict[str, Tensor], position: str = "middle", patch_size: int = 16, heads: int = 1, theta: str | None = None
) -> Prompt:
    """The prompt whose trained tensors these are; method and sizes follow from names and shapes.

    position, heads: not in the tensors. patch_size: only plays a part in initialisation.
    theta: by default "per-token" where there are blocks, as those checkpoints were trained with it, "mlp" where there
    are only maps, else "identity".
    Raises ValueError when the tensors make no known prompt.
    """
    state = rename(state)
    text = visual = None
    ctx = state.get("text.ctx", state.get("ctx"))
    shallow = state.get("visual.embeddings", state.get("embeddings"))
    if ctx is not None:
        *classes, n_ctx, width = ctx.shape
        text = TextPrompt(n_ctx, width, classes[0] if classes else None, position)
    if shallow is not None:
        deep = state.get("visual.embeddings_deep", state.get("embeddings_deep"))
        projection = state.get("visual.proj.weight", state.get("proj.weight"))
        _, n_ctx, dim = shallow.shape
        layers = 1 + (0 if deep is None else len(deep))
        width, project = (dim, None) if projection is None else (projection.shape[0], dim)
        visual = VisualPrompt(n_ctx, width, layers, patch_size, project=project)
    if text and visual:
        dim, blocks = _theta_size(state)
        theta = theta or ("per-token" if blocks else "mlp" if dim else "identity")
        prompt: Prompt = UnifiedPrompt(text, visual, dim or 128, heads, max(blocks, 1), theta)
    else:
        prompt = text or visual
    if prompt is None:
        raise ValueError("no prompt: neither ctx nor vpt_embeddings is among the tensors")
    load_state(prompt, state)
    return prompt


def to_reference(prompt: Prompt) -> dict[str, Tensor]:
    """The prompt's tensors under the reference's names. Raises ValueError for a prompt that the reference does not have
    or would compute differently."""
    if isinstance(prompt, UnifiedPrompt):
        if prompt.theta == "attention":
            raise ValueError(
                "the reference's θ maps each vector by itself, but this prompt's vectors attend to all others"
            )
        if prompt.theta == "mlp":
            raise ValueError("the reference's θ can't be an mlp: it stops at that setting")
        if prompt.theta == "per-token" and prompt.layers != 1:
            raise ValueError(f"the reference's θ has one block; this prompt's has {prompt.layers}")
        prefix = ""
    elif isinstance(prompt, TextPrompt):
        prefix = "text."
    elif isinstance(prompt, VisualPrompt):
        prefix = "visual."
    else:
        raise ValueError(f"the reference has no {prompt.kind!r} prompt")
    theirs = {ours: name for name, ours in _UNIFIED.items()}
    state = {}
    for name, value in prompt.state_dict().items():
        name = prefix + name
        ours = name if name in theirs else next(p for p in theirs if p[-1] == "." and name.startswith(p))
        state[theirs[ours] + name[len(ours) :]] = value.detach().float().cpu().clone()
    return state


def describe(prompt: Prompt) -> str:
    """The prompt's method, length and sizes in words."""
    if isinstance(prompt, UnifiedPrompt):
        return f"a unified prompt: {describe(prompt.text)}, {describe(prompt.visual)}, θ {prompt.theta}"
    config = prompt.config()
    if isinstance(prompt, TextPrompt):
        owner = f", a set for each of {config['classes']} classes" if config["classes"] else ""
        return f"a text prompt of {config['n_ctx']} vectors, {config['width']} wide{owner}"
    if isinstance(prompt, VisualPrompt):
        depth = f"deep visual prompt in {config['layers']} layers" if config["layers"] > 1 else "shallow visual prompt"
        return f"a {depth} of {config['n_ctx']} vectors, {config['width']} wide"
    return f"a {prompt.kind} prompt"


def _theta_size(state: dict[str, Tensor]) -> tuple[int | None, int]:
    """Width and number of blocks of θ, from its tensors."""
    blocks = len({name.split(".")[2] for name in state if name.startswith("mixer.resblocks.")})
    for name in ("mixer.resblocks.0.ln_1.weight", "text_pre.weight", "visual_pre.weight"):
        if name in state:
            return state[name].shape[0], blocks
    return None, blocks
