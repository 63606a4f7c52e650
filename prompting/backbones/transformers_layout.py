"""CLIP models in the folders that transformers writes for `CLIPModel`: config.json,
weights, preprocessing, tokenizer files.
"""

import json
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prompting.backbones.weights import read_state_dict
from prompting.tokens import clip_tokenizer
from toolkit.common.structured import read_json, read_yaml

CONFIG = "config.json"
WEIGHTS = ("model.safetensors", "pytorch_model.bin")
PREPROCESSING = "preprocessor_config.json"
TOKENIZERS = ("vocab.json", "tokenizer.json")
ACTIVATIONS = {"quick_gelu": "QuickGELU", "gelu": "GELU"}
_TABLES = read_yaml(Path(__file__).with_name("transformers.yaml"))
# the eos_token_id of older files: the result is read at the highest token id, which is
# CLIP's end token
_HIGHEST_ID = 2
_RESAMPLE = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # Pillow's numbers
_JOINED = re.compile(r"\.(position_ids|[kv]_proj\.(weight|bias))$")  # ends of names


def read_config(path: Path) -> dict:
    """Return the open_clip configuration that a config.json of a `CLIPModel` describes.
    Raises ValueError naming the file and the key if it is of another model, or of one
    that CLIP's towers cannot be.
    """
    given = read_json(path)
    kind = given.get("model_type") if isinstance(given, dict) else None
    if kind != "clip":
        message = f"{path}: its model_type is {str(kind)[:40]!r}; of transformers' models only clip (CLIPModel) can be used"
        if kind in ("siglip", "siglip2"):
            message += ". SigLIP is read in open_clip's form, such as hf-hub:timm/ViT-B-16-SigLIP"
        raise ValueError(message)
    text = _tower(given, "text_config", _TABLES["text"], path)
    vision = _tower(given, "vision_config", _TABLES["vision"], path)
    activation = text["hidden_act"]
    if activation not in ACTIVATIONS or vision["hidden_act"] != activation:
        raise ValueError(
            f"{path}: hidden_act is {activation!r} in the text tower and {vision['hidden_act']!r} in the image tower; both "
            f"must be the same of {', '.join(ACTIVATIONS)}"
        )
    vocabulary = len(clip_tokenizer().encoder)
    if text["vocab_size"] < vocabulary:
        raise ValueError(
            f"{path}: vocab_size is {text['vocab_size']}; CLIP's tokenizer has {vocabulary} tokens"
        )
    end = clip_tokenizer().eot_token_id
    if text["eos_token_id"] not in (_HIGHEST_ID, end):
        raise ValueError(
            f"{path}: eos_token_id is {text['eos_token_id']}; prompts need CLIP's end token, {end}"
        )
    embed_dim = given.get("projection_dim", 512)
    _check_number(embed_dim, int, f"{path}: projection_dim")
    text_cfg = {
        "context_length": text["max_position_embeddings"],
        "vocab_size": text["vocab_size"],
        "heads": text["num_attention_heads"],
    }
    vision_cfg = {
        "image_size": vision["image_size"],
        "patch_size": vision["patch_size"],
        "head_width": vision["hidden_size"] // vision["num_attention_heads"],
    }
    return {
        "embed_dim": embed_dim,
        "quick_gelu": activation == "quick_gelu",
        "vision_cfg": vision_cfg | _common(vision),
        "text_cfg": text_cfg | _common(text),
    }


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file with transformers' names, or of the shards that an
    index lists, under open_clip's names.
    """
    if path.name.endswith(".index.json"):
        state = _read_shards(path)
    else:
        state = read_state_dict(path)
    renamed = {}
    for name, value in state.items():
        if _JOINED.search(name):
            continue
        if ".self_attn.q_proj." in name:
            parts = [name.replace(".q_proj.", f".{letter}_proj.") for letter in "qkv"]
            if not state.keys() >= set(parts):
                raise ValueError(
                    f"{path} does not fit the architecture: beside {name} the keys or values are missing"
                )
            name = name.replace(".self_attn.q_proj.", ".attn.in_proj_")
            value = torch.cat([state[part] for part in parts])
        elif name in ("text_projection.weight", "visual_projection.weight"):
            value = value.T.contiguous()
        for old, new in _TABLES["names"].items():
            name = name.replace(old, new)
        renamed[name] = value
    return renamed


def weights_of(folder: Path) -> Path:
    """Return the weights in a folder with a config.json: a file, or the index of
    shards. Raises FileNotFoundError.
    """
    names = [*WEIGHTS, *(f"{name}.index.json" for name in WEIGHTS)]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"{folder} holds {CONFIG}, but no weights: {' or '.join(WEIGHTS)}"
    )


def read_preprocessing(folder: Path, size: int) -> dict:
    """Return mean, std and interpolation of a folder's preprocessor_config.json as far
    as it states them, {} without one.

    size: the image tower's, in pixels. Raises ValueError if the file says another, or a
        part that cannot be followed.
    """
    path = folder / PREPROCESSING
    if not path.is_file():
        return {}
    given = read_json(path)
    if not isinstance(given, dict):
        raise ValueError(f"{path} holds no settings of an image processor")
    _check_size(given, size, path)
    factor = given.get("rescale_factor", 1 / 255)
    if (
        not given.get("do_rescale", True)
        or not isinstance(factor, float)
        or abs(factor * 255 - 1) > 1e-3
    ):
        raise ValueError(
            f"{path}: images must be rescaled by 1/255 (do_rescale, rescale_factor)"
        )
    resample = given.get("resample", 3)
    if not isinstance(resample, int) or resample not in _RESAMPLE:
        raise ValueError(
            f"{path}: resample is {str(resample)[:20]}; known are 0 (nearest), 2 (bilinear), 3 (bicubic)"
        )
    chosen: dict[str, Any] = {"interpolation": _RESAMPLE[resample]}
    if not given.get("do_normalize", True):
        return chosen | {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    for name, least in (("mean", -1e6), ("std", 1e-6)):
        if f"image_{name}" in given:
            where, values = f"{path}: image_{name}", given[f"image_{name}"]
            chosen[name] = _three_numbers(values, where, least)
    return chosen


def _check_size(given: dict, size: int, path: Path):
    key = "size"
    if given.get("do_center_crop", True) and "crop_size" in given:
        key = "crop_size"
    stated = given.get(key, size)
    sides = [stated]
    if isinstance(stated, dict):
        sides = list(stated.values())
    if any(side != size for side in sides):
        raise ValueError(
            f"{path}: {key} is {json.dumps(stated)[:60]}; the image tower takes {size} pixels"
        )


def _three_numbers(values: object, where: str, least: float) -> tuple[float, ...]:
    if not isinstance(values, list) or len(values) != 3:
        raise ValueError(f"{where} is no list of three numbers")
    for value in values:
        _check_number(value, float, where, least)
    return tuple(values)


def check_tokenizer(folder: Path) -> None:
    """Raise ValueError naming a tokenizer file of the folder if its tokens are not
    CLIP's.
    """
    expected = {}
    for token, number in clip_tokenizer().encoder.items():
        # special tokens have other names here and there
        if number not in clip_tokenizer().all_special_ids:
            expected[token] = number
    for name in TOKENIZERS:
        path = folder / name
        if not path.is_file():
            continue
        message = (
            f"{path}: its tokens are not those of CLIP's tokenizer, which prompts need"
        )
        tokens = read_json(path)
        if name == "tokenizer.json" and isinstance(tokens, dict):
            tokens = tokens.get("model", {}).get("vocab")
        if not isinstance(tokens, dict):
            raise ValueError(message)
        for token, number in expected.items():
            found = tokens.get(token)
            if found != number:
                raise ValueError(f"{message}: {token!r} is {found}, not {number}")


def _tower(given: dict, key: str, defaults: dict, path: Path) -> dict:
    """Return a tower's values, with transformers' defaults."""
    # as in transformers, older files' name goes first
    values = given.get(f"{key}_dict") or given.get(key) or {}
    if not isinstance(values, dict):
        raise ValueError(f"{path}: {key} is no set of values")
    found = {}
    for name, default in defaults.items():
        value = values.get(name, default)
        if name == "hidden_act":
            value = str(value)[:40]
        else:
            _check_number(value, type(default), f"{path}: {key}.{name}")
        found[name] = value
    width, heads = found["hidden_size"], found["num_attention_heads"]
    if width % heads:
        raise ValueError(
            f"{path}: {key}.hidden_size {width} is no multiple of num_attention_heads {heads}"
        )
    return found


def _check_number(value: Any, kind: type, where: str, least: float | None = None):
    """Raise ValueError unless a value is an int, or a `kind`, of at least `least`."""
    noun, lowest = "whole number", 1.0
    if kind is float:
        noun, lowest = "number", 0.0
    if least is not None:
        lowest = least
    is_number = isinstance(value, (int, kind)) and not isinstance(value, bool)
    if not is_number or not lowest <= value < 1e9:
        raise ValueError(
            f"{where} is {str(value)[:40]!r}; a {noun} of at least {lowest:g} is needed"
        )


def _common(tower: dict) -> dict:
    """Return the values that open_clip's configurations of both towers hold."""
    width = tower["hidden_size"]
    values = {
        "width": width,
        "layers": tower["num_hidden_layers"],
        # open_clip takes the whole part of width x ratio
        "mlp_ratio": (tower["intermediate_size"] + 0.5) / width,
    }
    if tower["layer_norm_eps"] != 1e-5:
        values["norm_kwargs"] = {"eps": tower["layer_norm_eps"]}
    return values


def _read_shards(index: Path) -> dict[str, Tensor]:
    content = read_json(index)
    files = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(files, dict) or not all(
        isinstance(name, str) for name in files.values()
    ):
        raise ValueError(f"{index} holds no weight_map from tensors to files")
    state: dict[str, Tensor] = {}
    for name in sorted(set(files.values())):
        if Path(name).name != name:
            raise ValueError(f"{index}: {name[:80]!r} is no file beside it")
        state |= read_state_dict(index.parent / name)
    return state
