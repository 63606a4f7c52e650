"""The models of a repository's own CLIP, by name."""

from prompting import load_backbone

_MODELS = {"pocket": "pocket"}


def load(name):
    return load_backbone(_MODELS[name]).clip
