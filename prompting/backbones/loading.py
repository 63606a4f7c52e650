"""Load a backbone by name, or from a file or folder."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from prompting.backbones import hub_models, names, transformers_layout, weights
from prompting.backbones.architectures import (
    configuration,
    has_quick_gelu_weights,
    pretrained_values,
    unsupported_reason,
    weights_location,
)
from prompting.backbones.backbone import Backbone, Preprocessing
from prompting.backbones.hub_models import CONFIG as HUB_CONFIG
from prompting.backbones.hub_models import WEIGHTS as HUB_WEIGHTS
from prompting.backbones.names import ALIASES, LOCAL_PREFIX, open_clip_names
from prompting.backbones.tokenizers import load_tokenizer
from prompting.backbones.weights import SUFFIXES, build, read_state_dict
from prompting.checkpoints.tensors import check_finite
from prompting.tokens import Tokenizer, clip_tokenizer
from toolkit.common.suggest import nearest

if TYPE_CHECKING:
    from open_clip import CLIP

logger = logging.getLogger(__name__)

POCKET_FOLDER = Path(__file__).resolve().parents[1] / "pocket"


def load_backbone(
    name: str = "pocket",
    pretrained: str | None = None,
    device: str | torch.device = "cpu",
) -> Backbone:
    """Return a backbone by name: "pocket"; a CoOp alias (ViT-B/16, RN50), which means
    OpenAI's weights; an open_clip architecture; a checkpoint in OpenAI's layout, or
    with its configuration beside it; a folder (or local-dir:FOLDER) in open_clip's or
    transformers' form; or USER/NAME, hf-hub:USER/NAME[@REVISION] on the Hugging Face
    Hub.

    pretrained: one of open_clip's tags (default: "openai"), or a file. The activation
    (QuickGELU or GELU) follows from the weights. Raises ValueError with the nearest
    names, and FileNotFoundError when weights are not available.
    """
    backbone = _load(str(name), pretrained)
    backbone.clip.to(device)
    return backbone


def _load(name: str, pretrained: str | None) -> Backbone:
    if name == LOCAL_PREFIX:
        raise ValueError(f"{LOCAL_PREFIX} needs a folder behind it")
    name = names.local_path(name)
    if name == "pocket":
        if pretrained:
            raise ValueError(
                f"the pocket backbone has its own weights: leave {pretrained!r} (MODEL.BACKBONE.PRETRAINED, --pretrained) "
                "out, or name the architecture that it is for with --backbone"
            )
        return load_pocket()
    if name in ALIASES:
        return _load_architecture(name, ALIASES[name], pretrained)
    path = Path(name)
    if path.is_dir():
        return _load_folder(path, path.name, pretrained)
    if path.is_file():
        if pretrained:
            raise ValueError(
                f"the backbone {name} is a file with its weights: leave {pretrained!r} (MODEL.BACKBONE.PRETRAINED, "
                "--pretrained) out"
            )
        return _load_file(path)
    if name in open_clip_names():
        return _load_architecture(name, name, pretrained)
    if name.endswith(SUFFIXES) or os.path.isabs(name) or name.startswith("."):
        raise FileNotFoundError(f"no checkpoint at {name}")
    if names.is_on_hub(name):
        folder = hub_models.download(name, _check_config)
        return _load_folder(folder, name, pretrained)
    raise ValueError(
        f"unknown backbone {name!r}; {_nearest(name)} It may also be the path of a checkpoint in OpenAI's layout, or "
        "a model of the Hugging Face Hub, hf-hub:USER/NAME"
    )


def _nearest(name: str) -> str:
    close = nearest(name, ["pocket", *ALIASES, *open_clip_names()], count=3, cutoff=0.4)
    if not close:
        return "known are pocket, ViT-B/16, RN50 and open_clip's names."
    return f"did you mean {', '.join(close)}?"


def _load_folder(folder: Path, name: str, pretrained: str | None) -> Backbone:
    """Load a folder in the form of open_clip's or of transformers' repositories."""
    files = [folder / file for file in HUB_WEIGHTS if (folder / file).is_file()]
    has_config = (folder / HUB_CONFIG).is_file()
    is_transformers = (folder / transformers_layout.CONFIG).is_file() and not (
        has_config and files
    )
    if pretrained:
        files = [Path(pretrained)]
    if is_transformers:
        return _load_transformers(folder, pretrained, name)
    if not files or not has_config:
        raise FileNotFoundError(
            f"{folder} holds no model: neither {HUB_CONFIG} and one of {', '.join(HUB_WEIGHTS)}, nor "
            f"{transformers_layout.CONFIG} and {' or '.join(transformers_layout.WEIGHTS)}"
        )
    return _load_hub_file(files[0], folder, name)


def _load_file(path: Path) -> Backbone:
    folder = path.parent
    if (folder / HUB_CONFIG).is_file():
        return _load_hub_file(path, folder, path.name)
    if (
        path.name in transformers_layout.WEIGHTS
        and (folder / transformers_layout.CONFIG).is_file()
    ):
        return _load_transformers(folder, str(path), path.name)
    clip = weights.build_from_openai_layout(read_state_dict(path), str(path))
    return _backbone(path.name, clip, {})


def _load_transformers(folder: Path, file: str | None, name: str) -> Backbone:
    """Load a `CLIPModel` of transformers; file: weights, by default the folder's."""
    config = transformers_layout.read_config(folder / transformers_layout.CONFIG)
    transformers_layout.check_tokenizer(folder)
    values = transformers_layout.read_preprocessing(
        folder, config["vision_cfg"]["image_size"]
    )
    path = Path(file) if file else transformers_layout.weights_of(folder)
    clip = build(config, transformers_layout.read_weights(path), str(path))
    return _backbone(name, clip, values)


def load_pocket(
    folder: str | Path = POCKET_FOLDER, device: str | torch.device = "cpu"
) -> Backbone:
    """Return the small CLIP of `folder`: model.json (configuration, preprocessing) and
    model.safetensors, which has of the token embedding the rows that are not zero:
    their numbers `token_ids` (n,) and `token_embedding.rows` (n, width). Raises
    FileNotFoundError, or ValueError for tensors that do not fit.
    """
    folder = Path(folder)
    config_file, weights_file = folder / "model.json", folder / "model.safetensors"
    if not config_file.is_file():
        raise FileNotFoundError(f"no pocket model: {config_file} is missing")
    config = json.loads(config_file.read_text(encoding="utf-8"))
    model, preprocess = config["model_cfg"], config["preprocess_cfg"]
    state = read_state_dict(weights_file)
    known_tokens = None
    if "token_ids" in state and "token_embedding.rows" in state:
        ids = state.pop("token_ids")
        rows = state.pop("token_embedding.rows").float()
        known_tokens = frozenset(ids.tolist())
        vocab_size = model["text_cfg"].get("vocab_size", 49408)
        embedding = torch.zeros(vocab_size, rows.shape[1])
        embedding[ids] = rows
        state["token_embedding.weight"] = embedding
    clip = build(model, state, str(weights_file))
    backbone = _backbone("pocket", clip.to(device), preprocess)
    backbone.known_tokens = known_tokens
    return backbone


def _load_architecture(name: str, architecture: str, pretrained: str | None):
    from open_clip import CLIP
    from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model

    if pretrained and (Path(pretrained).is_file() or pretrained.endswith(SUFFIXES)):
        return _load_architecture_file(name, architecture, pretrained)
    config = configuration(architecture)
    tags = list_pretrained_tags_by_model(architecture)
    tag = pretrained or "openai"
    if tag not in tags:
        what = f"{name} needs pretrained weights"
        if pretrained:
            what = f"no weights {tag!r} of {name}"
        choice = "it has none of open_clip's tags: give a file"
        if tags:
            choice = f"give a file or one of open_clip's tags: {', '.join(tags)}"
        raise ValueError(f"{what} (MODEL.BACKBONE.PRETRAINED, --pretrained): {choice}")
    found = get_pretrained_cfg(architecture, tag)
    quick_gelu = bool(found.get("quick_gelu", False))
    if architecture.endswith("-quickgelu") and not quick_gelu:
        raise ValueError(
            f"the weights {tag!r} were trained with GELU: use {architecture.removesuffix('-quickgelu')!r}"
        )
    tokenizer = load_tokenizer(config["text_cfg"])
    try:
        clip = _open_clip_model(architecture, tag, found)
    except Exception as error:  # noqa: BLE001 - the download fails in as many ways as the network
        raise FileNotFoundError(
            f"the weights {tag!r} of {name} cannot be had here ({error}). "
            f"{weights_location(found)}. Give a file instead: a checkpoint in OpenAI's layout with "
            f"--backbone FILE, or {name} with the file as its weights (MODEL.BACKBONE.PRETRAINED FILE of train.py, "
            "--pretrained FILE of predict)"
        ) from error
    check_finite(clip.state_dict(), name)
    values = clip.visual.preprocess_cfg
    if not isinstance(clip, CLIP):
        config["quick_gelu"] = quick_gelu or config.get("quick_gelu", False)
        clip = build(config, clip.state_dict(), name)
    return _backbone(name, clip, values, tokenizer)


def _open_clip_model(architecture: str, tag: str, config: dict) -> Any:
    """Return open_clip's model, downloaded, without a log, if it is not in a cache."""
    from open_clip import create_model

    if config.get("hf_hub"):
        hub_models.check_reachable(config["hf_hub"].rstrip("/"))
    quick_gelu = bool(config.get("quick_gelu", False))
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        return create_model(
            architecture, tag, precision="fp32", force_quick_gelu=quick_gelu
        )
    finally:
        logging.disable(before)


def _load_architecture_file(name: str, architecture: str, path: str) -> Backbone:
    config = configuration(architecture)
    tokenizer = load_tokenizer(config["text_cfg"], Path(path).parent)
    state = read_state_dict(path)
    is_known = weights.has_openai_sizes(state)
    if name in ALIASES or is_known:
        config["quick_gelu"] = True
    activation = "QuickGELU" if config.get("quick_gelu") else "GELU"
    has_both = name in ALIASES or has_quick_gelu_weights(architecture)
    if is_known or not has_both:
        logger.info("%s: %s with %s", path, architecture, activation)
    else:
        logger.warning(
            "%s: the tensors do not tell the activation; %s means %s. Weights trained with QuickGELU need %s-quickgelu, "
            "with GELU %s",
            *(path, name, activation, architecture, architecture),
        )
    clip = build(config, state, path)
    return _backbone(name, clip, pretrained_values(architecture), tokenizer)


def _load_hub_file(path: Path, folder: Path, name: str) -> Backbone:
    """Load weights with open_clip's configuration file of a folder."""
    model, values = _read_hub_config(folder)
    tokenizer = load_tokenizer(model["text_cfg"], folder)
    clip = build(model, read_state_dict(path), str(path))
    return _backbone(name, clip, values, tokenizer)


def _check_config(folder: Path) -> None:
    if (folder / HUB_CONFIG).is_file():
        _read_hub_config(folder)
    elif (folder / transformers_layout.CONFIG).is_file():
        transformers_layout.read_config(folder / transformers_layout.CONFIG)


def _read_hub_config(folder: Path) -> tuple[dict, dict]:
    """Return model and preprocessing of open_clip's file in a folder, or ValueError."""
    config_path = folder / HUB_CONFIG
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
        model, values = config["model_cfg"], config.get("preprocess_cfg", {})
        reason = unsupported_reason(model)
        # the weights are here: nothing is fetched
        model["vision_cfg"]["timm_model_pretrained"] = False
        if ":" in str(model["vision_cfg"].get("timm_model_name")):
            reason = f"its image tower {model['vision_cfg']['timm_model_name']} is no model of timm's own"
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(
            f"{config_path} is no configuration of open_clip: {str(error)[:200]!r}"
        ) from error
    if reason:
        raise ValueError(f"{folder} cannot be used: {reason}")
    return model, values


def _backbone(name: str, clip: CLIP, values: dict, tokenizer: Tokenizer | None = None):
    """Return a backbone; values: mean, std and interpolation as far as they are known."""
    size = clip.visual.image_size
    if not isinstance(size, int):
        size, width = size
        if size != width:
            raise ValueError(
                f"this image tower takes {size} x {width} pixels; only square images are supported"
            )
    preprocessing = Preprocessing(
        size,
        tuple(values.get("mean", Preprocessing.mean)),
        tuple(values.get("std", Preprocessing.std)),
        values.get("interpolation", "bicubic"),
    )
    clip = clip.float().eval().requires_grad_(False)
    return Backbone(name, clip, tokenizer or clip_tokenizer(), preprocessing)
