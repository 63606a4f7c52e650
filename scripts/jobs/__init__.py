"""Plans of jobs and their executors."""
