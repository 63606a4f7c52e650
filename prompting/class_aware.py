"""A text prompt with vectors that are made from each class's own feature (TCP)."""

import torch
from torch import Tensor, nn

from prompting.prompts import Contexts, Prompt, check_init, check_positive, register


class ClassMap(nn.Module):
    """Map class features (C, dim) to vectors (C, n_ctx, width): two linear maps with
    QuickGELU between, dim // 4 wide (TCP, eq. 5).
    """

    def __init__(self, dim: int, n_ctx: int, width: int) -> None:
        super().__init__()
        self.dim = dim
        self.n_ctx = n_ctx
        self.linear1 = nn.Linear(dim, max(dim // 4, 1))
        self.linear2 = nn.Linear(max(dim // 4, 1), n_ctx * width)

    def forward(self, features: Tensor) -> Tensor:
        hidden = self.linear1(features)
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        return self.linear2(hidden).unflatten(-1, (self.n_ctx, -1))


@register
class TCPPrompt(Prompt):
    """Learned words before the class name, which a map of the frozen class feature
    replaces before a block of the text tower (TCP, Yao et al. 2024).

    ctx: (n_ctx, width), shared by all classes. block: counted from 0. dim: width of
    the features. The prompt serves any classes.
    """

    kind = "tcp"
    task_templates = True

    def __init__(
        self,
        n_ctx: int,
        width: int,
        dim: int,
        block: int,
        init: Tensor | None = None,
        fixed_words: str = "",
        last_words: str = "",
    ) -> None:
        super().__init__()
        check_positive(n_ctx=n_ctx, width=width, dim=dim, blocks=block + 1)
        ctx = torch.empty(n_ctx, width).normal_(std=0.02)
        if init is not None:
            check_init(init, n_ctx, width)
            ctx = init.detach().float().clone()
        self.ctx = nn.Parameter(ctx)
        self.class_map = ClassMap(dim, n_ctx, width)
        self.block = block
        self.fixed_words = fixed_words
        self.last_words = last_words

    def contexts(self) -> Contexts:
        return Contexts(
            text=self.ctx.unsqueeze(0), class_map=self.class_map, class_block=self.block
        )

    def describe(self) -> str:
        return (
            f"a TCP prompt of {len(self.ctx)} vectors and a map of class features "
            f"before block {self.block}"
        )
