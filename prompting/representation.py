"""Vectors of a space of their own that are mapped into both towers (MMRL, MMRL++)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from prompting.inserted import Insertion
from prompting.prompts import Contexts, Prompt, check_positive, full_precision, register


class LinearMaps(nn.ModuleList):
    """A linear map for each block."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vectors of all blocks (blocks, n_ctx, width)."""
        return torch.stack([map_(tokens) for map_ in self])


@register
class MMRLPrompt(Prompt):
    """Representation vectors (n_ctx, rep_dim), with a linear map a block to the text
    tower's and to the image tower's width (MMRL, Guo and Gu 2025). dim: width of the
    features. blocks: counted from 0. weight: of the class token's logits. logit_scale:
    None is the backbone's own.
    """

    kind = "mmrl"
    method = "MMRL"  # in descriptions
    task_templates = True

    def __init__(
        self,
        n_ctx: int,
        rep_dim: int,
        text_width: int,
        image_width: int,
        dim: int,
        blocks: Sequence[int],
        weight: float,
        logit_scale: float | None = None,
    ) -> None:
        super().__init__()
        check_positive(n_ctx=n_ctx, rep_dim=rep_dim, dim=dim)
        check_positive(text_width=text_width, image_width=image_width)
        check_blocks(blocks)
        self.tokens = nn.Parameter(torch.empty(n_ctx, rep_dim).normal_(std=0.02))
        self.blocks = list(blocks)
        self.weight = weight
        self.logit_scale = logit_scale
        self.text_maps = self.make_maps(rep_dim, text_width)
        self.image_maps = self.make_maps(rep_dim, image_width)
        self.make_projection(image_width, dim)

    def make_maps(self, rep_dim: int, width: int) -> nn.Module:
        """Return the maps of the vectors to one tower's width."""
        return LinearMaps(nn.Linear(rep_dim, width) for _ in self.blocks)

    def make_projection(self, width: int, dim: int) -> None:
        """Make the projection of the vectors' outputs."""
        projection = torch.empty(width, dim).normal_(std=width**-0.5)
        self.projection = nn.Parameter(projection)

    def insertion(self) -> Insertion:
        """Return how the vectors enter both towers."""
        return Insertion(self.blocks, 1.0, self.projection, False, self.weight)

    def contexts(self) -> Contexts:
        with full_precision(self.tokens):
            text, visual = self.text_maps(self.tokens), self.image_maps(self.tokens)
            return Contexts(text=text, visual=visual, insertion=self.insertion())

    def config(self) -> dict:
        return super().config() | {"blocks": self.blocks}

    def describe(self) -> str:
        n_ctx, rep_dim = self.tokens.shape
        blocks = ", ".join(str(block) for block in self.blocks)
        return (
            f"an {self.method} prompt of {n_ctx} vectors, {rep_dim} wide, mapped into "
            f"both towers before blocks {blocks}"
        )


class LowRankMaps(nn.Module):
    """One linear map for all blocks with a low-rank change and a bias for each: W + A_k
    B_k, b_k. A starts uniform, B as zeros, so that all blocks start as one.
    """

    def __init__(self, rep_dim: int, width: int, rank: int, blocks: int) -> None:
        super().__init__()
        first = nn.Linear(rep_dim, width)
        self.weight = nn.Parameter(first.weight.detach().clone())
        self.A = nn.ParameterList()
        self.B = nn.ParameterList()
        self.bias = nn.ParameterList()
        for _ in range(blocks):
            change = torch.empty(width, rank)
            nn.init.kaiming_uniform_(change, a=5**0.5)
            self.A.append(nn.Parameter(change))
            self.B.append(nn.Parameter(torch.zeros(rank, rep_dim)))
            self.bias.append(nn.Parameter(first.bias.detach().clone()))

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the vectors of all blocks (blocks, n_ctx, width)."""
        vectors = []
        for a, b, bias in zip(self.A, self.B, self.bias, strict=True):
            weight = self.weight + a @ b
            vectors.append(tokens @ weight.T + bias)
        return torch.stack(vectors)


@register
class MMRLPPPrompt(MMRLPrompt):
    """MMRL with maps that the blocks share up to a low rank (MMRL++, Guo and Gu 2025).
    share: of the new vectors in a later block (beta). map_rank, projection_rank: of the
    changes of the maps, and of CLIP's own projection.
    """

    kind = "mmrlpp"
    method = "MMRL++"

    def __init__(
        self,
        n_ctx: int,
        rep_dim: int,
        text_width: int,
        image_width: int,
        dim: int,
        blocks: Sequence[int],
        weight: float,
        share: float,
        map_rank: int,
        projection_rank: int,
        logit_scale: float | None = None,
    ) -> None:
        check_positive(map_rank=map_rank, projection_rank=projection_rank)
        self.share, self.ranks = share, (map_rank, projection_rank)
        sizes = (n_ctx, rep_dim, text_width, image_width, dim)
        super().__init__(*sizes, blocks, weight, logit_scale)

    def make_maps(self, rep_dim: int, width: int) -> nn.Module:
        return LowRankMaps(rep_dim, width, self.ranks[0], len(self.blocks))

    def make_projection(self, width: int, dim: int) -> None:
        change = torch.empty(width, self.ranks[1])
        nn.init.kaiming_uniform_(change, a=5**0.5)
        self.projection_a = nn.Parameter(change)
        self.projection_b = nn.Parameter(torch.zeros(self.ranks[1], dim))

    def insertion(self) -> Insertion:
        projection = self.projection_a @ self.projection_b
        return Insertion(self.blocks, self.share, projection, True, self.weight)

    def config(self) -> dict:
        config = super().config()
        for name in ("share", "map_rank", "projection_rank"):
            config[name] = config.pop(name)  # behind those of MMRL
        return config


def check_blocks(blocks: Sequence[int]) -> None:
    """Raise ValueError unless `blocks` are increasing numbers from 0 on."""
    numbers = list(blocks)
    valid = all(isinstance(block, int) and block >= 0 for block in numbers)
    if not (numbers and valid and numbers == sorted(set(numbers))):
        raise ValueError(f"blocks are {numbers!r}; they are increasing numbers")
