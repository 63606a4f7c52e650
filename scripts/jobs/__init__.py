"""Plans of jobs and where they run."""
