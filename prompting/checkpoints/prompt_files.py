"""Prompts in files: safetensors with the learned tensors, and the settings for their
use as readable metadata.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from prompting.checkpoints.tensors import check_finite
from prompting.prompts import Prompt, build_prompt
from toolkit.common.files import require_data, write_bytes

_CONFIG, _CHECKSUM = "config", "checksum"
_MAX_NUMBER = 100_000  # in a configuration
_AXES = {  # of the tensors of prompts, from the last
    "ctx": ("classes", "n_ctx", "width"),
    "embeddings": ("layers", "n_ctx", "width"),
    "embeddings_deep": ("layers-1", "n_ctx", "width"),
}


def save_prompts(
    path: str | Path, prompt: Prompt, metadata: dict | None = None
) -> None:
    """Write the prompt's tensors in float32, `config()`, `metadata` (JSON values, such
    as method and backbone) and a checksum, whole or not at all. Raises ValueError for
    the reserved names "config" and "checksum".
    """
    metadata = dict(metadata or {})
    for name in (_CONFIG, _CHECKSUM):
        if name in metadata:
            raise ValueError(f"the metadata name {name!r} is taken by the prompt")
    strings = {key: _encode(value) for key, value in metadata.items()}
    strings[_CONFIG] = json.dumps(prompt.config())
    tensors = {}
    for name, value in prompt.state_dict().items():
        tensors[name] = value.detach().float().cpu().contiguous()
    strings[_CHECKSUM] = _checksum(tensors)
    write_bytes(path, _in_order(save(tensors, metadata=strings)))


def load_prompts(path: str | Path) -> tuple[Prompt, dict]:
    """Return the prompt module in `path`, on the CPU, and its metadata. Raises
    FileNotFoundError, or ValueError for a file that is damaged or no prompt.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no prompts at {path}")
    require_data(path)
    try:
        with safe_open(path, framework="pt") as file:
            strings = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}
    except Exception as error:  # noqa: BLE001 - safetensors has its own kind of error
        raise ValueError(f"{path} is no safetensors file: {error}") from error
    if _CONFIG not in strings:
        raise ValueError(f"{path} holds no prompt: its metadata lacks {_CONFIG!r}")
    try:
        prompt = prompt_of(json.loads(strings.pop(_CONFIG)), state)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
    check_finite(state, path)
    if strings.pop(_CHECKSUM, None) not in (None, _checksum(state)):
        raise ValueError(f"{path} is damaged: its tensors do not fit its checksum")
    return prompt, {key: _decode(value) for key, value in strings.items()}


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return 32 hexadecimal digits over names, shapes and values."""
    total = hashlib.blake2b(digest_size=16)
    for name, value in sorted(tensors.items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        flat = value.reshape(-1).contiguous().view(torch.uint8)
        total.update(flat.numpy().tobytes())
    return total.hexdigest()


def load_state(prompt: Prompt, state: dict[str, Tensor]) -> None:
    """Copy `state` into the prompt, or raise ValueError naming the differences."""
    state = prompt.complete_state(state)
    _check_state(prompt, state)
    prompt.load_state_dict(state)


def prompt_of(config: Any, state: dict[str, Tensor]) -> Prompt:
    """Return the prompt of an untrusted configuration with these tensors."""
    check_config(config, state)
    prompt = build_prompt(config)
    load_state(prompt, state)
    return prompt


def check_config(config: object, state: dict[str, Tensor]) -> dict:
    """Return an untrusted configuration with its defaults. Raises ValueError unless it
    is that of a prompt of these tensors. Nothing is allocated.
    """
    if not isinstance(config, dict):
        raise ValueError(f"its metadata {_CONFIG!r} is no object")
    _check_sizes(config, len(state))
    with torch.device("meta"):
        prompt = build_prompt(config)
    _check_state(prompt, state)
    return prompt.config()


def _check_sizes(config: dict, tensors: int) -> None:
    """Raise ValueError for too large numbers, or more modules than a file's tensors."""
    for name, value in config.items():
        if isinstance(value, dict):
            _check_sizes(value, tensors)
        elif isinstance(value, (int, float)) and not abs(value) <= _MAX_NUMBER:
            raise ValueError(
                f"its metadata {_CONFIG!r} has {name} {str(value)[:20]}; {_MAX_NUMBER:,} is the most"
            )
    blocks = config.get("blocks")
    if isinstance(blocks, list) and len(blocks) > tensors:
        raise ValueError(
            f"its metadata {_CONFIG!r} has {len(blocks)} blocks, but the file holds {tensors} tensors"
        )
    is_mixed = config.get("kind") == "unified" and config.get("theta", "attention") in (
        "attention",
        "per-token",
    )
    if not is_mixed and config.get("kind") != "maple":
        return
    layers = config.get("layers", 1)
    if isinstance(layers, int | float) and layers > tensors:
        raise ValueError(
            f"its metadata {_CONFIG!r} has layers {layers}, but the file holds {tensors} tensors"
        )


def _check_state(prompt: Prompt, state: dict[str, Tensor]) -> None:
    expected = prompt.state_dict()
    missing = ", ".join(name for name in expected if name not in state)
    unexpected = ", ".join(name for name in state if name not in expected)
    issues = []
    if missing or unexpected:
        issues.append(
            f"tensors of another method (missing: {missing or 'none'}; unexpected: {unexpected or 'none'})"
        )
    for name, value in expected.items():
        if name in state and state[name].shape != value.shape:
            issues.append(
                _compare_shapes(name, tuple(state[name].shape), tuple(value.shape))
            )
    if issues:
        raise ValueError(
            f"the stored prompt does not fit this {prompt.kind!r} prompt: {'; '.join(issues)}"
        )


def _in_order(content: bytes) -> bytes:
    """Sort a safetensors file's metadata: the same prompt is the same bytes."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _compare_shapes(name: str, stored: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Return the differences, in the words of the field if the tensor is known."""
    axes = _AXES.get(name.rpartition(".")[2])
    if axes is None:
        return f"{name} is {stored}, not {wanted}"
    if len(stored) != len(wanted):
        kinds = {2: "shared by all classes", 3: "class-specific"}
        return f"{name} is {kinds.get(len(stored), stored)}, not {kinds.get(len(wanted), wanted)}"
    differences = []
    for axis, size, other in zip(axes[-len(stored) :], stored, wanted, strict=True):
        if size != other:
            differences.append(f"{axis} {size}, not {other}")
    return f"{name} has " + ", ".join(differences)


def _encode(value: object) -> str:
    """Return plain strings as they are, everything else as JSON."""
    if isinstance(value, str) and _decode(value) == value:
        return value
    return json.dumps(value)


def _decode(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
