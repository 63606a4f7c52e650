"""Optimisers and learning-rate schedules."""

from .lr_scheduler import (
    ConstantWarmupScheduler,
    LinearWarmupScheduler,
    build_lr_scheduler,
)
from .optimizer import build_optimizer
