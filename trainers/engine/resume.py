"""The state of a run in training, from which it continues exactly, to the bit.

A state is written after every epoch, and within an epoch after a minute; it is removed
when the run is finished. Only the work since then is lost. A step's batch, its
augmentation and the learning rate depend only on seed, epoch and step, so with the
prompt, the optimiser, the schedule, the loss scale, the best prompt and the random
generators it is complete. The file ends in a checksum of itself.
"""

import io
import logging
import math
import os
import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from dassl.utils.checkpoint import BEST_FILE
from torch import Tensor

from toolkit.common.archives import content_checksum
from toolkit.common.files import write_bytes
from toolkit.common.manifest import digest
from toolkit.common.plain_values import get_random_state, plain_values, set_random_state

from . import distributed

log = logging.getLogger(__name__)

STATE = Path("prompt_learner") / "resume.pth.tar"
BEST = STATE.with_name(BEST_FILE)
CHECKSUM = 32  # bytes at the end of a state
SECONDS = 60  # between two states within an epoch


def save(trainer, epoch: int, losses: Sequence[Tensor] = ()) -> None:
    """Write the state after `epoch` epochs and as many steps as there are `losses`."""
    if not distributed.main():
        return
    state = {name: part.state_dict() for name, part in _parts(trainer).items()}
    state["epoch"] = epoch
    state["losses"] = [loss.item() for loss in losses]
    state["best_result"] = trainer.best_result
    state["facts"] = dict(trainer.context.metadata)
    state["rng"] = get_random_state()
    folder = Path(trainer.output_dir)
    state["best"] = None
    if trainer.best_result > -math.inf and (folder / BEST).is_file():
        content = bytearray((folder / BEST).read_bytes())
        state["best"] = torch.frombuffer(content, dtype=torch.uint8)
    state["checkpoints"] = _checkpoints(folder, epoch)
    stream = io.BytesIO()
    torch.save(plain_values(state), stream)
    content = stream.getvalue()
    write_bytes(folder / STATE, content + digest(content).encode())


def restore(trainer) -> tuple[int, list[Tensor]]:
    """Put the state in the trainer's folder, if there is one, into the trainer; return
    (whole epochs, losses of the next). A damaged best checkpoint is written again; with
    a damaged state training begins again, with a warning. Raises ValueError if its run
    had another initial prompt or other images.
    """
    folder = Path(trainer.output_dir)
    path = folder / STATE
    state = _read(path)
    if state is None and path.exists():
        log.warning(
            "%s is damaged, or of an earlier version: the run is trained again from the start",
            path,
        )
    if not state:
        return 0, []
    known, wanted = state.get("facts", {}), trainer.context.metadata
    keys = sorted(wanted.keys() | known.keys())
    other = [key for key in keys if known.get(key) != wanted.get(key)]
    if other:
        raise ValueError(
            f"{path} is the state of a run that differs in {', '.join(other)}: --overwrite starts the run again"
        )
    there = _checkpoints(folder, state["epoch"])
    expected = state["checkpoints"]
    damaged = [name for name in expected if there.get(name) != expected[name]]
    if damaged:
        log.warning(
            "%s: damaged or missing: %s; it is trained again from the start",
            *(folder, ", ".join(damaged)),
        )
        return 0, []
    if distributed.main() and state["best"] is not None:
        path = folder / BEST
        content = state["best"].numpy().tobytes()
        if not path.is_file() or path.read_bytes() != content:
            write_bytes(path, content)
    distributed.barrier()
    for name, part in _parts(trainer).items():
        part.load_state_dict(state[name])
    trainer.best_result = state["best_result"]
    set_random_state(state["rng"])
    losses = [torch.tensor(loss, device=trainer.device) for loss in state["losses"]]
    return state["epoch"], losses


def reached(folder: str | os.PathLike) -> str:
    """Return in words the progress that a state in a run's folder keeps, or ""."""
    state = _read(Path(folder) / STATE)
    if not state:
        return ""
    text = f"{state['epoch']} of {state['facts'].get('epochs', '?')} epochs"
    if state["losses"]:
        text += f" and {len(state['losses'])} steps"
    return text


def _read(path: Path) -> dict | None:
    """Return the state in a file, None if there is none or it is damaged."""
    if not path.is_file():
        return None
    content = path.read_bytes()
    content, checksum = content[:-CHECKSUM], content[-CHECKSUM:]
    if digest(content).encode() != checksum:
        return None
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, RuntimeError):
        return None


def _checkpoints(folder: Path, epochs: int) -> dict[str, str]:
    """Return name -> checksum of the checkpoints of the first `epochs` epochs."""
    found = {}
    for epoch in range(1, epochs + 1):
        path = folder / STATE.with_name(f"model.pth.tar-{epoch}")
        if path.is_file():
            found[path.name] = content_checksum(str(path))
    return found


def _parts(trainer) -> dict:
    parts = {"state_dict": trainer.model.prompt}
    parts |= {"optimizer": trainer.optim, "scheduler": trainer.sched}
    if trainer.scaler.is_enabled():
        parts["scaler"] = trainer.scaler
    if trainer.average is not None:
        parts["average"] = trainer.average
    return parts
