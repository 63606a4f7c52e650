"""A small implementation of the Dassl surface on which prompt-learning trainers and
datasets are written. Import paths, names, configuration keys and defaults are those of
Dassl.pytorch (Zhou et al.), so that a plugin runs on either. Its own trainers, datasets
and backbones are not here; the registries into which they would go are.
"""

__version__ = "0.6.3"  # of the surface that is implemented
