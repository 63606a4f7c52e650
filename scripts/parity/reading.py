"""From a file of official numbers to its cases and their prompts."""

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from prompting.backbones.weights import build, openai_config
from prompting.checkpoints.prompt_files import load_state
from prompting.checkpoints.reference import (
    current_name,
    official_names,
    prompt_from_reference,
)
from prompting.model import PromptedCLIP
from prompting.name_aware import SoftCPTPrompt, TCPPrompt
from prompting.prompts import Prompt
from prompting.representation import MMRLPPPrompt, MMRLPrompt
from prompting.shape import clip_shape
from prompting.tokens import clip_tokenizer, plain_name
from trainers.anchors import Anchor, imagenet_templates
from trainers.engine.config import get_cfg_default
from trainers.engine.settings import extend

from . import METHODS
from .cases import Arrays, Case

# of damaged files
UNREADABLE = (ValueError, OSError, EOFError, AttributeError, TypeError)


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a .npz file; FileNotFoundError or ValueError if it is none."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (*UNREADABLE, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} is no .npz file of arrays: {error}") from None


def load_backbone_arrays(path: Path) -> tuple[nn.Module, Tensor]:
    """Return the frozen CLIP and the images of a backbone's file."""
    arrays = read_arrays(path)
    tensors = _group(arrays, "clip").items()
    state = {name: torch.from_numpy(value) for name, value in tensors}
    rows = state.get("token_embedding.weight")
    if rows is None or not {"token_ids", "images"} <= arrays.keys():
        needed = "token_ids, images or clip/token_embedding.weight"
        raise ValueError(f"{path} is no backbone: it lacks {needed}")
    embedding = torch.zeros(49408, rows.shape[1])
    token_ids = torch.from_numpy(arrays["token_ids"])
    embedding[token_ids.long()] = rows
    state["token_embedding.weight"] = embedding
    config = openai_config(state, str(path))
    clip = build(config, state, str(path))
    clip.eval().requires_grad_(False)
    return clip, torch.from_numpy(arrays["images"])


def read_cases(method: str, path: Path, backbone: Path | None) -> dict[str, Case]:
    """Return the cases of a file by name; ValueError if none is of this method."""
    arrays = read_arrays(path)
    names = [key.removesuffix("/config") for key in arrays if key.endswith("/config")]
    if not names:
        raise ValueError(f"{path} holds no cases: no array is called <case>/config")
    backbones: dict[Path, tuple[nn.Module, Tensor]] = {}
    cases = {}
    for name in names:
        settings = _group(arrays, name)
        stored = f"backbone_{settings.get('backbone', 'a')}.npz"
        file = backbone or path.with_name(stored)
        if file not in backbones:
            backbones[file] = load_backbone_arrays(file)
        try:
            cases[name] = build_case(method, settings, *backbones[file])
        except KeyError as error:
            message = f"{name} is no case of {method}: it lacks {error}"
            raise ValueError(f"{path}: {message}") from None
    return cases


def build_case(method: str, arrays: Arrays, clip: nn.Module, images: Tensor) -> Case:
    """Return a case with its prompt in the model."""
    settings = json.loads(str(arrays["config"]))
    cfg = extend(get_cfg_default())
    trainer, _, keys = METHODS[method]
    node = trainer.upper()
    for key, name in keys.items():
        cfg.TRAINER[node][key] = float(settings[name])
    templates = ["a photo of a {}."]
    if method == "promptsrc":
        templates = list(imagenet_templates())
    elif method in ("kgcoop", "prograd", "tcp", "mmrl", "mmrlpp"):
        templates = [str(arrays["template"])]
    prompt = official_prompt(method, arrays, settings, clip)
    model = PromptedCLIP(clip, prompt, clip_tokenizer())
    names = [str(name) for name in arrays["classnames"]]
    task = SimpleNamespace(name="", classnames=names)
    plain = PromptedCLIP(clip, None, clip_tokenizer())
    anchor = Anchor(plain, [task], templates, method != "promptsrc")
    return Case(method, arrays, settings, cfg, model, anchor, images)


def official(arrays: Arrays, group: str) -> dict[str, np.ndarray]:
    """Return the arrays `group/<official name>` by name."""
    found = _group(arrays, group)
    return {current_name(name): value for name, value in found.items()}


def _group(arrays: Arrays, group: str) -> dict[str, np.ndarray]:
    prefix = f"{group}/"
    found = [key for key in arrays if key.startswith(prefix)]
    return {key.removeprefix(prefix): arrays[key] for key in found}


def official_prompt(
    method: str, arrays: Arrays, settings: dict, clip: nn.Module
) -> Prompt:
    """Return the official prompt of a case; ValueError if it is another method's."""
    tensors = official(arrays, "prompt").items()
    state = {name: torch.from_numpy(value) for name, value in tensors}
    prompt: Prompt
    if method == "tcp":
        prompt = _tcp_prompt(arrays, state, settings["layer"])
    elif method in ("mmrl", "mmrlpp"):
        prompt = _mmrl_prompt(method, settings, clip)
    elif method == "softcpt":
        prompt = _softcpt_prompt(settings, state, len(arrays["classnames"]))
    else:
        n_ctx = state["ctx"].shape[-2]
        words = _fixed_words(arrays, n_ctx)
        position = settings.get("pos", "end")
        prompt = prompt_from_reference(state, position, fixed_words=words)
        kind = METHODS[method][1]
        if prompt.kind != kind:
            wanted = f"those of {method} are {kind!r}"
            raise ValueError(f"its prompts are of the kind {prompt.kind!r}, {wanted}")
        return prompt
    ours_by_name = {name: name for name in prompt.state_dict()}
    names = official_names(prompt, ours_by_name)
    values = {ours: state[current_name(name)] for name, ours in names.items()}
    load_state(prompt, values)
    return prompt


def _tcp_prompt(arrays: Arrays, state: dict[str, Tensor], block: int) -> Prompt:
    template = str(arrays["template_prompt"])
    last_words = template.partition("{}")[2].removesuffix(".")
    n_ctx, width = state["ctx"].shape
    dim = state["meta_net.linear1.weight"].shape[1]
    fixed_words = _fixed_words(arrays, n_ctx, last_words)
    return TCPPrompt(n_ctx, width, dim, block, None, fixed_words, last_words)


def _mmrl_prompt(method: str, settings: dict, clip: nn.Module) -> Prompt:
    shape = clip_shape(clip)
    sizes = (shape.text_width, shape.image_width, shape.embed_dim)
    blocks = [number - 1 for number in settings["layers"]]
    arguments = [settings["n"], settings["rep"], *sizes]
    arguments += [blocks, settings["alpha"]]
    if method == "mmrl":
        return MMRLPrompt(*arguments, logit_scale=100.0)
    arguments += [settings["beta"], settings["rlora"]]
    arguments.append(settings["plora"])
    return MMRLPPPrompt(*arguments, logit_scale=100.0)


def _softcpt_prompt(settings: dict, state: dict[str, Tensor], count: int) -> Prompt:
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
    position = settings["pos"]
    return SoftCPTPrompt(*sizes, tasks, class_n_ctx, classes, position)


def _fixed_words(arrays: Arrays, n_ctx: int, last_words: str = "") -> str:
    """Return the words between vectors and class name, by the first class's tokens."""
    tokenizer = clip_tokenizer()
    ids = arrays["text_tokens"][0]
    rest = ids[1 + n_ctx : ids.argmax()].tolist()
    first = plain_name(str(arrays["classnames"][0]))
    name = tokenizer.encode(f"{first}{last_words}.")
    fixed = rest[: len(rest) - len(name)]
    return tokenizer.decode(fixed).strip() if fixed else ""
