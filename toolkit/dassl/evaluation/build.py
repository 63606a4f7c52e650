"""The registry of evaluators."""

from ..utils.registry import Registry, build_registered

EVALUATOR_REGISTRY = Registry("EVALUATOR")


def build_evaluator(cfg, **kwargs):
    """Return the evaluator `cfg.TEST.EVALUATOR`, constructed with `cfg` and `kwargs`.

    Raises ValueError if there is none.
    """
    return build_registered(
        EVALUATOR_REGISTRY,
        cfg.TEST.EVALUATOR,
        "Loading evaluator",
        cfg.VERBOSE,
        cfg,
        **kwargs,
    )
