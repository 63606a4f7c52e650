"""The prompt methods that studies and sweeps run: every registered trainer that learns a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from toolkit.common.suggest import nearest
from trainers.engine.config import trainer_class

PAPER = ("CoOp", "VPT", "UPT", "MCoOp", "MVPT", "MUPT")


@cache
def known() -> tuple[str, ...]:
    """Return the names of all methods, those of the paper first."""
    from dassl.engine import TRAINER_REGISTRY

    import trainers

    trainers.register_all()
    names = []
    for name in TRAINER_REGISTRY.registered_names():
        trainer = trainer_class(name)
        is_native = hasattr(trainer, "joint") or hasattr(trainer, "multitask")
        learns = getattr(trainer, "learns", name != "ZeroshotCLIP")
        if is_native and learns and name not in PAPER:
            names.append(name)
    return (*PAPER, *names)


@cache
def is_multitask(method: str) -> bool:
    """Return whether several tasks may share the method's prompt; it then learns a source prompt first."""
    known()
    trainer = trainer_class(method)
    return bool(getattr(trainer, "multitask", getattr(trainer, "joint", False)))


@cache
def single_form(method: str) -> str:
    """Return the single-task method that a multitask one extends ("MVPT": "VPT"); of others, the method itself."""
    if is_multitask(method):
        for base in trainer_class(method).__mro__[1:]:
            if base.__name__ in known() and not is_multitask(base.__name__):
                return base.__name__
    return method


@cache
def multitask_form(method: str) -> str:
    """Return the multitask method that extends a single-task one ("VPT": "MVPT"), or ""."""
    for name in known():
        if is_multitask(name) and single_form(name) == method:
            return name
    return ""


def choose(names: Sequence[str], complain) -> tuple[str, ...]:
    """Return the registered spelling of some names in any case; `complain(name, nearest)` gives the error for another."""
    by_lower = {method.lower(): method for method in known()}
    chosen = []
    for name in names:
        if name.lower() not in by_lower:
            raise complain(name, nearest(name, known())[0])
        chosen.append(by_lower[name.lower()])
    return tuple(chosen)
