"""Index and split files."""
