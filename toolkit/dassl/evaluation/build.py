"""The registry of evaluators."""

from ..utils.registry import Registry

EVALUATOR_REGISTRY = Registry("EVALUATOR")


def build_evaluator(cfg, **kwargs):
    """Return the evaluator `cfg.TEST.EVALUATOR`, constructed with `cfg` and `kwargs`."""
    name, label = cfg.TEST.EVALUATOR, "Loading evaluator"
    return EVALUATOR_REGISTRY.build(name, label, cfg.VERBOSE, cfg, **kwargs)
