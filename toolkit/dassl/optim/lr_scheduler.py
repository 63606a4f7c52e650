"""Learning-rate schedules under Dassl's names."""

from toolkit.common.schedules import (
    SCHEDULES,
    WARMUPS,
    ConstantWarmupScheduler,
    LinearWarmupScheduler,
    build_lr_scheduler,
)

AVAI_SCHEDS = SCHEDULES
AVAI_WARMUPS = WARMUPS

__all__ = [
    "AVAI_SCHEDS",
    "AVAI_WARMUPS",
    "ConstantWarmupScheduler",
    "LinearWarmupScheduler",
    "build_lr_scheduler",
]
