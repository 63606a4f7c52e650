"""The documentation as a site, and the generated page of configuration keys."""
