"""The base class of backbones and their registry."""

from torch import nn

from ..utils.registry import Registry

BACKBONE_REGISTRY = Registry("BACKBONE")


class Backbone(nn.Module):
    """Makes features (B, `out_features`) of images; subclasses set `_out_features`."""

    @property
    def out_features(self) -> int | None:
        """Return the width of the features, None if the subclass does not set it."""
        return getattr(self, "_out_features", None)


def build_backbone(name: str, verbose: bool = True, **kwargs):
    """Return the backbone registered as `name`, constructed with `kwargs`."""
    return BACKBONE_REGISTRY.build(name, "backbone", verbose, **kwargs)
