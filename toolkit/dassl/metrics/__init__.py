"""Metrics over a batch."""

from .accuracy import compute_accuracy
