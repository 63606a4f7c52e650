"""APT: a visual prompt and class offsets near zero-shot CLIP; multitask: MAPT.

The loss is cross-entropy plus anchors to plain CLIP: L1 of image features and KL of
probabilities (PromptSRC, Khattak et al. 2023) and the squared distance of class
features (CLAP, Silva-Rodriguez et al. 2024), each times the odds of zero-shot accuracy
on the training images: the prompt may leave a zero-shot model that is wrong, and hardly
one that is right.
"""

from yacs.config import CfgNode

from prompting.anchored import AnchoredPrompt
from trainers.base import PromptTrainer, register_with_multitask_form
from trainers.engine.context import PromptSetup
from trainers.losses import GaussianAverage

from .vpt import build_visual_prompt


@register_with_multitask_form
class APT(PromptTrainer):
    """Learn a visual prompt and class offsets, interpolated with zero-shot CLIP."""

    keys = {"TRAINER.APT.CLASS_OFFSETS": True}
    defaults = {
        "TEST.INTERPOLATE": "shots",
        "TRAINER.MVLPT.VPT.N_CTX": 8,
        "TRAINER.ANCHOR.ADAPTIVE": True,
        "TRAINER.ANCHOR.TEXT_L2": 1.0,
        "TRAINER.ANCHOR.IMAGE_L1": 0.3,
        "TRAINER.ANCHOR.KL": 0.03,
    }
    any_classes = {"TRAINER.APT.CLASS_OFFSETS": False}
    reads = ("TRAINER.MVLPT.VPT.",)

    @staticmethod
    def make_prompt(setup: PromptSetup) -> AnchoredPrompt:
        """Return a visual prompt beside CLIP, on one task with class offsets."""
        visual = build_visual_prompt(setup)
        if len(setup.tasks) == 1 and setup.cfg.TRAINER.APT.CLASS_OFFSETS:
            return AnchoredPrompt(visual, setup.num_classes, setup.shape.embed_dim)
        return AnchoredPrompt(visual)

    @classmethod
    def class_specific_reason(cls, cfg: CfgNode) -> str:
        if cfg.TRAINER.APT.CLASS_OFFSETS:
            return "TRAINER.APT.CLASS_OFFSETS is True"
        return ""

    def build_model(self) -> None:
        super().build_model()
        self.average = GaussianAverage(
            self.max_epoch, mean=0.8 * self.max_epoch, std=0.2 * self.max_epoch
        )
