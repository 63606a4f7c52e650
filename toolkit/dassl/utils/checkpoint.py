"""Checkpoints of plain values and tensors. A model's folder holds
``model.pth.tar-<epochs>`` (regular), perhaps ``model-best.pth.tar``, and the file
``checkpoint`` with one line: the name of the last regular file, from which a run
continues.
"""

import io
import logging
import os
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import torch
from torch import Tensor, nn

from toolkit.common import unpickle
from toolkit.common.files import StrPath, write_bytes, write_text
from toolkit.common.plain_values import plain_values

logger = logging.getLogger(__name__)

BEST_FILE = "model-best.pth.tar"
POINTER_FILE = "checkpoint"


def strip_module_prefix(state_dict: Mapping[str, Tensor]) -> OrderedDict:
    """Return the same state dict without a leading ``module.`` in its keys."""
    return OrderedDict(
        (key.removeprefix("module."), value) for key, value in state_dict.items()
    )


def save_checkpoint(
    state: dict,
    save_dir: StrPath,
    is_best: bool = False,
    remove_module_from_keys: bool = True,
    model_name: str = "",
) -> None:
    """Write ``state`` (at least ``state_dict`` and ``epoch``) into ``save_dir``; a file
    appears only when it is complete. is_best: also write ``model-best.pth.tar``.
    model_name: default ``model.pth.tar-<epoch>``, which alone the pointer file follows.
    """
    state = plain_values(dict(state))
    if remove_module_from_keys:
        state["state_dict"] = strip_module_prefix(state["state_dict"])
    name = model_name or f"model.pth.tar-{state['epoch']}"
    names = [name]
    if is_best and name != BEST_FILE:
        names.append(BEST_FILE)
    content = io.BytesIO()
    torch.save(state, content)
    for target in names:
        path = os.path.join(save_dir, target)
        write_bytes(path, content.getbuffer())
        logger.info("Checkpoint saved to %s", path)
    if not model_name:
        write_text(os.path.join(save_dir, POINTER_FILE), f"{name}\n")


def load_checkpoint(fpath: StrPath) -> dict:
    """Return the content of a checkpoint, on the CPU. Nothing in it is executed; of
    pickled objects, as Dassl writes them, tensors and plain values are read, and the
    schedule becomes None. Raises FileNotFoundError, or ValueError for another or a
    damaged file.
    """
    if not os.path.isfile(fpath):
        raise FileNotFoundError(f"No checkpoint found: {fpath}")
    try:
        unpickle.check(fpath)
        return torch.load(fpath, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, BadZipFile):
        pass  # the next line says what is wrong
    content = unpickle.read(fpath)
    if not isinstance(content, Mapping):
        raise ValueError(
            f"{fpath} is no checkpoint: it holds {type(content).__name__}, not a dict"
        )
    content = dict(content)
    if content.get("scheduler") is not None:
        content["scheduler"] = None
        logger.warning(
            "%s holds pickled objects, which are not read; it has no state of the schedule",
            fpath,
        )
    return content


def last_checkpoint(fdir: StrPath) -> str | None:
    """Return the regular file that the pointer in ``fdir`` names, or None."""
    pointer = Path(fdir, POINTER_FILE)
    if not pointer.is_file():
        return None
    return os.path.join(fdir, pointer.read_text(encoding="utf-8").strip())


def restore(checkpoint: dict, model: nn.Module, optimizer=None, scheduler=None) -> int:
    """Put a checkpoint into model, optimiser and schedule, and return the number of
    finished epochs. Raise KeyError if it lacks the state of one that is given.
    """
    model.load_state_dict(checkpoint["state_dict"])
    for name, target in (("optimizer", optimizer), ("scheduler", scheduler)):
        if target is None:
            continue
        if checkpoint.get(name) is None:
            raise KeyError(
                f"The checkpoint has no state of the {name}: a run cannot continue from it"
            )
        target.load_state_dict(checkpoint[name])
    return checkpoint["epoch"]


def resume_from_checkpoint(
    fdir: StrPath, model: nn.Module, optimizer=None, scheduler=None
) -> int:
    """Continue from the last regular checkpoint in ``fdir``, and return the number of
    finished epochs. Raise FileNotFoundError without one.
    """
    path = last_checkpoint(fdir)
    if path is None:
        raise FileNotFoundError(f"No regular checkpoint found: {fdir}")
    logger.info("Loading checkpoint from %s", path)
    return restore(load_checkpoint(path), model, optimizer, scheduler)
