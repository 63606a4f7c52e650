"""MVPT: VPT's prompt, shared by several tasks (multitask; MVLPT paper, section 3)."""

from dassl.engine import TRAINER_REGISTRY

from .vpt import VPT


@TRAINER_REGISTRY.register()
class MVPT(VPT):
    """VPT on batches of several tasks. As the first of two stages it gives the source prompt that targets adapt."""

    joint = True
