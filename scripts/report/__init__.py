"""The report of a run: one HTML page that needs nothing else.

`python -m scripts.report DIR` writes it.
"""
