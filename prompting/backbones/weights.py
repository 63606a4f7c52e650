"""Weights of CLIP models in files, and the model that a file in OpenAI's layout
implies.
"""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prompting.backbones.torchscript import is_torchscript, read_torchscript
from prompting.checkpoints.tensors import check_finite, check_sizes
from toolkit.common import unpickle
from toolkit.common.files import require_data
from toolkit.common.structured import read_yaml
from toolkit.common.text import first_line, some

if TYPE_CHECKING:
    from open_clip import CLIP

logger = logging.getLogger(__name__)

SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".ckpt")
AS_WEIGHTS = (
    "give the architecture's name as the backbone (--backbone ViT-B-32) and the file as its weights "
    "(MODEL.BACKBONE.PRETRAINED FILE of train.py, --pretrained FILE of predict)"
)
# numbers beside the weights in OpenAI's archives
_SIZES = ("input_resolution", "context_length", "vocab_size")
_LAYOUT = read_yaml(Path(__file__).with_name("openai.yaml"))
# of open_clip's class CLIP, after the "text." that models with a tower of timm have
_TEXT_TOWER = (
    "text.text_projection",
    "text.positional_embedding",
    "text.token_embedding.",
    "text.transformer.",
    "text.ln_final.",
)
_PREFIXES = ("visual.", "transformer.resblocks.", "token_embedding.", "ln_final.")
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_PREFIXES_OF_WRAPPERS = ("module.", "_orig_mod.", "model.")
_MAX_CONTEXT = 4096  # tokens; the causal mask has their square
_NO_MODEL = (RuntimeError, TypeError, ValueError, ArithmeticError, AssertionError)
# Widths of open_clip's towers whose heads are not 64 wide
_OTHER_HEADS = {1280: "ViT-H-14", 1408: "ViT-g-14", 1664: "ViT-bigG-14"}


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Return the tensors, on the CPU, of a .safetensors file, a pickled state dict,
    bare or under a key such as "state_dict", or a TorchScript archive, without prefixes
    that wrappers give all names ("module.", "_orig_mod.", "clip."). Raises
    FileNotFoundError, or ValueError for another file or tensors beyond its size.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    require_data(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return _without_prefixes(load_file(path))
        if is_torchscript(path):
            tensors = read_torchscript(path)
            check_sizes(tensors, "it")
            return tensors
        unpickle.check(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    # KeyError: an unknown opcode
    except (pickle.UnpicklingError, KeyError, EOFError) as error:
        raise ValueError(
            f"{path} cannot be read as a checkpoint: it is damaged, or holds more than tensors"
        ) from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a checkpoint: {error}") from error
    except Exception as error:  # noqa: BLE001 - every reader has its own kinds of errors
        what = f"{type(error).__name__}: {first_line(error)}"
        raise ValueError(f"{path} cannot be read as a checkpoint ({what})") from error
    state = _unwrapped(content)
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no state dict of tensors")
    for name, value in state.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            keys = [str(key)[:40] for key in state]
            raise ValueError(
                f"{path} holds no state dict of tensors; its keys are {some(keys)}"
            )
    check_sizes(state, path)
    return _without_prefixes(dict(state))


def _unwrapped(content):
    """Return the state dict that a training program stores under up to two names."""
    for _ in range(2):
        for key in _WRAPPERS:
            if isinstance(content, dict) and isinstance(content.get(key), dict):
                content = content[key]
                break
    return content


def _without_prefixes(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors without prefixes of wrappers, or before the temperature."""
    owned = [name for name in state if name.endswith(".logit_scale")]
    if len(owned) == 1:
        state = _without_prefix(state, owned[0].removesuffix("logit_scale"))
    before = None
    while before is not state:
        before = state
        for prefix in _PREFIXES_OF_WRAPPERS:
            state = _without_prefix(state, prefix)
    return state


def _without_prefix(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors without a prefix if all of them have it, else as they are."""
    if not state or not all(name.startswith(prefix) for name in state):
        return state
    return {name.removeprefix(prefix): value for name, value in state.items()}


def _without_text_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    renamed = {}
    for name, value in state.items():
        if name.startswith(_TEXT_TOWER):
            name = name.removeprefix("text.")
        renamed[name] = value
    return renamed


def has_openai_sizes(state: dict[str, Tensor]) -> bool:
    """Return True if the sizes are those of OpenAI's archives, which use QuickGELU."""
    return all(name in state for name in _SIZES)


def build_from_openai_layout(state: dict[str, Tensor], source: str) -> CLIP:
    """Return the float32 CLIP of these tensors: sizes from their shapes, heads 64 wide
    and QuickGELU, as OpenAI's. Raises ValueError naming `source` and wrong keys.
    """
    if any(name.startswith(("text_model.", "vision_model.")) for name in state):
        raise ValueError(
            f"{source} has the names of transformers' CLIPModel: put its config.json beside it, or give the folder of the "
            "model that it was trained from as the backbone and the file as its pretrained weights"
        )
    state = _without_text_prefix(state)
    needed = _LAYOUT["needed"]
    missing = [name for name in needed if name not in state]
    others = [name for name in state if not name.startswith(_PREFIXES)]
    unexpected = [name for name in others if name not in {*needed, *_SIZES}]
    if missing or unexpected:
        advice = "it holds no CLIP, which has an image and a text tower"
        if any(name.startswith("visual.") for name in state):
            advice = f"for weights of an open_clip architecture {AS_WEIGHTS}"
        raise ValueError(
            f"{source} is not in OpenAI's layout: missing keys {some(missing)}; unexpected keys {some(unexpected)}; "
            f"{advice}"
        )
    config = openai_config(state, source)
    if not has_openai_sizes(state):
        logger.warning(
            "%s: taken for OpenAI's, with QuickGELU. For weights trained with GELU %s",
            *(source, AS_WEIGHTS),
        )
    return build(config, state, source)


def openai_config(state: dict[str, Tensor], source: str) -> dict:
    """Return the open_clip configuration that tensors in OpenAI's layout imply. Raise
    ValueError if they imply none.
    """
    for name, count in _LAYOUT["dimensions"].items():
        if name not in state:
            continue
        shape = tuple(state[name].shape)
        if len(shape) != count or 0 in shape:
            raise ValueError(
                f"{source}: {name} has the shape {shape}; it should have {count} dimensions"
            )
    text_width = state["ln_final.weight"].shape[0]
    widths = {"text": text_width}
    if "visual.positional_embedding" in state:
        vision = _vit_config(state, source)
        widths = {"image": vision["width"], "text": text_width}
    else:
        vision = _resnet_config(state, source)
    if vision["width"] in _OTHER_HEADS:
        raise ValueError(
            f"{source} has the width of {_OTHER_HEADS[vision['width']]}, whose heads are not OpenAI's: {AS_WEIGHTS}"
        )
    for tower, width in widths.items():
        if width % 64:
            raise ValueError(
                f"{source}: the {tower} width {width} is no multiple of 64, the width of OpenAI's heads"
            )
    text_layers = _count(state, "transformer.resblocks.")
    if not text_layers:
        raise ValueError(f"{source}: its text tower has no layers")
    return {
        "embed_dim": state["text_projection"].shape[1],
        "quick_gelu": True,
        "vision_cfg": vision,
        "text_cfg": {
            "context_length": state["positional_embedding"].shape[0],
            "vocab_size": state["token_embedding.weight"].shape[0],
            "width": text_width,
            "heads": text_width // 64,
            "layers": text_layers,
        },
    }


def build(config: dict, state: dict[str, Tensor], source: str) -> CLIP:
    """Return an open_clip CLIP of this configuration with these tensors, in float32.
    Raises ValueError naming missing and unexpected keys and tensors of other shapes.
    """
    config = dict(config)
    config.pop("custom_text", None)
    state = _as_in_clip(state)
    _check_config(config, state, source)
    # timm computes with values while it builds
    is_timm = "timm_model_name" in config["vision_cfg"]
    with torch.device("cpu" if is_timm else "meta"):  # in which nothing is allocated
        clip = _construct(config, source)
    _check_keys(state, clip.state_dict(), source)
    check_finite(state, source)
    if not is_timm:
        clip = _construct(config, source)
    state = {name: value.float() for name, value in state.items()}
    clip.load_state_dict({**clip.state_dict(), **state})
    return clip


def _check_keys(state: dict[str, Tensor], expected: dict[str, Tensor], source: str):
    missing = [
        name
        for name in expected
        if name not in state and not name.endswith("num_batches_tracked")
    ]
    unexpected = [name for name in state if name not in expected]
    shapes = []
    for name, value in state.items():
        if name not in expected:
            continue
        wanted = expected[name]
        if wanted.is_floating_point() and not value.is_floating_point():
            kind = str(value.dtype).removeprefix("torch.")
            raise ValueError(
                f"{source}: {name} holds {kind}; quantised weights cannot be used"
            )
        if value.shape != wanted.shape:
            shapes.append(f"{name} {tuple(value.shape)}, not {tuple(wanted.shape)}")
    if missing or unexpected or shapes:
        raise ValueError(
            f"{source} does not fit the architecture: missing keys {some(missing)}; "
            f"unexpected keys {some(unexpected)}; other shapes {some(shapes)}"
        )


def _as_in_clip(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as open_clip's CLIP names and shapes them, without OpenAI's sizes."""
    found = {}
    for name, value in _without_text_prefix(state).items():
        if name in ("logit_scale", "logit_bias") and value.shape == (1,):
            value = value[0]
        if name not in _SIZES:
            found[name] = value
    return found


def _check_config(config: dict, state: dict[str, Tensor], source: str) -> None:
    """Raise ValueError if an untrusted configuration has too many layers or tokens."""
    for tower in ("vision_cfg", "text_cfg"):
        layers = config[tower].get("layers", 0)
        if isinstance(layers, list | tuple):
            layers = sum(layers)
        if layers > len(state):
            raise ValueError(
                f"{source}: its {tower} has {layers} layers, but the file holds {len(state)} tensors"
            )
    length = config["text_cfg"].get("context_length", 0)
    if length > _MAX_CONTEXT:
        raise ValueError(
            f"{source}: its text tower reads {length} tokens; {_MAX_CONTEXT} is the most"
        )


def _construct(config: dict, source: str) -> CLIP:
    """Return a new CLIP. Raises ValueError if a configuration describes none."""
    from open_clip import CLIP

    try:
        return CLIP(**config)
    except _NO_MODEL as error:
        raise ValueError(
            f"{source}: its configuration describes no model: {first_line(error)}"
        ) from error


def _vit_config(state: dict[str, Tensor], source: str) -> dict:
    width, _, patch, _ = state["visual.conv1.weight"].shape
    grid = round((state["visual.positional_embedding"].shape[0] - 1) ** 0.5)
    layers = _count(state, "visual.transformer.resblocks.")
    if not layers:
        raise ValueError(f"{source}: its image tower has no layers")
    return {
        "layers": layers,
        "width": width,
        "patch_size": patch,
        "image_size": patch * grid,
    }


def _resnet_config(state: dict[str, Tensor], source: str) -> dict:
    position = state.get("visual.attnpool.positional_embedding")
    if position is None or "visual.layer1.0.conv1.weight" not in state:
        raise ValueError(
            f"{source} is not in OpenAI's layout: it has neither visual.positional_embedding nor visual.attnpool"
        )
    layers = [_count(state, f"visual.layer{stage}.") for stage in (1, 2, 3, 4)]
    if 0 in layers:
        raise ValueError(f"{source}: stage {layers.index(0) + 1} of its tower is empty")
    width = state["visual.layer1.0.conv1.weight"].shape[0]
    return {
        "layers": layers,
        "width": width,
        "image_size": 32 * round((position.shape[0] - 1) ** 0.5),
    }


def _count(state: dict[str, Tensor], prefix: str) -> int:
    numbers = {
        name[len(prefix) :].split(".")[0] for name in state if name.startswith(prefix)
    }
    return len(numbers)
