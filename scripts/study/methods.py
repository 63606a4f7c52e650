"""The prompt methods that studies and sweeps run: every registered trainer that learns
a prompt.
"""

from __future__ import annotations

from functools import cache

PAPER = ("CoOp", "VPT", "UPT", "MCoOp", "MVPT", "MUPT")


def known() -> tuple[str, ...]:
    """Return the names of all methods, those of the paper first."""
    from dassl.engine import TRAINER_REGISTRY

    import trainers
    from trainers.engine.config import is_native, trainer_class

    trainers.register_all()
    names = []
    for name in (*PAPER, *TRAINER_REGISTRY.registered_names()):
        trainer = trainer_class(name)
        if is_native(trainer) and trainer.learns and name not in names:
            names.append(name)
    return tuple(names)


def check_plannable(name: str) -> None:
    """Raise ValueError for a trainer that is written for Dassl alone: plans have no runs
    of such trainers.
    """
    from dassl.engine import TRAINER_REGISTRY

    import trainers
    from trainers.engine.config import is_native, trainer_class

    trainers.register_all()
    if name not in TRAINER_REGISTRY.registered_names():
        return
    if not is_native(trainer_class(name)):
        raise ValueError(
            f"{name} is a trainer written for Dassl, which leaves no prompt that a plan could start from or evaluate: "
            "start its runs by train.py, one by one"
        )


@cache
def is_multitask(method: str) -> bool:
    """Return whether several tasks may share the method's prompt; it then learns a
    source prompt first.
    """
    from trainers.engine.config import trainer_class

    known()
    return trainer_class(method).multitask


@cache
def single_form(method: str) -> str:
    """Return the single-task method that a multitask one extends ("MVPT": "VPT"); of
    others, the method itself.
    """
    from trainers.engine.config import trainer_class

    if is_multitask(method):
        for base in trainer_class(method).__mro__[1:]:
            if base.__name__ in known() and not is_multitask(base.__name__):
                return base.__name__
    return method


@cache
def multitask_form(method: str) -> str:
    """Return the multitask method that extends a single-task one ("VPT": "MVPT"), or
    "".
    """
    for name in known():
        if is_multitask(name) and single_form(name) == method:
            return name
    return ""
