"""A small implementation of the Dassl surface on which prompt-learning trainers and
datasets are written.

The import paths, names, configuration keys and defaults are those of Dassl.pytorch
(Zhou et al.), so that a plugin written for it runs on either. Out of scope:
domain-adaptation and semi-supervised trainers, their datasets and convolutional
backbones; the registries into which they would go exist.
"""

__version__ = "0.6.3"  # of the surface that is implemented
