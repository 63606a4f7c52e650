"""Frozen CLIP models: loaded by name or from files."""
