"""Terms that keep a prompt near frozen features, for any method and tasks. A term is a
mean over the images of a batch, each with the classes of its own task. With one task
these are the published definitions.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.multitask import label_distribution
from prompting.model import PromptedCLIP

# a logit of a class of another task: its exponential is exactly 0 in float32
MASKED_LOGIT = -1e4


@dataclass(frozen=True)
class FrozenFeatures:
    """Features of a frozen model: images (B, d), classes (C, d), logits (B, C)."""

    images: Tensor
    classes: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Outputs:
    """The features and logits of a batch, of which the terms of a loss are functions.

    Attributes:
        images: (B, d), of unit length.
        classes: (C, d), of unit length, task after task.
        logits: (B, C), `MASKED_LOGIT` outside the image's own classes.
        labels: (B, K), columns of `logits`, padded with -1.
        groups: (B,), the task of each image.
        sizes: (T,), the number of classes of each task.
        anchors: frozen models that the prompt stays near.
        other_logits: (B, C), of a second feature of each image (MMRL); None without.
        weight: of the cross-entropy of `logits`; that of the others has 1 - weight.
    """

    images: Tensor
    classes: Tensor
    logits: Tensor
    labels: Tensor
    groups: Tensor
    sizes: Tensor
    anchors: Sequence[FrozenFeatures] = field(default=())
    other_logits: Tensor | None = None
    weight: float = 1.0

    @cached_property
    def class_weights(self) -> Tensor:
        """Return each class's share (C,) in a mean over images and their classes."""
        counts = torch.bincount(self.groups, minlength=len(self.sizes))
        return (counts / len(self.groups) / self.sizes).repeat_interleave(self.sizes)


def build_outputs(
    model: PromptedCLIP,
    images: Tensor,
    classes: Tensor,
    labels: Tensor,
    groups: Tensor,
    sizes: Tensor,
    frozen: Sequence[tuple[Tensor, Tensor]] = (),
    other_images: Tensor | None = None,
    weight: float = 1.0,
) -> Outputs:
    """Return the outputs of image and class features; frozen: those of each anchor.

    other_images: a second feature (B, d) of each image. Other arguments as in `Outputs`.
    """

    def logits_of(images: Tensor, classes: Tensor) -> Tensor:
        logits = model.logits(images, classes)
        if len(sizes) == 1:
            return logits
        tasks = torch.arange(len(sizes), device=logits.device)
        owners = tasks.repeat_interleave(sizes)
        return logits.masked_fill(owners != groups[:, None], MASKED_LOGIT)

    logits = logits_of(images, classes)
    anchors = [FrozenFeatures(*features, logits_of(*features)) for features in frozen]
    others = None if other_images is None else logits_of(other_images, classes)
    return Outputs(
        images, classes, logits, labels, groups, sizes, anchors, others, weight
    )


def cross_entropy(outputs: Outputs) -> Tensor:
    """Return the cross-entropy against each image's label distribution; with two
    features an image, the weighted mean of both.
    """
    target = label_distribution(outputs.labels, outputs.logits.shape[1])
    value = F.cross_entropy(outputs.logits, target)
    if outputs.other_logits is None:
        return value
    other = F.cross_entropy(outputs.other_logits, target)
    return outputs.weight * value + (1 - outputs.weight) * other


def text_cosine(outputs: Outputs, frozen: FrozenFeatures) -> Tensor:
    """Return 1 - the mean cosine of class features and frozen ones (KgCoOp, eq. 4)."""
    cosines = F.cosine_similarity(outputs.classes, frozen.classes, eps=1e-7)
    return 1 - (outputs.class_weights * cosines).sum()


def text_l1(outputs: Outputs, frozen: FrozenFeatures) -> Tensor:
    """Return the mean absolute difference of class features (PromptSRC, eq. 3)."""
    distances = (outputs.classes - frozen.classes).abs().mean(-1)
    return (outputs.class_weights * distances).sum()


def text_l2(outputs: Outputs, frozen: FrozenFeatures) -> Tensor:
    """Return the mean squared distance of class features (CLAP, eq. 8)."""
    distances = (outputs.classes - frozen.classes).square().sum(-1)
    return (outputs.class_weights * distances).sum()


def image_l1(outputs: Outputs, frozen: FrozenFeatures) -> Tensor:
    """Return the mean absolute difference of image features (PromptSRC, eq. 3)."""
    return (outputs.images - frozen.images).abs().mean()


def image_cosine(outputs: Outputs, frozen: FrozenFeatures) -> Tensor:
    """Return 1 - the mean cosine of image features and frozen ones (MMRL)."""
    cosines = F.cosine_similarity(outputs.images, frozen.images, eps=1e-7)
    return 1 - cosines.mean()


def kl(outputs: Outputs, frozen: FrozenFeatures) -> Tensor:
    """Return KL(frozen || prompted), summed over classes and divided by their number,
    as PromptSRC's code does (eq. 4).
    """
    prompted = outputs.logits.log_softmax(1)
    target = frozen.logits.log_softmax(1)
    divergence = F.kl_div(prompted, target, log_target=True, reduction="none").sum(1)
    return (divergence / outputs.sizes[outputs.groups]).mean()


_TERMS = (text_cosine, text_l1, text_l2, image_l1, image_cosine, kl)
TERMS = {term.__name__: term for term in _TERMS}


def terms(outputs: Outputs, names: Sequence[str]) -> dict[str, Tensor]:
    """Return terms by name, each the mean over the anchors."""
    values = {}
    for name in names:
        of_anchors = [TERMS[name](outputs, frozen) for frozen in outputs.anchors]
        values[name] = torch.stack(of_anchors).mean()
    return values


def total(outputs: Outputs, weights: Mapping[str, float]) -> Tensor:
    """Return the cross-entropy plus the weighted terms."""
    loss = cross_entropy(outputs)
    for name, value in terms(outputs, list(weights)).items():
        loss = loss + weights[name] * value
    return loss


def distillation(outputs: Outputs, temperature: float = 1.0) -> Tensor:
    """Return T^2 times cross-entropy with frozen probabilities (ProGrad, eq. 3)."""
    values = []
    for frozen in outputs.anchors:
        target = (frozen.logits / temperature).softmax(1)
        prompted = (outputs.logits / temperature).log_softmax(1)
        values.append(-(temperature**2) * (target * prompted).sum(1).mean())
    return torch.stack(values).mean()


def projected_gradients(
    loss: Tensor,
    general: Tensor,
    parameters: Sequence[Tensor],
    strength: float,
    average: Callable[[Tensor], Tensor],
) -> list[Tensor]:
    """Return the gradients of `loss`, each tensor's projected by that of `general`
    (ProGrad). average: makes the mean over processes of a gradient.
    """
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
    general_gradients = torch.autograd.grad(general, parameters)
    projected = []
    for gradient, other in zip(gradients, general_gradients, strict=True):
        means = average(gradient), average(other)
        projected.append(project_gradient(*means, strength))
    return projected


def project_gradient(
    gradient: Tensor, general: Tensor, strength: float = 1.0
) -> Tensor:
    """Return a gradient without `strength` times its part against general knowledge;
    as it is if gradient . general >= 0 (ProGrad, eq. 4).
    """
    direction = general / general.norm()
    along = (gradient * direction).sum()
    if not along < 0:
        return gradient
    return gradient - strength * along * direction


def gaussian_weights(epochs: int, mean: float, std: float) -> Tensor:
    """Return normal weights (epochs,) that sum to 1, float64 (PromptSRC, eq. 6)."""
    numbers = torch.arange(1, epochs + 1, dtype=torch.float64)
    return torch.softmax(-((numbers - mean) ** 2) / (2 * std**2), dim=0)


class GaussianAverage:
    """The mean of a prompt over epochs with Gaussian weights, summed in float64."""

    def __init__(self, epochs: int, mean: float, std: float) -> None:
        self.weights = gaussian_weights(epochs, mean, std)
        self.sums: dict[str, Tensor] = {}

    def add(self, prompt: torch.nn.Module, epoch: int) -> None:
        """Add the prompt after an epoch, counted from 0."""
        for name, value in prompt.state_dict().items():
            part = self.weights[epoch].item() * value.double()
            self.sums[name] = self.sums[name] + part if name in self.sums else part

    def load_into(self, prompt: torch.nn.Module) -> None:
        """Copy the average into the prompt."""
        for name, value in prompt.state_dict().items():
            value.copy_(self.sums[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the sum so far."""
        return dict(self.sums)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore a sum."""
        self.sums = dict(state)
