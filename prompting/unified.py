"""The unified prompt: text and visual vectors that pass through one light Transformer θ
(UPT; paper, eq. 4).
"""

import torch
from torch import Tensor, nn

from prompting.prompts import (
    Contexts,
    Prompt,
    TextPrompt,
    VisualPrompt,
    full_precision,
    register,
)

THETAS = ("attention", "per-token", "mlp", "identity")


class Mixer(nn.Module):
    """`layers` CLIP blocks (pre-norm, QuickGELU) of width `dim` without a mask.
    across_tokens: attend over all tokens; otherwise each token is a sequence of length
    1, so that tokens never meet.
    """

    def __init__(self, dim: int, heads: int, layers: int, across_tokens: bool) -> None:
        from open_clip.transformer import QuickGELU, ResidualAttentionBlock

        super().__init__()
        self.resblocks = nn.ModuleList(
            ResidualAttentionBlock(dim, heads, act_layer=QuickGELU)
            for _ in range(layers)
        )
        self.across_tokens = across_tokens

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the mixed tokens (tokens, dim) of tokens (tokens, dim)."""
        batch = 0 if self.across_tokens else 1
        tokens = tokens.unsqueeze(batch)
        for block in self.resblocks:
            tokens = block(tokens)
        return tokens.squeeze(batch)


@register
class UnifiedPrompt(Prompt):
    """A text and a visual prompt, mapped to `dim` (unless widths agree), coupled by θ
    as one sequence, and mapped back. θ is "attention", a Transformer over all vectors,
    as the paper describes it; "per-token", the same over each vector alone, as the
    released code computes it; "mlp", Linear - GELU - Linear on each vector; or
    "identity", no coupling. Raises ValueError when `heads` does not divide `dim`, or
    for another θ.
    """

    kind = "unified"

    def __init__(
        self,
        text: TextPrompt,
        visual: VisualPrompt,
        dim: int = 128,
        heads: int = 1,
        layers: int = 1,
        theta: str = "attention",
    ) -> None:
        super().__init__()
        if theta not in THETAS:
            raise ValueError(f"theta is {theta!r}; it is one of {', '.join(THETAS)}")
        if dim < 1 or heads < 1 or layers < 1:
            raise ValueError(f"dim {dim}, heads {heads}, layers {layers}: be positive")
        if dim % heads:
            raise ValueError(f"theta's heads ({heads}) must divide its dim ({dim})")
        self.text, self.visual = text, visual
        self.position = text.position
        self.dim, self.heads, self.layers, self.theta = dim, heads, layers, theta
        self.text_pre, self.text_post = self._maps(text.arguments["width"])
        self.visual_pre, self.visual_post = self._maps(visual.arguments["width"])
        self.mixer: nn.Module = nn.Identity()
        if theta == "mlp":
            self.mixer = nn.GELU()
        elif theta != "identity":
            self.mixer = Mixer(dim, heads, layers, across_tokens=theta == "attention")

    def _maps(self, width: int) -> tuple[nn.Module, nn.Module]:
        same_width = width == self.dim and self.theta != "mlp"
        if self.theta == "identity" or same_width:
            return nn.Identity(), nn.Identity()
        return nn.Linear(width, self.dim), nn.Linear(self.dim, width)

    def contexts(self) -> Contexts:
        ctx: Tensor = self.text.ctx
        with full_precision(ctx):
            tokens = self.visual.tokens()
            if self.theta != "identity":
                text = self.text_pre(ctx.flatten(0, -2))
                visual = self.visual_pre(tokens.flatten(0, -2))
                mixed = self.mixer(torch.cat([text, visual]))
                text, visual = mixed.split([len(text), len(visual)])
                ctx = self.text_post(text).view_as(ctx)
                tokens = self.visual_post(visual).view_as(tokens)
            return Contexts(ctx.unsqueeze(0), self.visual.dropout(tokens))

    def describe(self) -> str:
        parts = f"{self.text.describe()}, {self.visual.describe()}"
        return f"a unified prompt: {parts}, θ {self.theta}"
