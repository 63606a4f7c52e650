"""Optimisers by configuration."""

import logging
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from ..utils import check_availability
from .radam import RAdam

logger = logging.getLogger(__name__)

AVAI_OPTIMS = ["adam", "amsgrad", "sgd", "rmsprop", "radam", "adamw"]


def build_optimizer(
    model: nn.Module | Iterable, optim_cfg, param_groups: list[dict] | None = None
) -> Optimizer:
    """Return the optimiser ``optim_cfg.NAME`` over trainable parameters only; over
    frozen ones, with a warning, if there are no others. model: a module or parameters.
    param_groups: groups in torch's form instead. Raises ValueError for an unknown name
    or no parameter, TypeError for ``STAGED_LR`` without a module.
    """
    check_availability(optim_cfg.NAME, AVAI_OPTIMS)
    if param_groups is not None:
        if optim_cfg.STAGED_LR:
            logger.warning("OPTIM.STAGED_LR is ignored: parameter groups are given")
        groups = param_groups
    elif optim_cfg.STAGED_LR:
        groups = _staged_groups(model, optim_cfg)
    elif isinstance(model, nn.Module):
        groups = [{"params": list(model.parameters())}]
    else:
        groups = list(model)
        if not groups or not isinstance(groups[0], dict):
            groups = [{"params": groups}]

    whole, trainable = [], []
    for group in groups:
        parameters = _as_list(group["params"])
        learned = [parameter for parameter in parameters if parameter.requires_grad]
        if parameters:
            whole.append(dict(group, params=parameters))
        if learned:
            trainable.append(dict(group, params=learned))
    if not whole:
        raise ValueError("There is nothing to optimise: no parameter is given")
    if not trainable:
        logger.warning("no parameter has requires_grad=True: frozen ones are optimised")
        trainable = whole
    return _create(trainable, optim_cfg)


def _create(groups: list[dict], c) -> Optimizer:
    adam = {"betas": (c.ADAM_BETA1, c.ADAM_BETA2)}
    rmsprop = {"momentum": c.MOMENTUM, "alpha": c.RMSPROP_ALPHA}
    sgd = {"momentum": c.MOMENTUM, "dampening": c.SGD_DAMPNING}
    kinds = {
        "adam": (torch.optim.Adam, adam),
        "amsgrad": (torch.optim.Adam, adam | {"amsgrad": True}),
        "adamw": (torch.optim.AdamW, adam),
        "radam": (RAdam, adam),
        "rmsprop": (torch.optim.RMSprop, rmsprop),
        "sgd": (torch.optim.SGD, sgd | {"nesterov": c.SGD_NESTEROV}),
    }
    kind, options = kinds[c.NAME]
    return kind(groups, lr=c.LR, weight_decay=c.WEIGHT_DECAY, **options)


def _staged_groups(model: nn.Module, c) -> list[dict]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"OPTIM.STAGED_LR needs a module, not {type(model).__name__}")
    new_layers = [c.NEW_LAYERS] if isinstance(c.NEW_LAYERS, str) else list(c.NEW_LAYERS)
    if not new_layers:
        logger.warning("OPTIM.NEW_LAYERS is empty: all train at LR * BASE_LR_MULT")
    if isinstance(model, nn.DataParallel):
        model = model.module
    base, new = [], []
    for name, child in model.named_children():
        if name in new_layers:
            new += child.parameters()
        else:
            base += child.parameters()
    return [{"params": base, "lr": c.LR * c.BASE_LR_MULT}, {"params": new}]


def _as_list(params) -> list:
    return [params] if isinstance(params, torch.Tensor) else list(params)
