"""What every backbone is."""

from torch import nn


class Backbone(nn.Module):
    """A module that makes features (B, ``out_features``) of images; subclasses set ``_out_features``."""

    @property
    def out_features(self) -> int | None:
        """Width of the features; None if the subclass does not say."""
        return getattr(self, "_out_features", None)
