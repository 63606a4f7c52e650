"""Heads on image features, baselines of prompts: LinearProbe, GDA and CLAP. Each is for
the classes of one task and begins as zero-shot CLIP with the task's templates. Images
are encoded once. Those of LinearProbe and GDA are not augmented: both are fitted to all
images at once, as often as there are epochs.
"""

import functools
import math

import torch
import torch.nn.functional as F
from dassl.engine import TRAINER_REGISTRY
from torch import Tensor
from yacs.config import CfgNode

from datasets.multitask import label_distribution
from prompting.anchored import HeadPrompt
from trainers.anchors import anchor_weights
from trainers.base import Batch, PromptTrainer
from trainers.engine import distributed, results
from trainers.engine.context import PromptSetup
from trainers.features.builders import build_images

ALPHAS = [0.0001, 0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0]
PENALTIES = [10.0, 1.0, 0.1, 0.01, 0.001, 0.0001, 0.00001, 0.000001]
LBFGS_STEPS = 300


@torch.enable_grad()
def logistic_regression(
    images: Tensor, targets: Tensor, prior: Tensor, penalty: float
) -> tuple[Tensor, Tensor]:
    """Return weights W (C, d) and biases b (C,) that minimise mean cross-entropy +
    penalty / 2 |W - prior|^2. images: features (N, d). targets: label distributions (N,
    C). prior: (C, d). All are float64.
    """
    weights = prior.clone().requires_grad_()
    bias = prior.new_zeros(len(prior)).requires_grad_()
    optimiser = torch.optim.LBFGS(
        [weights, bias],
        max_iter=LBFGS_STEPS,
        tolerance_grad=1e-9,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(images @ weights.T + bias, targets)
        loss = loss + penalty / 2 * (weights - prior).square().sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    return weights.detach(), bias.detach()


def gaussian_discriminant(images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return weights (C, d) and biases (C,) of Gaussian discriminant analysis with
    equal priors (Wang et al. 2024, eq. 8).

    images: features (N, d). targets: (N, C), positive for each class of an image. The
        inverse of the shared covariance is shrunk: d ((n - 1) covariance +
        trace(covariance) 1)^+, in which n counts an image once for each of its classes.
        A class without an image has the mean of all.
    """
    rows, owners = (targets > 0).nonzero(as_tuple=True)
    features = images[rows]
    classes = targets.shape[1]
    dim = images.shape[1]
    counts = torch.bincount(owners, minlength=classes)
    means = images.new_zeros(classes, dim).index_add_(0, owners, features)
    means = means / counts.clamp(min=1)[:, None]
    means[counts == 0] = features.mean(0)
    centred = features - means[owners]
    scatter = centred.T @ centred  # (n - 1) times the covariance
    trace = scatter.trace() / max(len(features) - 1, 1)
    shrunk = scatter + trace * torch.eye(dim, dtype=images.dtype, device=images.device)
    precision = dim * torch.linalg.pinv(shrunk, hermitian=True)
    weights = means @ precision
    bias = -math.log(classes) - (weights * means).sum(1) / 2
    return weights, bias


class HeadTrainer(PromptTrainer):
    """Base of heads, which are for the classes of one task."""

    reads = ()

    has_bias = True

    @classmethod
    def make_prompt(cls, setup: PromptSetup) -> HeadPrompt:
        return HeadPrompt(setup.num_classes, setup.shape.embed_dim, cls.has_bias)

    @classmethod
    def class_specific_reason(cls, cfg: CfgNode) -> str:
        return "a head has weights of each class"


class FittedHead(HeadTrainer):
    """A head that is fitted to all training images at once, with the strength of which
    it scores best on the validation images; DATASET.TRAIN_ON_VAL fits it again to both.
    """

    # key of the strengths to choose from, those nearest to zero-shot first: of equal
    # ones the first is kept
    strengths_key = ""

    @classmethod
    def check_training(cls, setup: PromptSetup) -> None:
        super().check_training(setup)
        strengths = cls.strengths(setup.cfg)
        if not strengths:
            raise ValueError(
                f"{cls.strengths_key} is empty; it is a list of positive numbers"
            )
        if len(strengths) > 1 and not setup.tasks[0].val:
            name = setup.tasks[0].name
            raise ValueError(
                f"{cls.strengths_key} has several values, but {name} has no validation images: give one value"
            )
        if anchor_weights(setup.cfg):
            raise ValueError(
                f"TRAINER.ANCHOR.*: {setup.cfg.TRAINER.NAME} has no such terms; leave them at 0"
            )

    @classmethod
    def check_setup(cls, setup: PromptSetup, trains: bool, start: str = "", *args):
        if trains and start:
            raise ValueError(
                f"--model-dir {start}: {setup.cfg.TRAINER.NAME} is fitted from nothing; leave it out"
            )
        super().check_setup(setup, trains, start, *args)

    @classmethod
    def strengths(cls, cfg) -> list[float]:
        """Return the strengths to choose from; raise ValueError if not all positive."""
        given = functools.reduce(getattr, cls.strengths_key.split("."), cfg)
        try:
            # YAML reads 1e-5 as text
            strengths = [float(value) for value in given]
        except (TypeError, ValueError):
            strengths = [math.nan]
        if not all(0 < value < math.inf for value in strengths):
            raise ValueError(
                f"{cls.strengths_key} is {given}; it is a list of positive numbers"
            )
        return strengths

    def fit(
        self, images: Tensor, targets: Tensor, zero_shot: Tensor, strength: float
    ) -> tuple[Tensor, Tensor]:
        """Return weights (C, d) and biases (C,) of logits; all is float64."""
        raise NotImplementedError

    @torch.no_grad()
    def run_epoch(self) -> None:
        """Fit the head."""
        self.set_model_mode("train")
        head = self.model.prompt
        zero_shot = zero_shot_weights(self)
        strength = self._choose_strength(zero_shot)
        images, targets = encoded_images(self, self.train_tasks, "train")
        weights, bias = self.fit(images, targets, zero_shot, strength)
        logits = images @ weights.T + bias
        self.epoch_loss = F.cross_entropy(logits, targets).item()
        if not math.isfinite(self.epoch_loss):
            raise FloatingPointError(
                f"the head at {self.strengths_key} {strength:g} is not finite"
            )
        scale = self.model.clip.logit_scale.exp().double()
        head.class_offsets.copy_((weights - zero_shot) / scale)
        head.bias.copy_(bias / scale)
        distributed.check_same(head)
        self.write_scalar("train/loss", self.epoch_loss, self.epoch)

    def _choose_strength(self, zero_shot: Tensor) -> float:
        strengths = self.strengths(self.cfg)
        if len(strengths) == 1:
            return strengths[0]
        (task,) = self.tasks
        train = encoded_images(self, self.tasks, "train")
        images, _ = encoded_images(self, self.tasks, "val")
        targets = self.sets["val"].targets(0)

        def score(strength: float) -> float:
            weights, bias = self.fit(*train, zero_shot, strength)
            probabilities = (images @ weights.T + bias).softmax(1)
            return results.score(task, targets, probabilities.float().cpu())

        return max(strengths, key=score)


@TRAINER_REGISTRY.register()
class LinearProbe(FittedHead):
    """Fit a linear classifier by logistic regression (Radford et al. 2021). INIT "text"
    starts from zero-shot weights and penalises the distance from them, as ELEVATER's
    language-initialised probe starts (Li et al. 2022); "zero" is the linear probe
    without the text tower.
    """

    keys = {
        "TRAINER.LINEARPROBE.INIT": "text",
        "TRAINER.LINEARPROBE.PENALTIES": PENALTIES,
    }
    strengths_key = "TRAINER.LINEARPROBE.PENALTIES"

    @classmethod
    def check_training(cls, setup: PromptSetup) -> None:
        super().check_training(setup)
        init = setup.cfg.TRAINER.LINEARPROBE.INIT
        if init not in ("text", "zero"):
            raise ValueError(
                f"TRAINER.LINEARPROBE.INIT is {init!r}; it is one of text, zero"
            )

    def fit(
        self, images: Tensor, targets: Tensor, zero_shot: Tensor, strength: float
    ) -> tuple[Tensor, Tensor]:
        prior = zero_shot
        if self.cfg.TRAINER.LINEARPROBE.INIT == "zero":
            prior = torch.zeros_like(zero_shot)
        return logistic_regression(images, targets, prior, strength)


@TRAINER_REGISTRY.register()
class GDA(FittedHead):
    """Add weighted discriminant logits to zero-shot logits (Wang et al. 2024)."""

    keys = {"TRAINER.GDA.ALPHAS": ALPHAS}
    strengths_key = "TRAINER.GDA.ALPHAS"

    def fit(
        self, images: Tensor, targets: Tensor, zero_shot: Tensor, strength: float
    ) -> tuple[Tensor, Tensor]:
        weights, bias = gaussian_discriminant(images, targets)
        return zero_shot + strength * weights, strength * bias


@TRAINER_REGISTRY.register()
class CLAP(HeadTrainer):
    """Learn class features with cross-entropy + the mean over classes c of l_c |w_c -
    z_c|^2, with zero-shot features z and l_c the mean zero-shot probability of c on its
    training images (Silva-Rodriguez et al. 2024).
    """

    has_bias = False  # class features stay of unit length

    def _prepare_training(self) -> None:
        super()._prepare_training()
        self.multipliers = class_multipliers(self)

    def loss(self, batch: Batch) -> Tensor:
        offsets = self.model.prompt.class_offsets
        penalty = self.multipliers * offsets.square().sum(1)
        return super().loss(batch) + penalty.mean()


def encoded_images(trainer: PromptTrainer, tasks, split: str) -> tuple[Tensor, Tensor]:
    """Return features (N, d), label distributions (N, C) of a split, float64."""
    images = build_images(trainer.cfg, tasks, split, trainer.backbone.preprocessing)
    features = trainer.store.features(images, in_files=False)
    targets = label_distribution(images.labels, trainer.num_classes)
    return features.double(), targets.to(features.device).double()


def zero_shot_weights(trainer: PromptTrainer) -> Tensor:
    """Return weights (C, d), float64, of plain CLIP's logits with task templates."""
    (task,) = trainer.tasks
    classes = trainer.store.encoder.encode_classes(task.classnames, task.templates)
    scale = trainer.model.clip.logit_scale.exp()
    return scale.double() * classes.double()


@torch.no_grad()
def class_multipliers(trainer: PromptTrainer) -> Tensor:
    """Return each class's mean zero-shot probability on its images (C,), or 0."""
    images, targets = encoded_images(trainer, trainer.train_tasks, "train")
    logits = images @ zero_shot_weights(trainer).T
    probabilities = logits.softmax(1)
    members = (targets > 0).to(probabilities)
    sums = (probabilities * members).sum(0)
    return (sums / members.sum(0).clamp(min=1)).float()
