"""The configuration tree: every key with its default, in defaults.yaml."""

import functools
from pathlib import Path

from yacs.config import CfgNode

from toolkit.common.structured import read_yaml

_LISTS = ("PIXEL_MEAN", "PIXEL_STD")  # others are tuples, as in Dassl


@functools.cache
def _defaults() -> CfgNode:
    return _with_tuples(CfgNode(read_yaml(Path(__file__).with_name("defaults.yaml"))))


def _with_tuples(node: CfgNode) -> CfgNode:
    for key, value in node.items():
        if isinstance(value, CfgNode):
            _with_tuples(value)
        elif isinstance(value, list) and key not in _LISTS:
            node[key] = tuple(value)
    return node


def get_cfg_default() -> CfgNode:
    """Return a fresh, unfrozen configuration with every key at its default."""
    return _defaults().clone()


def clean_cfg(cfg: CfgNode, trainer: str) -> None:
    """Drop, in place, the ``cfg.TRAINER`` nodes of every trainer but ``trainer``."""
    for key in list(cfg.TRAINER):
        if key not in ("NAME", trainer.upper()):
            del cfg.TRAINER[key]
