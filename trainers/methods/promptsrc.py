"""PromptSRC: IVLP near the frozen model (Khattak et al. 2023); also MPromptSRC."""

from yacs.config import CfgNode

from prompting.deep import IVLPPrompt
from trainers.base import PromptTrainer, register_with_multitask_form
from trainers.engine.context import PromptSetup
from trainers.engine.settings import MAX_VECTORS
from trainers.losses import GaussianAverage

from .ivlp import build_ivlp_prompt


@register_with_multitask_form
class PromptSRC(PromptTrainer):
    """Learn IVLP's vectors near the frozen model's features and probabilities; the last
    prompt is the mean over epochs with normal weights (GPA_MEAN, GPA_STD).
    """

    keys = {
        "TRAINER.PROMPTSRC.N_CTX_TEXT": 4,
        "TRAINER.PROMPTSRC.N_CTX_VISION": 4,
        "TRAINER.PROMPTSRC.CTX_INIT": "a photo of a",
        "TRAINER.PROMPTSRC.PROMPT_DEPTH_TEXT": 9,
        "TRAINER.PROMPTSRC.PROMPT_DEPTH_VISION": 9,
        "TRAINER.PROMPTSRC.TEXT_LOSS_WEIGHT": 25.0,
        "TRAINER.PROMPTSRC.IMAGE_LOSS_WEIGHT": 10.0,
        "TRAINER.PROMPTSRC.GPA_MEAN": 15.0,
        "TRAINER.PROMPTSRC.GPA_STD": 1.0,
    }
    ranges = {
        "TRAINER.PROMPTSRC.N_CTX_TEXT": (0, MAX_VECTORS),
        "TRAINER.PROMPTSRC.N_CTX_VISION": (0, MAX_VECTORS),
        "TRAINER.PROMPTSRC.TEXT_LOSS_WEIGHT": (0, 1e9),
        "TRAINER.PROMPTSRC.IMAGE_LOSS_WEIGHT": (0, 1e9),
        "TRAINER.PROMPTSRC.GPA_MEAN": (0, 1e9),
        "TRAINER.PROMPTSRC.GPA_STD": (1e-3, 1e9),
    }
    defaults = {"TRAINER.ANCHOR.TEMPLATES": "imagenet"}
    reads = ()

    @staticmethod
    def make_prompt(setup: PromptSetup) -> IVLPPrompt:
        return build_ivlp_prompt(
            setup, "TRAINER.PROMPTSRC", setup.cfg.TRAINER.PROMPTSRC
        )

    @staticmethod
    def loss_weights(cfg: CfgNode) -> dict[str, float]:
        node = cfg.TRAINER.PROMPTSRC
        return {
            "text_l1": node.TEXT_LOSS_WEIGHT,
            "image_l1": node.IMAGE_LOSS_WEIGHT,
            "kl": 1.0,
        }

    def build_model(self) -> None:
        super().build_model()
        node = self.cfg.TRAINER.PROMPTSRC
        # The keys count in the epochs of OPTIM.MAX_EPOCH; OPTIM.MIN_UPDATES may add some.
        longer = self.max_epoch / self.cfg.OPTIM.MAX_EPOCH
        self.average = GaussianAverage(
            self.max_epoch, node.GPA_MEAN * longer, node.GPA_STD * longer
        )
