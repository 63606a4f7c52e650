"""RAdam under Dassl's name and arguments."""

from collections.abc import Iterable

import torch


class RAdam(torch.optim.RAdam):
    """torch's RAdam with decoupled weight decay, as Dassl's is."""

    def __init__(
        self,
        params: Iterable,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        degenerated_to_sgd: bool = True,
    ):
        if not degenerated_to_sgd:
            raise ValueError("RAdam without degenerated_to_sgd is not available")
        super().__init__(
            params, lr, betas, eps, weight_decay, decoupled_weight_decay=True
        )
