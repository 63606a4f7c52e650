"""The engine: from a configuration to finished runs and experiments in their folders."""
