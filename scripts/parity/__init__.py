"""Comparison with numbers of official code."""
