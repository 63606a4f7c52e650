"""Metrics over a batch."""

from collections.abc import Sequence

import torch
from torch import Tensor


def compute_accuracy(
    output: Tensor | Sequence[Tensor], target: Tensor, topk: Sequence[int] = (1,)
) -> list[Tensor]:
    """Return top-k accuracies in percent, a tensor of shape (1,) for each k <= C.
    output: scores (B, C); of a tuple or list the first element counts. target: (B,).
    """
    if isinstance(output, tuple | list):
        output = output[0]
    ranked = output.topk(max(topk), dim=1).indices  # (B, K)
    hits = ranked == target.view(-1, 1)
    accuracies = []
    for k in topk:
        count = hits[:, :k].sum(dtype=torch.float32).reshape(1)
        accuracies.append(count * (100.0 / target.numel()))
    return accuracies
