"""Features of the frozen image tower: computed once, kept in memory and in files."""
