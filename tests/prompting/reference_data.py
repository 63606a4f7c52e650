"""The stored outputs of the reference implementation and its backbone, in OpenAI's
state-dict layout.
"""

from functools import cache
from pathlib import Path

import numpy as np
import torch

CASES = ("coop_end_4", "coop_middle_6", "vpt_deep_5", "vpt_shallow_5")


@cache
def reference() -> dict[str, np.ndarray]:
    """Return all arrays of data/reference_small.npz."""
    with np.load(Path(__file__).parent / "data" / "reference_small.npz") as file:
        return dict(file)


def openai_state() -> dict[str, torch.Tensor]:
    """Return the backbone's tensors; the token embedding's rows that no class name
    needs are zero.
    """
    data = reference()
    names = [key for key in data if key.startswith("clip/")]
    state = {name.removeprefix("clip/"): torch.from_numpy(data[name]) for name in names}
    rows = state["token_embedding.weight"]
    state["token_embedding.weight"] = torch.zeros(49408, rows.shape[1])
    state["token_embedding.weight"][torch.from_numpy(data["token_ids"])] = rows
    return state
