"""From a registered dataset to batches."""

from .data_manager import DataManager, DatasetWrapper
