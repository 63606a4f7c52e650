"""How well the prompt of each task serves every task."""
