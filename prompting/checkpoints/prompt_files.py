"""Prompts in files: safetensors with the learnt tensors, and what is needed to use them as readable metadata."""

import json
import os
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from prompting.prompts import Prompt, build_prompt
from prompting.shape import check_fits

__all__ = ["check_fits", "load_prompts", "load_state", "save_prompts"]

_CONFIG = "config"
_MOST = 100_000  # of any number in a configuration


def save_prompts(path: str | Path, prompt: Prompt, metadata: dict | None = None) -> None:
    """Write the prompt's tensors in float32, its `config()` and `metadata` (JSON values), whole or not at all.

    Usual metadata: method, backbone, preprocessing. Raises ValueError for the reserved name "config".
    """
    metadata = dict(metadata or {})
    if _CONFIG in metadata:
        raise ValueError(f"the metadata name {_CONFIG!r} is taken by the prompt's configuration")
    strings = {key: _encode(value) for key, value in metadata.items()}
    strings[_CONFIG] = json.dumps(prompt.config())
    tensors = {name: value.detach().float().cpu().contiguous() for name, value in prompt.state_dict().items()}
    write_whole(Path(path), _in_order(save(tensors, metadata=strings)))


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file whole or not at all, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_prompts(path: str | Path) -> tuple[Prompt, dict]:
    """The prompt module in `path`, on the CPU, and its metadata.

    Raises FileNotFoundError, or ValueError when the file is no safetensors file, lacks its configuration or does
    not fit it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no prompts at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            strings = dict(file.metadata() or {})
            state = {name: file.get_tensor(name) for name in file.keys()}
    except Exception as error:  # noqa: BLE001 - safetensors has its own kind of error
        raise ValueError(f"{path} is no safetensors file: {error}") from error
    if _CONFIG not in strings:
        raise ValueError(f"{path} holds no prompt: its metadata lacks {_CONFIG!r}")
    try:
        config = json.loads(strings.pop(_CONFIG))
        _check_config(config)
        with torch.device("meta"):  # nothing is allocated before the sizes that it states are those of the tensors
            _check_state(build_prompt(config), state)
        prompt = build_prompt(config)
        load_state(prompt, state)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: {error}") from error
    return prompt, {key: _decode(value) for key, value in strings.items()}


def load_state(prompt: Prompt, state: dict[str, Tensor]) -> None:
    """Copy `state` into the prompt, all of it or, with a ValueError that says what differs, nothing."""
    _check_state(prompt, state)
    prompt.load_state_dict(state)


def _check_config(config: object) -> None:
    """A configuration is read from a file of anyone's: an object with numbers that a prompt can have."""
    if not isinstance(config, dict):
        raise ValueError(f"its metadata {_CONFIG!r} is no object")
    for name, value in config.items():
        if isinstance(value, dict):
            _check_config(value)
        elif isinstance(value, (int, float)) and not abs(value) <= _MOST:
            raise ValueError(f"its metadata {_CONFIG!r} has {name} {str(value)[:20]}; {_MOST:,} is the most")


def _check_state(prompt: Prompt, state: dict[str, Tensor]) -> None:
    expected = prompt.state_dict()
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    problems = []
    if missing or unexpected:
        problems.append(f"tensors of another method (missing: {_list(missing)}; unexpected: {_list(unexpected)})")
    for name in expected:
        if name in state and state[name].shape != expected[name].shape:
            problems.append(_shapes(name, tuple(state[name].shape), tuple(expected[name].shape)))
    if problems:
        raise ValueError(f"the stored prompt does not fit this {prompt.kind!r} prompt: {'; '.join(problems)}")


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its metadata in alphabetical order: the same prompt is the same bytes."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


def _shapes(name: str, stored: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """What differs, in the words of the field where the tensor is one of ours."""
    tensor = name.rpartition(".")[2]
    axes = {
        "ctx": "classes n_ctx width",
        "embeddings": "layers n_ctx width",
        "embeddings_deep": "layers-1 n_ctx width",
    }
    if tensor not in axes:
        return f"{name} is {stored}, not {wanted}"
    if len(stored) != len(wanted):
        kinds = {2: "shared by all classes", 3: "class-specific"}
        return f"{name} is {kinds.get(len(stored), stored)}, not {kinds.get(len(wanted), wanted)}"
    names = axes[tensor].split()[-len(stored) :]
    pairs = zip(names, stored, wanted, strict=True)
    return f"{name} has " + ", ".join(f"{axis} {a}, not {b}" for axis, a, b in pairs if a != b)


def _encode(value: object) -> str:
    """Plain strings as they are, everything else as JSON."""
    return value if isinstance(value, str) and _decode(value) == value else json.dumps(value)


def _decode(value: str) -> object:
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _list(names: list[str]) -> str:
    return ", ".join(names) or "none"
