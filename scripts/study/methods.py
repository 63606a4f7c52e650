"""The methods that studies and sweeps run: every registered trainer that learns."""

from functools import cache

import trainers

PAPER = ("CoOp", "VPT", "UPT", "MCoOp", "MVPT", "MUPT")


def known() -> tuple[str, ...]:
    """Return the names of all methods, those of the paper first."""
    from dassl.engine import TRAINER_REGISTRY

    from trainers.engine.config import trainer_class

    trainers.register_all()
    names = []
    for name in (*PAPER, *TRAINER_REGISTRY.registered_names()):
        if name not in names and _learns(trainer_class(name)):
            names.append(name)
    return tuple(names)


def _learns(trainer: type) -> bool:
    from dassl.engine import TrainerX

    from trainers.engine.config import is_native

    if is_native(trainer):
        return trainer.learns
    for name in ("forward_backward", "run_epoch", "train"):
        inherited = getattr(TrainerX, name)
        if getattr(trainer, name, None) is not inherited:
            return True
    return False


def _trainer(method: str) -> type:
    from trainers.engine.config import trainer_class

    known()
    return trainer_class(method)


@cache
def leaves_prompt(method: str) -> bool:
    """Return False for a trainer for Dassl alone: other tasks can't use its prompts."""
    from trainers.engine.config import is_native

    return is_native(_trainer(method))


@cache
def any_classes(method: str) -> dict:
    """Return the configuration keys with which its prompts serve any classes, if any."""
    return getattr(_trainer(method), "any_classes", {})


@cache
def is_multitask(method: str) -> bool:
    """Return whether a method learns a source prompt on several tasks first."""
    return getattr(_trainer(method), "multitask", False)


@cache
def single_form(method: str) -> str:
    """Return what a multitask method extends ("MVPT": "VPT"), or the method."""
    if is_multitask(method):
        for base in _trainer(method).__mro__[1:]:
            name = base.__name__
            # the name may be that of a user's trainer now
            is_known = name in known() and _trainer(name) is base
            if is_known and not is_multitask(name):
                return name
    return method


@cache
def multitask_form(method: str) -> str:
    """Return the multitask method that extends one ("VPT": "MVPT"); "" if none."""
    for name in known():
        if is_multitask(name) and single_form(name) == method:
            return name
    return ""
