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


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Return all arrays of an .npz file.

    Raise FileNotFoundError, or ValueError if it is none.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (
        ValueError,
        OSError,
        EOFError,
        zipfile.BadZipFile,
        AttributeError,
        TypeError,
    ) as error:
        raise ValueError(f"{path} is no .npz file of arrays: {error}") from None


def load_backbone_arrays(path: Path) -> tuple[nn.Module, Tensor]:
    """Return the frozen CLIP and the images of a backbone's file."""
    arrays = read_arrays(path)
    state = {
        name.removeprefix("clip/"): torch.from_numpy(value)
        for name, value in arrays.items()
        if "clip/" in name
    }
    if (
        "token_ids" not in arrays
        or "images" not in arrays
        or "token_embedding.weight" not in state
    ):
        raise ValueError(
            f"{path} is no backbone: it lacks token_ids, images or clip/token_embedding.weight"
        )
    embedding = torch.zeros(49408, state["token_embedding.weight"].shape[1])
    embedding[torch.from_numpy(arrays["token_ids"]).long()] = state[
        "token_embedding.weight"
    ]
    state["token_embedding.weight"] = embedding
    clip = (
        build(openai_config(state, str(path)), state, str(path))
        .eval()
        .requires_grad_(False)
    )
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
        prefix = f"{name}/"
        settings = {
            key.removeprefix(prefix): value
            for key, value in arrays.items()
            if key.startswith(prefix)
        }
        file = backbone or path.with_name(
            f"backbone_{settings.get('backbone', 'a')}.npz"
        )
        if file not in backbones:
            backbones[file] = load_backbone_arrays(file)
        try:
            cases[name] = build_case(method, settings, *backbones[file])
        except KeyError as error:
            raise ValueError(
                f"{path}: {name} is no case of {method}: it lacks {error}"
            ) from None
    return cases


def build_case(method: str, arrays: Arrays, clip: nn.Module, images: Tensor) -> Case:
    """Return a case with its prompt in the model."""
    settings = json.loads(str(arrays["config"]))
    cfg = extend(get_cfg_default())
    anchor_templates: list[str] = ["a photo of a {}."]
    if method == "promptsrc":
        cfg.TRAINER.PROMPTSRC.TEXT_LOSS_WEIGHT = float(settings["w_text"])
        cfg.TRAINER.PROMPTSRC.IMAGE_LOSS_WEIGHT = float(settings["w_image"])
        anchor_templates = list(imagenet_templates())
    if method == "kgcoop":
        cfg.TRAINER.KGCOOP.W = float(settings["w"])
    if method == "prograd":
        cfg.TRAINER.PROGRAD.T = float(settings["T"])
        cfg.TRAINER.PROGRAD.LAMBDA = float(settings["lam"])
    if method in ("mmrl", "mmrlpp"):
        node = cfg.TRAINER[TRAINERS[method]]
        node.REG_WEIGHT = float(settings["reg"])
    if method in ("kgcoop", "prograd", "tcp", "mmrl", "mmrlpp"):
        anchor_templates = [str(arrays["template"])]
    state = {
        name: torch.from_numpy(value)
        for name, value in official(arrays, "prompt").items()
    }
    prompt = official_prompt(method, arrays, settings, state, clip)
    model = PromptedCLIP(clip, prompt, clip_tokenizer())
    names = [str(name) for name in arrays["classnames"]]
    task = SimpleNamespace(name="", classnames=names)
    unit_templates = method != "promptsrc"
    anchor = Anchor(
        PromptedCLIP(clip, None, clip_tokenizer()),
        [task],
        anchor_templates,
        unit_templates,
    )
    return Case(method, arrays, settings, cfg, model, anchor, images)


def official(arrays: Arrays, group: str) -> dict[str, np.ndarray]:
    """Return the arrays `group/<official name>` by name."""
    prefix = f"{group}/"
    return {
        current_name(key.removeprefix(prefix)): value
        for key, value in arrays.items()
        if key.startswith(prefix)
    }
