"""From a file of official numbers to its cases."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn

from prompting.backbones.weights import build, openai_config
from prompting.checkpoints.reference import current_name
from prompting.model import PromptedCLIP
from prompting.tokens import clip_tokenizer
from trainers.anchors import Anchor, imagenet_templates
from trainers.engine.config import get_cfg_default
from trainers.engine.settings import extend

from .cases import TRAINERS, Arrays, Case
from .prompts import official_prompt

# of damaged files
UNREADABLE = (ValueError, OSError, EOFError, AttributeError, TypeError)
# method -> keys of its trainer, each with the name of its setting
SETTINGS = {
    "promptsrc": {"TEXT_LOSS_WEIGHT": "w_text", "IMAGE_LOSS_WEIGHT": "w_image"},
    "kgcoop": {"W": "w"},
    "prograd": {"T": "T", "LAMBDA": "lam"},
    "mmrl": {"REG_WEIGHT": "reg"},
    "mmrlpp": {"REG_WEIGHT": "reg"},
}


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Return all arrays of an .npz file.

    Raise FileNotFoundError, or ValueError if it is none.
    """
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
    state = {
        name.removeprefix("clip/"): torch.from_numpy(value)
        for name, value in arrays.items()
        if "clip/" in name
    }
    rows = state.get("token_embedding.weight")
    if rows is None or not {"token_ids", "images"} <= arrays.keys():
        needed = "token_ids, images or clip/token_embedding.weight"
        raise ValueError(f"{path} is no backbone: it lacks {needed}")
    embedding = torch.zeros(49408, rows.shape[1])
    embedding[torch.from_numpy(arrays["token_ids"]).long()] = rows
    state["token_embedding.weight"] = embedding
    clip = build(openai_config(state, str(path)), state, str(path))
    clip.eval().requires_grad_(False)
    return clip, torch.from_numpy(arrays["images"])


def read_cases(method: str, path: Path, backbone: Path | None) -> dict[str, Case]:
    """Return the cases of a file by name.

    Raise ValueError if it holds none of this method.
    """
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
    for key, name in SETTINGS.get(method, {}).items():
        cfg.TRAINER[TRAINERS[method].upper()][key] = float(settings[name])
    templates = ["a photo of a {}."]
    if method == "promptsrc":
        templates = list(imagenet_templates())
    elif method in ("kgcoop", "prograd", "tcp", "mmrl", "mmrlpp"):
        templates = [str(arrays["template"])]
    tensors = official(arrays, "prompt").items()
    state = {name: torch.from_numpy(value) for name, value in tensors}
    prompt = official_prompt(method, arrays, settings, state, clip)
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
    return {
        key.removeprefix(prefix): value
        for key, value in arrays.items()
        if key.startswith(prefix)
    }
