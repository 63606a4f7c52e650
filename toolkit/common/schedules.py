"""Learning-rate schedules, stepped once an epoch, with warm-up. A schedule's
``state_dict`` holds plain values only, so a checkpoint loads with
``weights_only=True``; the state of a warm-up contains its successor's state, and the
successor keeps driving the optimiser it was built with.
"""

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, MultiStepLR, StepLR

from toolkit.common.suggest import check_availability

SCHEDULES = ["single_step", "multi_step", "cosine"]
WARMUPS = ["constant", "linear"]
_STATE = ("last_epoch", "_step_count", "_last_lr")


class _BaseWarmupScheduler(LRScheduler):
    """Warm-up for w = ``warmup_epoch`` epochs, then ``successor``, a fresh schedule of
    the same optimiser. recount: at epoch w it is at its epoch 0; False: it counts from
    w on, but from its first learning rate, as Dassl's does.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        successor: LRScheduler,
        warmup_epoch: int,
        recount: bool = True,
    ):
        self.successor = successor
        self.warmup_epoch = warmup_epoch
        if not recount:
            successor.last_epoch = warmup_epoch
        super().__init__(optimizer)

    def warmup_lr(self) -> list[float]:
        """Return the parameter groups' learning rates at epoch ``last_epoch`` < w."""
        raise NotImplementedError

    def get_lr(self) -> list[float]:
        if self.last_epoch < self.warmup_epoch:
            return self.warmup_lr()
        return self.successor.get_last_lr()

    def step(self, epoch: int | None = None) -> None:
        """Go to the next epoch. Schedules are recursive, hence no jump to ``epoch``."""
        if epoch is not None:
            raise ValueError(
                "A warm-up schedule goes from epoch to epoch; it can't jump to a given one"
            )
        self.last_epoch += 1
        self._step_count += 1
        if self.last_epoch > self.warmup_epoch:
            # the successor computes its next value from this one
            self._set_lr(self.successor.get_last_lr())
            self.successor.step()
        self._set_lr(self.get_lr())
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def _set_lr(self, values: list[float]) -> None:
        for group, lr in zip(self.optimizer.param_groups, values, strict=True):
            group["lr"] = lr

    def state_dict(self) -> dict:
        """Return epoch, learning rates and the successor's state, plain values all."""
        state = {name: getattr(self, name) for name in _STATE}
        return state | {"successor": self.successor.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore a state; optimiser and successor stay the objects they are. Raises
        KeyError for a state of another kind.
        """
        missing = [key for key in (*_STATE, "successor") if key not in state_dict]
        if missing:
            raise KeyError(
                f"Not the state of a warm-up schedule: {', '.join(missing)} missing (OPTIM.WARMUP_EPOCH?)"
            )
        for name in _STATE:
            setattr(self, name, state_dict[name])
        self.successor.load_state_dict(state_dict["successor"])
        self._set_lr(self._last_lr)


class ConstantWarmupScheduler(_BaseWarmupScheduler):
    """Warm-up at one constant learning rate ``cons_lr``."""

    def __init__(self, optimizer, successor, warmup_epoch, cons_lr, recount=True):
        self.cons_lr = cons_lr
        super().__init__(optimizer, successor, warmup_epoch, recount)

    def warmup_lr(self) -> list[float]:
        return [self.cons_lr] * len(self.base_lrs)


class LinearWarmupScheduler(_BaseWarmupScheduler):
    """Warm-up from ``min_lr`` at epoch 0 through ``lr * k / w`` at epoch k."""

    def __init__(self, optimizer, successor, warmup_epoch, min_lr, recount=True):
        self.min_lr = min_lr
        super().__init__(optimizer, successor, warmup_epoch, recount)

    def warmup_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [self.min_lr] * len(self.base_lrs)
        return [lr * self.last_epoch / self.warmup_epoch for lr in self.base_lrs]


def build_lr_scheduler(optimizer: Optimizer, optim_cfg) -> LRScheduler:
    """Return the schedule ``optim_cfg.LR_SCHEDULER``, after a warm-up if
    ``WARMUP_EPOCH`` > 0. single_step: times ``GAMMA`` every last value of ``STEPSIZE``
    (<= 0: ``MAX_EPOCH``) epochs; multi_step: at each epoch of ``STEPSIZE``; cosine:
    half a cosine over ``MAX_EPOCH``. Raises ValueError for an unknown name, TypeError
    for a ``STEPSIZE`` that does not fit.
    """
    c = optim_cfg
    check_availability(c.LR_SCHEDULER, SCHEDULES)
    if c.LR_SCHEDULER == "cosine":
        scheduler = CosineAnnealingLR(optimizer, T_max=c.MAX_EPOCH)
    elif c.LR_SCHEDULER == "single_step":
        step = c.STEPSIZE
        if isinstance(step, (list, tuple)):
            step = step[-1]
        if not isinstance(step, int):
            raise TypeError(
                f"OPTIM.STEPSIZE of single_step must be an integer, not {c.STEPSIZE!r}"
            )
        scheduler = StepLR(optimizer, step if step > 0 else c.MAX_EPOCH, c.GAMMA)
    else:
        if not isinstance(c.STEPSIZE, (list, tuple)):
            raise TypeError(
                f"OPTIM.STEPSIZE of multi_step must be a list of epochs, not {c.STEPSIZE!r}"
            )
        scheduler = MultiStepLR(optimizer, milestones=list(c.STEPSIZE), gamma=c.GAMMA)

    if c.WARMUP_EPOCH <= 0:
        return scheduler
    check_availability(c.WARMUP_TYPE, WARMUPS)
    kind, lr = LinearWarmupScheduler, c.WARMUP_MIN_LR
    if c.WARMUP_TYPE == "constant":
        kind, lr = ConstantWarmupScheduler, c.WARMUP_CONS_LR
    return kind(optimizer, scheduler, c.WARMUP_EPOCH, lr, c.WARMUP_RECOUNT)
