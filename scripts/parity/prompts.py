"""The prompt of a case, from its official tensors and settings."""

from __future__ import annotations

from torch import Tensor, nn

from prompting.checkpoints.prompt_files import load_state
from prompting.checkpoints.reference import (
    current_name,
    official_names,
    prompt_from_reference,
)
from prompting.class_aware import TCPPrompt
from prompting.prompts import Prompt
from prompting.representation import MMRLPPPrompt, MMRLPrompt
from prompting.shape import clip_shape
from prompting.task_aware import SoftCPTPrompt
from prompting.tokens import clip_tokenizer, plain_name

from .cases import Arrays

KINDS = {
    "ivlp": "ivlp",
    "promptsrc": "ivlp",
    "maple": "maple",
    "kgcoop": "text",
    "prograd": "text",
}


def official_prompt(
    method: str,
    arrays: Arrays,
    settings: dict,
    state: dict[str, Tensor],
    clip: nn.Module,
) -> Prompt:
    """Return the prompt of a case with the official tensors of `state`.

    Raises ValueError if they are of another method.
    """
    prompt: Prompt
    if method == "tcp":
        prompt = _tcp_prompt(arrays, state, settings["layer"])
    elif method in ("mmrl", "mmrlpp"):
        prompt = _mmrl_prompt(method, settings, clip)
    elif method == "softcpt":
        prompt = _softcpt_prompt(settings, state, len(arrays["classnames"]))
    else:
        words = _fixed_words(arrays, state["ctx"].shape[-2])
        position = settings.get("pos", "end")
        prompt = prompt_from_reference(state, position, fixed_words=words)
        if prompt.kind != KINDS[method]:
            wanted = f"those of {method} are {KINDS[method]!r}"
            raise ValueError(f"its prompts are of the kind {prompt.kind!r}, {wanted}")
        return prompt
    names = official_names(prompt, {name: name for name in prompt.state_dict()})
    values = {ours: state[current_name(name)] for name, ours in names.items()}
    load_state(prompt, values)
    return prompt


def _tcp_prompt(arrays: Arrays, state: dict[str, Tensor], block: int) -> Prompt:
    last_words = str(arrays["template_prompt"]).partition("{}")[2].removesuffix(".")
    n_ctx, width = state["ctx"].shape
    dim = state["meta_net.linear1.weight"].shape[1]
    fixed_words = _fixed_words(arrays, n_ctx, last_words)
    return TCPPrompt(n_ctx, width, dim, block, None, fixed_words, last_words)


def _mmrl_prompt(method: str, settings: dict, clip: nn.Module) -> Prompt:
    """Return MMRL's or MMRL++'s prompt; its logit scale is 100."""
    shape = clip_shape(clip)
    sizes = (shape.text_width, shape.image_width, shape.embed_dim)
    blocks = [number - 1 for number in settings["layers"]]
    arguments = [settings["n"], settings["rep"], *sizes, blocks, settings["alpha"]]
    if method == "mmrl":
        return MMRLPrompt(*arguments, logit_scale=100.0)
    arguments += [settings["beta"], settings["rlora"], settings["plora"]]
    return MMRLPPPrompt(*arguments, logit_scale=100.0)


def _softcpt_prompt(settings: dict, state: dict[str, Tensor], count: int) -> Prompt:
    """Return SoftCPT's prompt for `count` classes of all tasks."""
    inputs = state["prompt_gen.proj"].shape[0]
    tasks, classes, class_n_ctx = None, None, 0
    if settings["task_csc"]:
        tasks = settings["tasks"]
    if settings["csc"]:
        inputs //= 2
        class_n_ctx = settings["class_n"]
        if settings["class_csc"]:
            classes = count
    width = state["task_prompt_learner.ctx"].shape[-1]
    sizes = settings["n"], width, inputs, settings["task_n"]
    return SoftCPTPrompt(*sizes, tasks, class_n_ctx, classes, settings["pos"])


def _fixed_words(arrays: Arrays, n_ctx: int, last_words: str = "") -> str:
    """Return the words between the vectors and the class name, from the tokens of the
    first class.
    """
    tokenizer = clip_tokenizer()
    ids = arrays["text_tokens"][0]
    rest = ids[1 + n_ctx : ids.argmax()].tolist()
    first = plain_name(str(arrays["classnames"][0]))
    name = tokenizer.encode(f"{first}{last_words}.")
    fixed = rest[: len(rest) - len(name)]
    return tokenizer.decode(fixed).strip() if fixed else ""
