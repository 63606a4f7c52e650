"""Helpers that every package may use: files, YAML and JSON, images, suggestions,
command lines.
"""
