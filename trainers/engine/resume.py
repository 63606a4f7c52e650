"""The state of a run in training, from which it goes on to the bit after whatever ended it.

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
    """Write the state after `epoch` whole epochs and as many steps of the next as there are `losses`; of several processes
    the main one does."""
    if not distributed.main():
        return
    content = io.BytesIO()
    parts = {name: part.state_dict() for name, part in _parts(trainer).items()}
    where = {"epoch": epoch, "losses": torch.stack(list(losses)).tolist() if losses else []}
    state = parts | where | {"best_result": trainer.best_result, "facts": trainer.facts, "rng": get_random_state()}
    torch.save(plain_values(state), content)
    write_bytes(Path(trainer.output_dir) / STATE, content.getbuffer())


def restore(trainer) -> tuple[int, list[Tensor]]:
    """Put the state in the trainer's folder, if there is one, into the trainer: (whole epochs, losses of the next one).

    Raises ValueError where it is that of a run with another initial prompt or other images.
    """
    path = Path(trainer.output_dir) / STATE
    if not path.is_file():
        return 0, []
    state = load_checkpoint(str(path))
    known = state.get("facts", {})
    other = [key for key in sorted(trainer.facts.keys() | known.keys()) if known.get(key) != trainer.facts.get(key)]
    if other:
        raise ValueError(
            f"{path} is the state of a run that differs in {', '.join(other)}: --overwrite starts the run anew"
        )
    for name, part in _parts(trainer).items():
        part.load_state_dict(state[name])
    trainer.best_result = state["best_result"]
    set_random_state(state["rng"])
    return state["epoch"], [torch.tensor(loss, device=trainer.device) for loss in state["losses"]]


def folder_of(cfg) -> str:
    """The folder that `--resume DIR` names. Raises ValueError or FileNotFoundError where it can't go on there."""
    folder, out = Path(cfg.RESUME), cfg.OUTPUT_DIR
    if not (folder / "config.yaml").is_file():
        raise FileNotFoundError(f"--resume (RESUME): {folder} holds no run (no config.yaml)")
    if out not in ("", "./output") and Path(out).resolve() != folder.resolve():
        raise ValueError(f"--resume {folder} goes on in that folder: leave --output-dir ({out}) out")
    return str(folder)


def reached(folder: str | os.PathLike) -> str:
    """What a state in a run's folder keeps, in words; "" where there is none."""
    path = Path(folder) / STATE
    if not path.is_file():
        return ""
    state = load_checkpoint(str(path))
    steps = f" and {len(state['losses'])} steps" if state["losses"] else ""
    return f"{state['epoch']} of {state['facts'].get('epochs', '?')} epochs{steps}"


def tidy(folder: str | os.PathLike) -> None:
    """Remove what only an unfinished run needs: its state, and files that a killed process left unfinished."""
    if not distributed.main():
        return
    (Path(folder) / STATE).unlink(missing_ok=True)
    remove_unfinished(folder)


def remove_unfinished(folder: str | os.PathLike) -> None:
    """Remove files that a killed process left unfinished in a folder."""
    for place in (folder, *(Path(folder) / name for name in ("prompt_learner", "fewshot", "predictions"))):
        for pattern in (".*.tmp", "*.part"):
            for path in Path(place).glob(pattern):
                path.unlink(missing_ok=True)


def _parts(trainer) -> dict:
    parts = {"state_dict": trainer.model.prompt, "optimizer": trainer.optim, "scheduler": trainer.sched}
    return parts | ({"scaler": trainer.scaler} if trainer.scaler is not None else {})
