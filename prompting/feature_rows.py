"""Operations on class features and context vectors: rows, lengths and orders."""

import torch
import torch.nn.functional as F
from torch import Tensor

from prompting.prompts import Contexts
from prompting.tokens import TokenBatch


def with_offsets(features: Tensor, contexts: Contexts, rows: Tensor | None) -> Tensor:
    """Return class features (C, d) with their offsets, of unit length; with biases those
    of a linear head (C, d + 1), of any length.
    """
    count = len(features)
    offsets = given(contexts.class_offsets)
    features = features + rows_of(offsets, 0, rows, count)
    if contexts.class_bias is None:
        return unit(features)
    bias = rows_of(contexts.class_bias, 0, rows, count)
    return torch.cat([features, bias[:, None]], dim=1)


def side_by_side(prompted: Tensor, zero_shot: Tensor, weight: float) -> Tensor:
    """Return both features (N, 2 d), scaled so that a product of two such is the
    weighted mean of both models' cosines.
    """
    return torch.cat([weight**0.5 * prompted, (1 - weight) ** 0.5 * zero_shot], dim=-1)


def rows_of(values: Tensor, dim: int, rows: Tensor | None, count: int) -> Tensor:
    """Return the class-specific values of `rows`; ValueError for other classes."""
    if rows is not None:
        values = values.index_select(dim, rows)
    if values.shape[dim] != count:
        raise ValueError(
            f"the prompt holds contexts for {values.shape[dim]} classes, {count} are given"
        )
    return values


def given(vectors: Tensor | None) -> Tensor:
    """Return vectors of `Contexts`; ValueError if they are not those of the model."""
    if vectors is None:
        raise ValueError("the contexts lack vectors that the model's prompt has")
    return vectors


def layered(text: Tensor) -> Tensor:
    """Return text contexts with their layer axis, which (n_ctx, width) lacks."""
    return text.unsqueeze(0) if text.dim() == 2 else text


def unit(features: Tensor) -> Tensor:
    """Return features of unit length, in float32 (float64 stays)."""
    if features.dtype in (torch.float16, torch.bfloat16):
        features = features.float()
    return F.normalize(features, dim=-1)


def in_order(features: list[Tensor], batches: list[TokenBatch]) -> Tensor:
    """Concatenate the batches' features in the order of the classes."""
    if len(features) == 1:
        return features[0]
    rows = torch.cat([batch.rows for batch in batches])
    return torch.cat(features)[rows.argsort()]
