"""Weights and parameters of torch modules."""

import logging
from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import nn

from .checkpoint import load_checkpoint, strip_module_prefix

logger = logging.getLogger(__name__)

LINEAR = (nn.modules.conv._ConvNd, nn.Linear)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)


def load_pretrained_weights(model: nn.Module, weight_path: str) -> None:
    """Load from a checkpoint those entries whose name and shape the model has; the rest
    is logged. The file holds a state dict, by itself or under ``state_dict``.
    """
    checkpoint = load_checkpoint(weight_path)
    given = strip_module_prefix(checkpoint.get("state_dict", checkpoint))
    state = model.state_dict()
    matched, discarded = {}, []
    for key, value in given.items():
        if key in state and state[key].shape == value.shape:
            matched[key] = value
        else:
            discarded.append(key)
    if not matched:
        logger.warning(
            "Nothing was loaded from %s: no entry has the name and shape of one of the model",
            weight_path,
        )
        return
    state.update(matched)
    model.load_state_dict(state)
    logger.info("Loaded %d entries from %s", len(matched), weight_path)
    if discarded:
        logger.warning(
            "Discarded for a name or shape that the model lacks: %s",
            ", ".join(discarded),
        )


def open_all_layers(model: nn.Module) -> None:
    """Set training mode and gradients for every parameter."""
    model.train().requires_grad_(True)


def open_specified_layers(model: nn.Module, open_layers: str | Sequence[str]) -> None:
    """Train the named children alone. Raise ValueError if the model lacks one."""
    names = [open_layers] if isinstance(open_layers, str) else list(open_layers)
    children = dict(model.named_children())
    for name in names:
        if name not in children:
            raise ValueError(
                f"{name!r} is not a layer of the model; it has {', '.join(children)}"
            )
    for name, child in children.items():
        is_open = name in names
        child.train(is_open)
        child.requires_grad_(is_open)


def count_num_param(
    model: nn.Module | None = None, params: Iterable[torch.Tensor] | None = None
) -> int:
    """Return the number of scalars in a model's parameters, or in ``params``."""
    if model is not None:
        params = model.parameters()
    if params is None:
        raise ValueError("count_num_param needs a model or parameters")
    return sum(p.numel() for p in params)


def init_network_weights(
    model: nn.Module, init_type: str = "normal", gain: float = 0.02
) -> None:
    """Initialise convolutions and linear layers by ``init_type``, norms with 1 and 0,
    biases with 0. ``gain``: the standard deviation of "normal", else the scheme's gain.
    """
    schemes = {
        "normal": partial(nn.init.normal_, std=gain),
        "xavier": partial(nn.init.xavier_normal_, gain=gain),
        "kaiming": nn.init.kaiming_normal_,
        "orthogonal": partial(nn.init.orthogonal_, gain=gain),
    }
    if init_type not in schemes:
        raise ValueError(
            f"Unknown init_type {init_type!r}; choose one of {', '.join(schemes)}"
        )
    for module in model.modules():
        weight = getattr(module, "weight", None)
        bias = getattr(module, "bias", None)
        if isinstance(module, LINEAR):
            schemes[init_type](weight)
        elif isinstance(module, NORMS) and weight is not None:
            nn.init.constant_(weight, 1.0)
        else:
            continue
        if bias is not None:
            nn.init.constant_(bias, 0.0)
