"""Learning-rate schedules under Dassl's names."""

from toolkit.common.schedules import SCHEDULES as AVAI_SCHEDS  # noqa: F401
from toolkit.common.schedules import WARMUPS as AVAI_WARMUPS  # noqa: F401
from toolkit.common.schedules import (  # noqa: F401
    ConstantWarmupScheduler,
    LinearWarmupScheduler,
    build_lr_scheduler,
)
