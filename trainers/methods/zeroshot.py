"""ZeroshotCLIP: plain CLIP with each task's prompt templates. Nothing is learned."""

from dassl.engine import TRAINER_REGISTRY

from trainers.evaluation import PromptEvaluator


@TRAINER_REGISTRY.register()
class ZeroshotCLIP(PromptEvaluator):
    """Evaluate any number of tasks; --shots plays no part."""

    reads = ()
    multitask = True
    defaults = {"DATASET.NUM_SHOTS": 0, "DATASET.NUM_SAMPLES_PER_CLASS": 0}

    def train(self) -> None:
        """Evaluate only."""
        if not self.cfg.TEST.NO_TEST:
            self.test()
