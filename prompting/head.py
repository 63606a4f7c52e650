"""A head on image features in the place of a prompt: class features that are moved, and
a bias for each class.
"""

import torch
from torch import nn

from prompting.prompts import Contexts, Prompt, check_positive, register


@register
class HeadPrompt(Prompt):
    """A head for the classes of one task, which begins as zero-shot CLIP with the
    task's templates.

    class_offsets: (classes, dim), zeros at the start, added to zero-shot class
    features. bias: (classes,), zeros at the start; logits are then exp(logit_scale) *
    (image features @ (class features + class_offsets).T + bias). Without `bias` class
    features are scaled to unit length, and logits stay cosines.
    """

    kind = "head"
    task_templates = True

    def __init__(self, classes: int, dim: int, bias: bool = True) -> None:
        super().__init__()
        check_positive(classes=classes, dim=dim)
        self.class_offsets = nn.Parameter(torch.zeros(classes, dim))
        self.register_parameter("bias", None)
        if bias:
            self.bias = nn.Parameter(torch.zeros(classes))

    def contexts(self) -> Contexts:
        return Contexts(class_offsets=self.class_offsets, class_bias=self.bias)

    def describe(self) -> str:
        classes, dim = self.class_offsets.shape
        text = f"a head for {classes} classes, {dim} wide"
        if self.bias is not None:
            text += ", with biases"
        return text
