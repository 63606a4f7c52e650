"""Prompts that begin as zero-shot CLIP and move its class features: offsets, with
logits between the two models, and a head in the place of a prompt.
"""

import torch
from torch import Tensor, nn

from prompting.prompts import Contexts, Prompt, check_positive, register


@register
class AnchoredPrompt(Prompt):
    """Another prompt with offsets of its task's class features, used together with
    plain CLIP.

    class_offsets: (classes, dim), zeros at the start, so that class features begin as
    zero-shot's (as task residuals, Yu et al. 2023); None without `classes`: the prompt
    then serves any classes. weight: in evaluation, logits are weight * prompted + (1 -
    weight) * zero-shot (WiSE-FT, Wortsman et al. 2022); training sees the prompted ones
    alone. one_template: see `Contexts`; for a prompt that was trained with one sentence.
    """

    kind = "anchored"
    task_templates = True

    weight: Tensor

    def __init__(
        self,
        base: Prompt,
        classes: int | None = None,
        dim: int | None = None,
        one_template: bool = False,
    ) -> None:
        super().__init__()
        self.base = base
        self.one_template = one_template
        self.position = base.position
        self.fixed_words = base.fixed_words
        self.last_words = base.last_words
        self.logit_scale = base.logit_scale
        self.visual_before_norm = base.visual_before_norm
        self.register_buffer("weight", torch.ones(()))
        self.register_parameter("class_offsets", None)
        if classes is not None:
            if dim is None:
                raise ValueError("class offsets need dim, the width of the features")
            check_positive(classes=classes, dim=dim)
            self.class_offsets = nn.Parameter(torch.zeros(classes, dim))

    def contexts(self) -> Contexts:
        weight = 1.0
        if not self.training:
            weight = float(self.weight)
        return self.base.contexts()._replace(
            class_offsets=self.class_offsets,
            weight=weight,
            one_template=self.one_template,
        )

    def complete_state(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the state of a prompt of any classes with offsets of zero for this
        one's; of the base alone with this one's weight, too.
        """
        if not any(name.startswith("base.") for name in state):
            inner = self.base.complete_state(state)
            state = {f"base.{name}": value for name, value in inner.items()}
            state["weight"] = self.weight
        if self.class_offsets is None or "class_offsets" in state:
            return state
        return {**state, "class_offsets": torch.zeros_like(self.class_offsets)}

    def describe(self) -> str:
        text = f"{self.base.describe()}, interpolated with zero-shot CLIP"
        if self.class_offsets is not None:
            text += f", and offsets of {len(self.class_offsets)} classes"
        return text


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
