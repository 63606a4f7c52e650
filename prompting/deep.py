"""Prompts in the first blocks of both towers: independent (IVLP, PromptSRC) and coupled
(MaPLe).
"""

import torch
from torch import Tensor, nn

from prompting.prompts import (
    Contexts,
    Prompt,
    check_init,
    check_positive,
    full_precision,
    register,
)


class DeepPrompt(Prompt):
    """Base of prompts with text vectors (layers, n_ctx, width) before the class name.
    Those of the first layer start from `init` (n_ctx, width), such as the embeddings of
    some words; all others from Normal(0, 0.02). fixed_words: the words between the
    vectors and the class name.
    """

    visual_before_norm = True

    def __init__(
        self, n_ctx: int, width: int, layers: int, init: Tensor | None, fixed_words: str
    ) -> None:
        super().__init__()
        check_positive(n_ctx=n_ctx, width=width, layers=layers)
        text = torch.empty(layers, n_ctx, width).normal_(std=0.02)
        if init is not None:
            check_init(init, n_ctx, width)
            text[0] = init.detach().float()
        self.text = nn.Parameter(text)
        self.fixed_words = fixed_words


@register
class IVLPPrompt(DeepPrompt):
    """Independent text and visual vectors in the first blocks (IVLP, as in the code of
    MaPLe and PromptSRC). text: (text_layers, n_text, text_width). visual:
    (visual_layers, n_visual, image_width), or None if visual_layers is 0.
    """

    kind = "ivlp"

    def __init__(
        self,
        n_text: int,
        text_width: int,
        text_layers: int,
        n_visual: int,
        image_width: int,
        visual_layers: int,
        init: Tensor | None = None,
        fixed_words: str = "",
    ) -> None:
        super().__init__(n_text, text_width, text_layers, init, fixed_words)
        self.register_parameter("visual", None)
        if visual_layers:
            check_positive(
                n_visual=n_visual, image_width=image_width, visual_layers=visual_layers
            )
            visual = torch.empty(visual_layers, n_visual, image_width)
            self.visual = nn.Parameter(visual.normal_(std=0.02))

    def contexts(self) -> Contexts:
        return Contexts(self.text, self.visual)

    def config(self) -> dict:
        config = super().config()
        if self.visual is None:
            config |= {"n_visual": 0, "image_width": 0}
        return config

    def describe(self) -> str:
        sizes = self.config()
        return (
            f"an IVLP prompt of {sizes['n_text']} text vectors in {sizes['text_layers']} layers "
            f"and {sizes['n_visual']} visual vectors in {sizes['visual_layers']}"
        )


@register
class MaPLePrompt(DeepPrompt):
    """Text vectors, and visual vectors that are a linear map of each layer's text
    vectors (MaPLe, eq. 5 to 7). text: (layers, n_ctx, text_width). The maps of the
    second and further layers start as copies of one.
    """

    kind = "maple"

    def __init__(
        self,
        n_ctx: int,
        text_width: int,
        image_width: int,
        layers: int,
        init: Tensor | None = None,
        fixed_words: str = "",
    ) -> None:
        super().__init__(n_ctx, text_width, layers, init, fixed_words)
        check_positive(image_width=image_width)
        self.projections = nn.ModuleList(
            nn.Linear(text_width, image_width) for _ in range(layers)
        )
        for projection in self.projections[2:]:
            projection.load_state_dict(self.projections[1].state_dict())

    def contexts(self) -> Contexts:
        with full_precision(self.text):
            visual = [
                project(self.text[layer])
                for layer, project in enumerate(self.projections)
            ]
            return Contexts(self.text, torch.stack(visual))

    def describe(self) -> str:
        layers, n_ctx, _ = self.text.shape
        return f"a MaPLe prompt of {n_ctx} vectors in {layers} layers"
