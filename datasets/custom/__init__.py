"""A user's own images as tasks."""
