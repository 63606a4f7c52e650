"""Learning-rate schedules under Dassl's names."""

from toolkit.common.schedules import (
    SCHEDULES as AVAI_SCHEDS,
)
from toolkit.common.schedules import (
    WARMUPS as AVAI_WARMUPS,
)
from toolkit.common.schedules import (
    ConstantWarmupScheduler,
    LinearWarmupScheduler,
    build_lr_scheduler,
)

__all__ = ["AVAI_SCHEDS", "AVAI_WARMUPS", "ConstantWarmupScheduler", "LinearWarmupScheduler", "build_lr_scheduler"]
