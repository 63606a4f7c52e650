"""The state of a run in training, from which it continues exactly, to the bit, after whatever ended it.

A state is written after every epoch, and within an epoch after a minute; it is removed when the run is finished. What is
lost is the work since then. A step's batch, its augmentation and the learning rate depend on seed, epoch and step alone, so
with the prompt, the optimiser, the schedule, the loss scale, the best score and the random generators it is complete.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from dassl.utils import load_checkpoint
from torch import Tensor

from toolkit.common.files import write_bytes
from toolkit.common.plain_values import plain_values
from toolkit.common.random_state import get_random_state, set_random_state

from . import distributed

STATE = Path("prompt_learner") / "resume.pth.tar"
SECONDS = 60  # between two states within an epoch


def save(trainer, epoch: int, losses: Sequence[Tensor] = ()) -> None:
    """Write the state after `epoch` whole epochs and as many steps of the next as there are `losses`.

    Of several processes the main one writes it.
    """
    if not distributed.main():
        return
    state = {name: part.state_dict() for name, part in _parts(trainer).items()}
    state["epoch"] = epoch
    state["losses"] = []
    if losses:
        state["losses"] = torch.stack(list(losses)).tolist()
    state["best_result"] = trainer.best_result
    state["facts"] = dict(trainer.context.metadata)
    state["rng"] = get_random_state()
    content = io.BytesIO()
    torch.save(plain_values(state), content)
    write_bytes(Path(trainer.output_dir) / STATE, content.getbuffer())


def restore(trainer) -> tuple[int, list[Tensor]]:
    """Put the state in the trainer's folder, if there is one, into the trainer; return (whole epochs, losses of the next).

    Raises ValueError if it is that of a run with another initial prompt or other images.
    """
    path = Path(trainer.output_dir) / STATE
    if not path.is_file():
        return 0, []
    state = load_checkpoint(str(path))
    known, wanted = state.get("facts", {}), trainer.context.metadata
    keys = sorted(wanted.keys() | known.keys())
    other = [key for key in keys if known.get(key) != wanted.get(key)]
    if other:
        raise ValueError(
            f"{path} is the state of a run that differs in {', '.join(other)}: --overwrite starts the run anew"
        )
    for name, part in _parts(trainer).items():
        part.load_state_dict(state[name])
    trainer.best_result = state["best_result"]
    set_random_state(state["rng"])
    losses = [torch.tensor(loss, device=trainer.device) for loss in state["losses"]]
    return state["epoch"], losses


def reached(folder: str | os.PathLike) -> str:
    """Return in words what a state in a run's folder keeps, "" if there is none."""
    path = Path(folder) / STATE
    if not path.is_file():
        return ""
    state = load_checkpoint(str(path))
    text = f"{state['epoch']} of {state['facts'].get('epochs', '?')} epochs"
    if state["losses"]:
        text += f" and {len(state['losses'])} steps"
    return text


def _parts(trainer) -> dict:
    parts = {"state_dict": trainer.model.prompt, "optimizer": trainer.optim, "scheduler": trainer.sched}
    if trainer.scaler is not None:
        parts["scaler"] = trainer.scaler
    if trainer.average is not None:
        parts["average"] = trainer.average
    return parts
