"""Checkpoints as CoOp, CoCoOp and the reference MVLPT write them: pickled optimiser and
scheduler objects included.
"""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from prompting import TextPrompt, UnifiedPrompt, VisualPrompt
from prompting.checkpoints.reference import to_reference

TEXT, IMAGE, LAYERS = 32, 64, 2  # of the tiny models


class Warmup(torch.optim.lr_scheduler.LambdaLR):
    """Stands for Dassl's: a schedule whose state holds its successor, an object."""

    def __init__(self, optimizer, successor):
        self.successor = successor
        super().__init__(optimizer, lambda epoch: 0.1)

    def state_dict(self):
        return {
            key: value
            for key, value in self.__dict__.items()
            if key not in ("optimizer", "lr_lambdas")
        }


class Attack:
    """An attack by pickle: run any function when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def prompt_of(method: str, n_ctx: int = 4, classes: int | None = None):
    """Return a random prompt for the tiny models; "VPT-shallow" has one layer."""
    text = TextPrompt(n_ctx, TEXT, classes)
    visual = VisualPrompt(n_ctx, IMAGE, 1 if method == "VPT-shallow" else LAYERS, 8)
    if method == "UPT":
        return UnifiedPrompt(text, visual, dim=48, theta="per-token")
    return text if method == "CoOp" else visual


def foreign_state(
    method: str, half: bool = True, old: bool = False, **sizes
) -> dict[str, Tensor]:
    """Return a state dict as the reference names it. half: in fp16, θ's block excepted;
    old: upt_proj... names.
    """
    if method in ("CoCoOp", "MVLPT-CoCoOp"):
        state = {"ctx" if method == "CoCoOp" else "cocoop_ctx": torch.randn(4, TEXT)}
        for name, shape in {"linear1": (1, 16), "linear2": (TEXT, 1)}.items():
            state |= {
                f"meta_net.{name}.weight": torch.randn(shape),
                f"meta_net.{name}.bias": torch.randn(shape[0]),
            }
    else:
        state = to_reference(prompt_of(method, **sizes))
    state = {
        name: value.half() if half and "resblocks" not in name else value
        for name, value in state.items()
    }
    if old:
        state = {
            name.replace("mvlpt_proj", "upt_proj"): value
            for name, value in state.items()
        }
    return state | {
        "token_prefix": torch.randn(3, 1, TEXT),
        "token_suffix": torch.randn(3, 72, TEXT),
    }


def write_foreign(
    folder: Path,
    state: dict,
    epoch: int = 50,
    name: str = "model-best.pth.tar",
    **extra,
) -> Path:
    """Write `<folder>/prompt_learner/<name>` with everything that Dassl stores beside
    the tensors, and return its path.
    """
    model = torch.nn.ParameterDict({"p": torch.nn.Parameter(torch.zeros(3))})
    optimizer = torch.optim.SGD(model.parameters(), 0.002, momentum=0.9)
    model["p"].sum().backward()
    optimizer.step()
    successor = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10.0)
    content = {
        "state_dict": type(model.state_dict())(state),
        "epoch": epoch,
        "optimizer": optimizer.state_dict(),
        "scheduler": Warmup(optimizer, successor).state_dict(),
        "val_result": np.float64(71.5),
    }
    path = folder / "prompt_learner" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content | extra, path)
    return path
