"""Checkpoints of official implementations: `<run>/prompt_learner/model-best.pth.tar`,
`model.pth.tar-<epoch>`. CoOp, CoCoOp (its context), KgCoOp, ProGrad, IVLP, MaPLe,
PromptSRC and the reference MVLPT. They are dicts of state_dict, epoch and pickled
objects; only tensors and plain values are read (`toolkit.common.unpickle`).
"""

import io
import json
import logging
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prompting.checkpoints import reference
from prompting.checkpoints.prompt_files import load_prompts, prompt_of, save_prompts
from prompting.checkpoints.reference import BUFFERS, prompt_from_reference
from prompting.checkpoints.tensors import check_finite, check_sizes
from prompting.prompts import POSITIONS, Prompt, TextPrompt
from prompting.unified import UnifiedPrompt
from toolkit.common.files import write_bytes
from toolkit.common.text import naming
from toolkit.common.unpickle import read

logger = logging.getLogger(__name__)

# maps an image to a change of the context (CoCoOp) or class features to vectors (TCP)
_NET = "meta_net."
_KGCOOP_UNUSED = "bias_vectors"
# CLIP's weights
_FROZEN = ("image_encoder.", "text_encoder.", "ZS_image_encoder.", "logit_scale")
_LEARNED = ("vpt_", "mvlpt_", "upt_", "cocoop_", "compound_", _KGCOOP_UNUSED, _NET)
_OFFICIAL = _LEARNED + BUFFERS + _FROZEN
# methods whose class name is at the end
_AT_THE_END = ("KgCoOp", "CoCoOp", "IVLP", "MaPLe")
# the entry of a run's checkpoint with the metadata of its prompt, as JSON
RECORD = "prompt"
# of IVLP, MaPLe and PromptSRC: the vectors replace the first of them
_WORDS = ("a", "photo", "of", "a")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's prompt."""

    path: str
    state: dict[str, Tensor]  # float32, without frozen weights and those of class names
    foreign: bool  # the names are an official implementation's
    method: str = ""  # "KgCoOp", "IVLP" (and PromptSRC), "MaPLe" or "CoCoOp", if known
    fixed_words: str = ""  # between the vectors and the class name
    epoch: int | None = None  # as stored, as is the next
    val_result: float | None = None
    # of our runs: the metadata of prompts.safetensors, and the prompt's `config`
    record: dict = field(default_factory=dict)

    def prompt_state(self) -> dict[str, Tensor]:
        """Return the state under the names of our prompt modules; of CoCoOp its context
        alone, see `left_out`. Raises ValueError naming keys that belong to no prompt.
        """
        if not self.foreign:
            return self.state
        with naming(self.path):
            return reference.rename(self.unconditional())

    @property
    def left_out(self) -> str:
        """Return a sentence about the tensors that `prompt_state` leaves out, or ""."""
        net = [name for name in self.state if name.startswith(_NET)]
        if not net:
            return ""
        return f"{Path(self.path).name} is CoCoOp's: its context is read without {', '.join(net)}"

    @property
    def position(self) -> str | None:
        """Return the class name's position, if method or path state it, or None."""
        if "ctx" not in self.state:
            return None
        if self.method in _AT_THE_END:
            return "end"
        found = position_in(os.path.abspath(self.path))
        if found is None and "vpt_embeddings" in self.state:
            # of the reference MVLPT, the only one whose prompts have both
            return "middle"
        return found

    def unconditional(self) -> dict[str, Tensor]:
        """Return the state as stored, without CoCoOp's net."""
        names = [name for name in self.state if not name.startswith(_NET)]
        return {name: self.state[name] for name in names}

    def describe(self) -> str:
        """Return the prompt in words; empty if its names do not tell."""
        try:
            return prompt_from_reference(self.unconditional()).describe()
        except ValueError:
            return ""

    @property
    def per_token(self) -> bool:
        """Return True if the reference's θ treated each vector by itself."""
        return self.foreign and any(
            name.startswith("mvlpt_proj.") for name in self.state
        )


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Return the prompt in an untrusted checkpoint; nothing of its pickle is executed.
    Raises FileNotFoundError, or ValueError naming a file without tensors.
    """
    content = read(path)
    record = _record(content, path)
    tensors = _state_tensors(content, path)
    foreign = any(name.startswith(_OFFICIAL) for name in tensors)
    state = {name: tensors[name] for name in tensors if not _is_frozen(name)}
    check_finite(state, path)
    _, suffix = [state.pop(name, None) for name in BUFFERS]
    is_cocoop = "cocoop_ctx" in state  # of the reference MVLPT
    if is_cocoop:
        if "ctx" in state:
            raise ValueError(
                f"{path} holds both ctx and cocoop_ctx: which of them was used is unknown"
            )
        state["ctx"] = state.pop("cocoop_ctx")
    method = _method(state, path) or ("CoCoOp" if is_cocoop else "")
    fixed_words = ""
    if method in ("IVLP", "MaPLe"):
        fixed_words = _fixed_words(state["ctx"], suffix)
    if method == "KgCoOp":
        state = {"ctx": state["ctx"]}
    found = Checkpoint(str(path), state, foreign, method, fixed_words, record=record)
    epoch = content.get("epoch")
    if isinstance(epoch, int):
        found = replace(found, epoch=epoch)
    value = content.get("val_result")
    if isinstance(value, int | float):
        found = replace(found, val_result=float(value))
    return found


def _record(content: object, path: str | Path) -> dict:
    """Return the record of the prompt in a checkpoint of our runs, or {}."""
    text = content.get(RECORD) if isinstance(content, dict) else None
    if text is None:
        return {}
    try:
        record = json.loads(text)
    except (TypeError, ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        raise ValueError(f"{path}: its entry {RECORD!r} is damaged")
    return record


def _state_tensors(content: Any, path: str | Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint's state dict in float32."""
    state = content
    if isinstance(content, dict):
        state = content.get("state_dict", content)
    is_named = isinstance(state, dict) and all(isinstance(name, str) for name in state)
    if not is_named or not state:
        raise ValueError(f"{path} holds no state dict")
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{path}: {name} in its state dict is no tensor")
    check_sizes(state, path)
    tensors = {}
    for name, value in state.items():
        tensors[reference.current_name(name)] = value.float().clone()
    return tensors


def _is_frozen(name: str) -> bool:
    return name.startswith(_FROZEN) and "VPT" not in name


def _method(state: dict[str, Tensor], path: str | Path) -> str:
    """Return the method that the names tell, or "". Raises ValueError for others."""
    of_mmrl = ("representation_learner.", "compound_rep_tokens")
    if any(name.startswith(of_mmrl) for name in state):
        raise ValueError(f"{path} is MMRL's; representation tokens are not supported")
    if reference.is_maple(state):
        return "MaPLe"
    if reference.is_ivlp(state):
        return "IVLP"
    if _KGCOOP_UNUSED in state and "ctx" in state:
        return "KgCoOp"
    last = state.get(f"{_NET}linear2.weight")
    if last is None or "ctx" not in state:
        return ""
    if len(last) != state["ctx"].shape[-1]:
        raise ValueError(f"{path} is TCP's; its class-aware vectors are not supported")
    return "CoCoOp"


def _fixed_words(ctx: Tensor, suffix: Tensor | None) -> str:
    """Return the words after fewer vectors than words, which begin all suffixes."""
    words = _WORDS[len(ctx) :]
    if suffix is not None and len(suffix) > 1 and words:
        start = suffix[:, : len(words)]
        if not torch.equal(start, start[:1].expand_as(start)):
            return ""
    return " ".join(words)


def checkpoint_path(directory: str | Path, epoch: int | None = None) -> str:
    """Return the checkpoint below a run's folder: of `epoch`, or the best one, or the
    last one. Raises FileNotFoundError naming those that are there.
    """
    folder = os.path.join(directory, "prompt_learner")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    present = sorted(name for name in names if name.startswith("model"))
    wanted = "model-best.pth.tar" if epoch is None else f"model.pth.tar-{epoch}"
    if wanted in present:
        return os.path.join(folder, wanted)
    numbered = re.compile(r"model\.pth\.tar-(\d+)").fullmatch
    found = filter(None, map(numbered, present))
    epochs = [int(match[1]) for match in found]
    if epoch is None and epochs:
        return os.path.join(folder, f"model.pth.tar-{max(epochs)}")
    message = f"no checkpoint {os.path.join(folder, wanted)}"
    if present:
        message += f"; there are {', '.join(present)}"
    raise FileNotFoundError(message)


def position_in(path: str | Path) -> str | None:
    """Return the class name's position as the names of CoOp's run folders state it
    (`nctx16_cscFalse_ctpend`), or None.
    """
    found = re.findall(rf"ctp({'|'.join(POSITIONS)})(?=[/\\_]|$)", str(path))
    return found[-1] if found else None


def read_prompt(
    path: str | Path, position: str | None = None, load_epoch: int | None = None
) -> tuple[Prompt, dict]:
    """Return the prompt, and its metadata, in a checkpoint, a run's folder or a
    prompts.safetensors. position: of the class name, if the file lacks it; by default
    as method or path state. Raises FileNotFoundError, or ValueError if it is not known
    or contradicts the method.
    """
    path = Path(path)
    if path.is_dir():
        prompts = path / "prompts.safetensors"
        if prompts.is_file() and load_epoch is None:
            path = prompts
        else:
            path = Path(checkpoint_path(path, load_epoch))
    if path.suffix == ".safetensors":
        prompt, metadata = load_prompts(path)
        check_position(prompt, position, path)
        return prompt, metadata
    return _prompt_of(read_checkpoint(path), position)


def _prompt_of(checkpoint: Checkpoint, position: str | None) -> tuple[Prompt, dict]:
    if checkpoint.left_out:
        logger.warning("%s", checkpoint.left_out)
    config = recorded_config(checkpoint)
    if checkpoint.foreign or ("ctx" in checkpoint.state and not config):
        prompt = _foreign_prompt(checkpoint, position)
    elif not config:
        raise ValueError(
            f"{checkpoint.path} is a run's checkpoint, which lacks the prompt's configuration: give the run's folder"
        )
    else:
        with naming(checkpoint.path):
            prompt = prompt_of(config, checkpoint.state)
        check_position(prompt, position, checkpoint.path)
    metadata = {
        key: value for key, value in checkpoint.record.items() if key != "config"
    }
    if checkpoint.epoch is not None:
        metadata["epoch"] = checkpoint.epoch
    if checkpoint.val_result is not None:
        metadata["val_result"] = checkpoint.val_result
    return prompt, metadata


def recorded_config(checkpoint: Checkpoint) -> dict:
    """Return the configuration of a run's prompt, {} if its files have none."""
    if checkpoint.record:
        return checkpoint.record["config"]
    prompts = Path(checkpoint.path).absolute().parent.parent / "prompts.safetensors"
    if checkpoint.foreign or not prompts.is_file():
        return {}
    return load_prompts(prompts)[0].config()


def check_position(prompt: Prompt, position: str | None, path: str | Path) -> None:
    """Raise ValueError if a given position of the class name is not the prompt's."""
    if prompt.kind != "visual" and position not in (None, prompt.position):
        raise ValueError(
            f"{path}: its class name is at the position {prompt.position!r}, not {position!r}"
        )


def _foreign_prompt(checkpoint: Checkpoint, position: str | None) -> Prompt:
    known, path = checkpoint.position, checkpoint.path
    if checkpoint.method in _AT_THE_END and position not in (None, "end"):
        raise ValueError(
            f"{path} is {checkpoint.method}'s: its class name is at the end, not at {position!r}"
        )
    with naming(path):
        state = checkpoint.unconditional()
        prompt = prompt_from_reference(
            state, position or known or "middle", fixed_words=checkpoint.fixed_words
        )
    if "ctx" in checkpoint.state and not (position or known):
        raise ValueError(
            f"{path}: neither its tensors nor its folder's name tell where the class name is; give the position "
            f"(--position: {', '.join(POSITIONS)}), as it was in training"
        )
    return prompt


def convert(
    source: str | Path,
    target: str | Path,
    position: str | None = None,
    load_epoch: int | None = None,
    metadata: dict | None = None,
) -> str:
    """Write the prompt at `source` (see `read_prompt`) to `target`, .safetensors (with
    further `metadata`) or a checkpoint for the official `load_model` (.tar, .pth, .pt,
    .pth.tar-<epoch>), and return its description. Raises ValueError for other names,
    and for a prompt that the reference would compute differently.
    """
    target = Path(target)
    is_checkpoint = re.search(r"\.(tar|pth|pt|tar-\d+)$", target.name)
    if target.suffix != ".safetensors" and not is_checkpoint:
        raise ValueError(
            f"{target} is neither .safetensors nor .pth.tar: its ending says what is written"
        )
    prompt, known = read_prompt(source, position, load_epoch)
    description = prompt.describe()
    if isinstance(prompt, TextPrompt | UnifiedPrompt):
        description += f", class name at the {prompt.position}"
    if target.suffix == ".safetensors":
        save_prompts(target, prompt, known | (metadata or {}))
        return description
    with naming(source):
        state = reference.to_reference(prompt)
        content = {"state_dict": state, "epoch": int(known.get("epoch") or 0)}
    if isinstance(known.get("val_result"), float):
        content["val_result"] = known["val_result"]
    file = io.BytesIO()
    torch.save(content, file)
    write_bytes(target, file.getbuffer())
    return description
