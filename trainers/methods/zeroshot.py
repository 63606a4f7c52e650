"""ZeroshotCLIP: plain CLIP with each task's prompt templates, features averaged over them. Nothing is learnt."""

from dassl.engine import TRAINER_REGISTRY

from trainers.evaluation import PromptEvaluator


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(PromptEvaluator):
    """Any number of tasks; --shots plays no part."""

    joint = True
    defaults = {"DATASET.NUM_SHOTS": 0, "DATASET.NUM_SAMPLES_PER_CLASS": 0}

    def build_prompt(self) -> None:
        return None

    def train(self) -> None:
        """Only evaluates."""
        if not self.cfg.TEST.NO_TEST:
            self.test()
