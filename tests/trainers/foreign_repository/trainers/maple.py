"""A trainer that is built on another of its repository, by both forms of import."""

import trainers.coop
from dassl.engine import TRAINER_REGISTRY

from .coop import load_clip_to_cpu
from trainers.words import WORDS


@TRAINER_REGISTRY.register()
class MaPLe(trainers.coop.CoOp):
    def build_model(self):
        assert load_clip_to_cpu.__module__ == trainers.coop.__name__
        node = self.cfg.TRAINER.MAPLE
        print(f"{WORDS}: {node.CTX_INIT}, weight {node.REG_WEIGHT}")
        super().build_model()
