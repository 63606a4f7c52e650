"""Facts about every known data set."""
