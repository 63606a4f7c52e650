"""Sweeps: a plan file's runs, on this machine or on a Ray cluster."""
