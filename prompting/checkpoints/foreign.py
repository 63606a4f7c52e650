"""Checkpoints of CoOp, CoCoOp and the reference MVLPT: `<run>/prompt_learner/model-best.pth.tar`, `model.pth.tar-<epoch>`.

They are dicts of state_dict, epoch and pickled objects; only tensors and plain values are read (`toolkit.common.unpickle`).
"""

import io
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from prompting.checkpoints.prompt_files import load_prompts, save_prompts, write_whole
from prompting.checkpoints.reference import BUFFERS, describe, prompt_from_reference, rename, to_reference
from toolkit.common.unpickle import read
from prompting.prompts import POSITIONS, Prompt

logger = logging.getLogger(__name__)

_NET = "meta_net."  # CoCoOp's: what an image adds to the context
_MARKS = ("vpt_", "mvlpt_", "upt_", "cocoop_", _NET, *BUFFERS)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint's prompt.

    Attributes:
        path: the file.
        state: its tensors in float32, without those that depend on class names.
        foreign: whether the names are the reference's, CoOp's or CoCoOp's.
        epoch, val_result: as stored; None where they are not, or are no numbers.
    """

    path: str
    state: dict[str, Tensor]
    foreign: bool
    epoch: int | None = None
    val_result: float | None = None

    def prompt_state(self) -> dict[str, Tensor]:
        """The state under the names of our prompt modules. A CoCoOp checkpoint gives its context alone, see `left_out`.
        Raises ValueError naming keys that belong to no prompt."""
        if not self.foreign:
            return self.state
        try:
            return rename(self.unconditional())
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    @property
    def left_out(self) -> str:
        """A sentence about the tensors that `prompt_state` leaves out; empty where it has all."""
        net = [name for name in self.state if name.startswith(_NET)]
        return f"{Path(self.path).name} is CoCoOp's: its context is read without {', '.join(net)}" if net else ""

    def unconditional(self) -> dict[str, Tensor]:
        """The state as stored, without CoCoOp's net."""
        return {name: value for name, value in self.state.items() if not name.startswith(_NET)}

    def describe(self) -> str:
        """The prompt in words; empty where its names do not tell."""
        try:
            return describe(prompt_from_reference(self.unconditional()))
        except ValueError:
            return ""

    @property
    def per_token(self) -> bool:
        """Whether the vectors passed through the reference's θ, which never lets them meet."""
        return self.foreign and any(name.startswith("mvlpt_proj.") for name in self.state)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """The prompt in a checkpoint of anyone's, without executing anything from its pickle.

    Raises FileNotFoundError, or ValueError naming the file when it holds no state dict of tensors.
    """
    content = read(path)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(name, str) for name in state):
        raise ValueError(f"{path} holds no state dict")
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise ValueError(f"{path}: {name} in its state dict is no tensor")
        if value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f"{path}: {name} claims more values than the file holds")
        name = name.removeprefix("module.").removeprefix("prompt_learner.")
        tensors[name] = value.float().clone()
    foreign = any(name.startswith(_MARKS) for name in tensors)
    named = {_current(name): value for name, value in tensors.items() if name not in BUFFERS}
    if "cocoop_ctx" in named:
        if "ctx" in named:
            raise ValueError(f"{path} holds both ctx and cocoop_ctx: which of them was used can't be told")
        named["ctx"] = named.pop("cocoop_ctx")
    epoch, value = content.get("epoch"), content.get("val_result")
    return Checkpoint(
        str(path),
        named,
        foreign,
        epoch if isinstance(epoch, int) else None,
        float(value) if isinstance(value, (int, float)) else None,
    )


def _current(name: str) -> str:
    return name if "mvlpt_proj" in name else name.replace("upt_proj", "mvlpt_proj")


def checkpoint_path(directory: str | Path, epoch: int | None = None) -> str:
    """The checkpoint below a run's folder: of `epoch`, or the best one, or the last one. Raises FileNotFoundError
    naming what is there."""
    folder = os.path.join(directory, "prompt_learner")
    there = sorted(name for name in os.listdir(folder) if name.startswith("model")) if os.path.isdir(folder) else []
    regular = [name for name in there if re.fullmatch(r"model\.pth\.tar-\d+", name)]
    wanted = f"model.pth.tar-{epoch}" if epoch is not None else "model-best.pth.tar"
    if wanted in there:
        return os.path.join(folder, wanted)
    if epoch is None and regular:
        return os.path.join(folder, max(regular, key=lambda name: int(name.rsplit("-", 1)[1])))
    raise FileNotFoundError(
        f"no checkpoint {os.path.join(folder, wanted)}" + (f"; there are {', '.join(there)}" if there else "")
    )


def position_in(path: str | Path) -> str | None:
    """Where the class name stands, as the names of CoOp's run folders say it (`nctx16_cscFalse_ctpend`); tensors do
    not."""
    found = re.findall(rf"ctp({'|'.join(POSITIONS)})(?=[/\\_]|$)", str(path))
    return found[-1] if found else None


def read_prompt(path: str | Path, position: str | None = None, load_epoch: int | None = None) -> tuple[Prompt, dict]:
    """The prompt, and what is known of it, in a checkpoint, a run's folder or a prompts.safetensors.

    position: of the class name relative to a text context, where the file does not hold it; by default what the path
    says, else "middle", the reference's. Raises FileNotFoundError or ValueError.
    """
    path = Path(path)
    if path.is_dir():
        own = path / "prompts.safetensors"
        path = own if own.is_file() and load_epoch is None else Path(checkpoint_path(path, load_epoch))
    if path.suffix == ".safetensors":
        return load_prompts(path)
    checkpoint = read_checkpoint(path)
    if not checkpoint.foreign and "ctx" not in checkpoint.state:
        raise ValueError(f"{path} is a run's checkpoint, which lacks the prompt's configuration: give the run's folder")
    if checkpoint.left_out:
        logger.warning("%s", checkpoint.left_out)
    try:
        prompt = prompt_from_reference(checkpoint.unconditional(), position or position_in(path.absolute()) or "middle")
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    metadata = {"epoch": checkpoint.epoch, "val_result": checkpoint.val_result}
    return prompt, {name: value for name, value in metadata.items() if value is not None}


def convert(
    source: str | Path,
    target: str | Path,
    position: str | None = None,
    load_epoch: int | None = None,
    metadata: dict | None = None,
) -> str:
    """Write the prompt at `source` (see `read_prompt`) to `target`; what it is, in words.

    target: ours (.safetensors), or a checkpoint that the reference's `load_model` takes (.tar, .pth, .pt or
    .pth.tar-<epoch>). metadata: what else our file shall say, such as the backbone.
    Raises ValueError for other names, and for a prompt that the reference would compute differently.
    """
    target = Path(target)
    checkpoint = re.search(r"\.(tar|pth|pt|tar-\d+)$", target.name)
    if target.suffix != ".safetensors" and not checkpoint:
        raise ValueError(f"{target} is neither .safetensors nor .pth.tar: its ending says what is written")
    prompt, known = read_prompt(source, position, load_epoch)
    if target.suffix == ".safetensors":
        save_prompts(target, prompt, known | (metadata or {}))
        return describe(prompt)
    try:
        content = {"state_dict": to_reference(prompt), "epoch": int(known.get("epoch") or 0)}
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    if isinstance(known.get("val_result"), float):
        content["val_result"] = known["val_result"]
    file = io.BytesIO()
    torch.save(content, file)
    write_whole(target, file.getbuffer())
    return describe(prompt)
