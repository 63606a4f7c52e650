"""The configuration tree."""

from .defaults import clean_cfg, get_cfg_default
